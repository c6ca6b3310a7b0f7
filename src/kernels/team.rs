//! Runs all threads on one piece of work with many short parts, such as the layers of a decode step.
//!
//! A parallel loop of the pool wakes threads and puts them to sleep again. A step of a 2B model has two hundred of them, and
//! that took a fifth of its time. Here every thread of the pool runs the whole step, [fills](Exchange::fill) a part of each
//! product, and [waits](Member::wait) for the others where it needs their results.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

/// Number of turns of a waiting loop before a thread yields: some tens of microseconds. If each member has a core, it is
/// never that late.
const SPINS: usize = 2_000;

/// The threads that run one piece of work together.
#[derive(Debug)]
struct Team {
    size: usize,
    arrived: AtomicUsize,
    round: AtomicUsize,
    broken: AtomicBool,
}

/// One thread of a team.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    team: &'a Team,
    index: usize,
}

/// Runs `work` on up to `most` threads of the pool at the same time, once on each. Returns their results in the order of
/// their numbers.
///
/// # Panics
/// Panics if `work` panics on any thread.
pub(crate) fn together<R: Send>(most: usize, work: impl Fn(&Member<'_>) -> R + Sync) -> Vec<R> {
    let size = most.clamp(1, rayon::current_num_threads());
    let team = Team {
        size,
        arrived: AtomicUsize::new(0),
        round: AtomicUsize::new(0),
        broken: AtomicBool::new(false),
    };
    if size == 1 {
        return vec![work(&Member { team: &team, index: 0 })];
    }
    let results = rayon::broadcast(|thread| {
        (thread.index() < size).then(|| work(&Member { team: &team, index: thread.index() }))
    });
    results.into_iter().flatten().collect()
}

impl Member<'_> {
    /// Waits until all threads of the team have called it as often as this one.
    ///
    /// # Panics
    /// Panics if another member has panicked, because this one would wait forever.
    pub(crate) fn wait(&self) {
        let Team { size, arrived, round, broken } = self.team;
        let now = round.load(Ordering::Acquire);
        if arrived.fetch_add(1, Ordering::AcqRel) + 1 == *size {
            arrived.store(0, Ordering::Relaxed);
            round.store(now.wrapping_add(1), Ordering::Release);
            return;
        }
        let mut turns = 0;
        while round.load(Ordering::Acquire) == now {
            assert!(!broken.load(Ordering::Relaxed), "another thread of the team has panicked");
            turns += 1;
            if turns < SPINS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.team.broken.store(true, Ordering::Relaxed);
        }
    }
}

/// Items of work that the threads of a team take until none is left.
#[derive(Debug)]
pub(crate) struct Work {
    total: usize,
    next: AtomicUsize,
}

impl Work {
    /// Makes work of `total` items.
    pub(crate) fn new(total: usize) -> Self {
        Self { total, next: AtomicUsize::new(0) }
    }

    /// Returns the next items for one of `size` threads. It takes half of the thread's share of what is left, so that all
    /// threads end at the same time even if one core is slower. It takes at least 4, so that reading them is one stream of
    /// memory.
    fn take(&self, size: usize) -> Option<Range<usize>> {
        const LEAST: usize = 4;
        let part = |start: usize| {
            let left = self.total - start;
            start + (left / (2 * size)).max(LEAST.min(left.div_ceil(size)))
        };
        let next = |start| (start < self.total).then(|| part(start));
        let start = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
        Some(start..part(start))
    }
}

/// Numbers that the threads of a team write together and all read, with a [`Member::wait`] between.
///
/// What each thread writes is behind a lock, so that a forgotten wait gives wrong numbers and not a data race. The locks are
/// never contended otherwise.
#[derive(Debug)]
pub(crate) struct Exchange {
    parts: Vec<RwLock<Part>>,
}

/// Numbers that one thread wrote.
#[derive(Debug, Default)]
struct Part {
    /// The items that they belong to, in this order.
    runs: Vec<Range<usize>>,
    /// The numbers of each item, all of one width.
    numbers: Vec<f32>,
}

impl Exchange {
    /// Makes an exchange for up to `size` threads.
    pub(crate) fn new(size: usize) -> Self {
        Self { parts: (0..size).map(|_| RwLock::default()).collect() }
    }

    /// Takes items from `work` until none is left. `fill` gets a range of items, and a buffer of arbitrary numbers with room
    /// for `width` numbers for each.
    pub(crate) fn fill(
        &self,
        member: &Member<'_>,
        work: &Work,
        width: usize,
        mut fill: impl FnMut(Range<usize>, &mut [f32]),
    ) {
        let mut part = self.parts[member.index].write().unwrap_or_else(PoisonError::into_inner);
        let Part { runs, numbers } = &mut *part;
        runs.clear();
        let mut at = 0;
        while let Some(run) = work.take(member.team.size) {
            let end = at + run.len() * width;
            if numbers.len() < end {
                numbers.resize(end, 0.0);
            }
            fill(run.clone(), &mut numbers[at..end]);
            runs.push(run);
            at = end;
        }
    }

    /// Reads the numbers of each item, in any order. `read` gets its index and its `width` numbers.
    pub(crate) fn for_each(&self, width: usize, mut read: impl FnMut(usize, &[f32])) {
        for part in &self.parts {
            let part = part.read().unwrap_or_else(PoisonError::into_inner);
            let things = part.runs.iter().flat_map(Range::clone);
            for (index, numbers) in things.zip(part.numbers.chunks_exact(width)) {
                read(index, numbers);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs rounds of writing and reading: a wait that lets a thread through early would show an old number.
    #[test]
    fn everyone_sees_what_the_others_wrote_before_the_wait() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        let exchanges = [Exchange::new(4), Exchange::new(4)];
        let work: Vec<Work> = (0..500).map(|_| Work::new(50)).collect();
        let seen = pool.install(|| {
            together(3, |member| {
                let mut seen = 0;
                for (round, work) in work.iter().enumerate() {
                    let exchange = &exchanges[round % 2];
                    let value = |thing: usize, i: usize| (thing * round + i) as f32;
                    exchange.fill(member, work, 2, |run, numbers| {
                        for (thing, numbers) in run.zip(numbers.chunks_exact_mut(2)) {
                            numbers.copy_from_slice(&[value(thing, 0), value(thing, 1)]);
                        }
                    });
                    member.wait();
                    let mut things = [false; 50];
                    exchange.for_each(2, |thing, numbers| {
                        assert_eq!(numbers, [value(thing, 0), value(thing, 1)]);
                        assert!(!std::mem::replace(&mut things[thing], true));
                    });
                    seen += things.iter().filter(|seen| **seen).count();
                }
                seen
            })
        });
        assert_eq!(seen, vec![500 * 50; 3]);
    }

    #[test]
    fn a_panic_stops_all() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let run = std::panic::AssertUnwindSafe(|| {
            pool.install(|| {
                together(2, |member| {
                    assert!(member.index == 0, "on purpose");
                    member.wait();
                })
            })
        });
        assert!(std::panic::catch_unwind(run).is_err());
    }

    #[test]
    fn work_is_taken_once_and_whole() {
        for (total, size) in [(0, 3), (2, 3), (7, 3), (128, 2), (16_000, 16)] {
            let work = Work::new(total);
            let taken: Vec<Range<usize>> = std::iter::from_fn(|| work.take(size)).collect();
            assert!(taken.iter().all(|run| run.len() <= total.div_ceil(size)));
            assert_eq!(taken.into_iter().flatten().collect::<Vec<_>>(), (0..total).collect::<Vec<_>>());
        }
    }
}
