//! Work on several threads, with results in order.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Number of results for each thread that may wait for an earlier one, so that memory stays bounded.
const WAITING: u64 = 64;

/// Returns the number of threads that work is spread over: as many as the machine runs at once, or 1 without the
/// feature `threads`.
pub fn available_threads() -> usize {
    if cfg!(feature = "threads") { thread::available_parallelism().map_or(1, usize::from) } else { 1 }
}

/// Calls `work` with each number below `threads`, all at once, and returns the results in the order of the numbers. One
/// call runs on the caller's thread, even for 0 threads.
///
/// # Panics
/// Panics if `work` does.
pub fn on_each<R: Send>(threads: usize, work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let work = &work;
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|index| scope.spawn(move || work(index))).collect();
        let first = work(0);
        let others = others
            .into_iter()
            .map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        std::iter::once(first).chain(others).collect()
    })
}

/// The error that no more results are taken: `emit` returned an error, which [`ordered`] returns, or a worker panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no more results are taken")]
pub struct Stopped;

/// Does the jobs that `feed` pushes, on `threads` threads. Gives the results to `emit` in the order of the jobs, each
/// as soon as all before it are done.
///
/// `feed` runs on the caller's thread and waits in [`Feed::push`] while many results wait for an earlier one. With one
/// thread no other is started: a job is done and its result emitted before `push` returns.
///
/// # Errors
/// Returns an error if `emit` or `feed` does: the first error of `emit`, else that of `feed`.
///
/// # Panics
/// Panics if `work` or `emit` does.
pub fn ordered<J: Send, R: Send, T, E: From<Stopped> + Send>(
    threads: usize,
    work: impl Fn(J) -> R + Sync,
    emit: impl FnMut(R) -> Result<(), E> + Send,
    feed: impl FnOnce(&mut Feed<'_, J, R>) -> Result<T, E>,
) -> Result<T, E> {
    let output = Output::new(emit);
    let mut number = 0;
    let fed = if threads <= 1 {
        let mut take = |item| {
            output.put(
                number,
                match item {
                    Item::Job(job) => work(job),
                    Item::Done(result) => result,
                },
            );
            number += 1;
            output.wait(number, 1)
        };
        feed(&mut Feed { take: &mut take })
    } else {
        let (sender, receiver) = sync_channel(2 * threads);
        // `None` once a worker has panicked. Otherwise a full queue would block `feed` for ever.
        let receiver = Mutex::new(Some(receiver));
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let _alarm = Alarm(|| {
                        output.stop();
                        lock(&receiver).take();
                    });
                    while let Some((number, job)) = next(&receiver) {
                        output.put(number, work(job));
                    }
                });
            }
            // The workers end when this is dropped and they have done all jobs, even if `feed` panics.
            let sender: SyncSender<(u64, J)> = sender;
            let mut take = |item| {
                output.wait(number, WAITING * threads as u64)?;
                match item {
                    Item::Job(job) => sender.send((number, job)).map_err(|_| Stopped)?,
                    Item::Done(result) => output.put(number, result),
                }
                number += 1;
                Ok(())
            };
            feed(&mut Feed { take: &mut take })
        })
    };
    // The error that stopped the output also stopped `feed`.
    match output.into_error() {
        Some(error) => Err(error),
        None => fed,
    }
}

/// Takes the jobs of [`ordered`].
pub struct Feed<'a, J, R> {
    take: &'a mut dyn FnMut(Item<J, R>) -> Result<(), Stopped>,
}

enum Item<J, R> {
    Job(J),
    Done(R),
}

impl<J, R> Feed<'_, J, R> {
    /// Adds a job.
    ///
    /// # Errors
    /// Returns an error if the job's result would not be taken.
    pub fn push(&mut self, job: J) -> Result<(), Stopped> {
        (self.take)(Item::Job(job))
    }

    /// Adds a result that the caller has made, in the place of a job.
    ///
    /// # Errors
    /// Returns an error if the result would not be taken.
    pub fn push_result(&mut self, result: R) -> Result<(), Stopped> {
        (self.take)(Item::Done(result))
    }
}

fn next<T>(receiver: &Mutex<Option<Receiver<T>>>) -> Option<T> {
    lock(receiver).as_ref()?.recv().ok()
}

/// Locks a mutex even if it is poisoned. A panic elsewhere ends the pool in any case, and until then the data is valid.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts results in order. The thread that has the next result emits it, and the results that waited for it.
struct Output<R, E, F> {
    state: Mutex<State<R, E, F>>,
    moved: Condvar,
}

struct State<R, E, F> {
    next: u64,
    waiting: BTreeMap<u64, R>,
    emit: F,
    stopped: bool,
    error: Option<E>,
}

impl<R, E, F: FnMut(R) -> Result<(), E>> Output<R, E, F> {
    fn new(emit: F) -> Self {
        let state = State { next: 0, waiting: BTreeMap::new(), emit, stopped: false, error: None };
        Self { state: Mutex::new(state), moved: Condvar::new() }
    }

    /// Waits until fewer than `limit` results before `number` are missing.
    fn wait(&self, number: u64, limit: u64) -> Result<(), Stopped> {
        let full = |state: &mut State<R, E, F>| !state.stopped && number - state.next >= limit;
        let state = self.moved.wait_while(lock(&self.state), full).unwrap_or_else(PoisonError::into_inner);
        if state.stopped { Err(Stopped) } else { Ok(()) }
    }

    fn put(&self, number: u64, result: R) {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        state.waiting.insert(number, result);
        while !state.stopped
            && let Some(result) = state.waiting.remove(&state.next)
        {
            state.next += 1;
            state.error = (state.emit)(result).err();
            state.stopped = state.error.is_some();
        }
        drop(guard);
        self.moved.notify_all();
    }

    fn stop(&self) {
        lock(&self.state).stopped = true;
        self.moved.notify_all();
    }

    fn into_error(self) -> Option<E> {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).error
    }
}

/// Calls its function when the thread that holds it panics.
struct Alarm<F: Fn()>(F);

impl<F: Fn()> Drop for Alarm<F> {
    fn drop(&mut self) {
        if thread::panicking() {
            (self.0)();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    #[derive(Debug, PartialEq)]
    enum Problem {
        Stopped,
        Full,
        Unreadable,
    }

    impl From<Stopped> for Problem {
        fn from(_: Stopped) -> Self {
            Self::Stopped
        }
    }

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        for threads in [1, 2, 7] {
            let mut seen = Vec::new();
            let work = |job: u64| {
                // Some take longer than those after them.
                if job.is_multiple_of(3) {
                    thread::sleep(Duration::from_micros(300));
                }
                job
            };
            let emit = |result| {
                seen.push(result);
                Ok::<_, Problem>(())
            };
            let fed = ordered(threads, work, emit, |feed| {
                for job in 0..500 {
                    if job % 50 == 7 { feed.push_result(job)? } else { feed.push(job)? }
                }
                Ok("fed")
            });
            assert_eq!((fed, seen), (Ok("fed"), (0..500).collect()), "{threads} threads");
        }
    }

    #[test]
    fn an_error_of_the_output_ends_it() {
        for threads in [1, 4] {
            let mut emitted = 0;
            let emit = |()| {
                emitted += 1;
                if emitted == 10 { Err(Problem::Full) } else { Ok(()) }
            };
            let fed = ordered(
                threads,
                |_: u64| (),
                emit,
                |feed| (0..).try_for_each(|job| feed.push(job).map_err(Problem::from)),
            );
            assert_eq!((fed, emitted), (Err(Problem::Full), 10), "{threads} threads");
        }
    }

    #[test]
    fn an_error_of_the_input_comes_after_the_results_before_it() {
        for threads in [1, 4] {
            let mut emitted = 0;
            let emit = |_| {
                emitted += 1;
                Ok(())
            };
            let fed: Result<(), _> = ordered(
                threads,
                |job: u64| job,
                emit,
                |feed| {
                    (0..100).try_for_each(|job| feed.push(job))?;
                    Err(Problem::Unreadable)
                },
            );
            assert_eq!((fed, emitted), (Err(Problem::Unreadable), 100), "{threads} threads");
        }
    }

    #[test]
    fn a_slow_job_holds_the_input_back() {
        let (threads, pushed) = (3, AtomicU64::new(0));
        let bound = WAITING * threads as u64;
        let work = |job: u64| {
            if job == 0 {
                thread::sleep(Duration::from_millis(100));
                assert!(pushed.load(Ordering::Relaxed) <= bound + 1);
            }
        };
        let fed: Result<(), Problem> = ordered(
            threads,
            work,
            |()| Ok(()),
            |feed| {
                for job in 0..5 * bound {
                    feed.push(job)?;
                    pushed.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            },
        );
        assert_eq!((fed, pushed.into_inner()), (Ok(()), 5 * bound));
    }

    #[test]
    #[should_panic(expected = "scoped thread panicked")]
    fn a_panic_of_a_worker_ends_the_input() {
        let work = |job: u64| assert!(job < 20, "job 20");
        let _: Result<(), Problem> = ordered(
            2,
            work,
            |()| Ok(()),
            |feed| (0..).try_for_each(|job| feed.push(job).map_err(Problem::from)),
        );
    }

    #[test]
    fn each_number_is_worked_on_once() {
        for threads in [1, 5] {
            assert_eq!(
                on_each(threads, |index| 10 * index),
                (0..threads).map(|i| 10 * i).collect::<Vec<_>>()
            );
        }
    }
}
