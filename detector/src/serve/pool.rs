//! Work on all cores, with a bounded queue.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use wmdetect::pool::available_threads;
use wmdetect::service::ApiError;

/// How long a request may keep a core while others wait.
const SLICE: Duration = Duration::from_millis(5);

/// Threads for work that takes processor time.
#[derive(Debug)]
pub(super) struct Pool {
    cores: Arc<Semaphore>,
    threads: usize,
    /// Places for requests that wait or are worked on.
    places: Semaphore,
    taken: Gauge,
}

/// A place in the queue.
struct Taken<'a>(&'a Gauge);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Pool {
    /// Makes a pool that takes `places` requests at a time. `taken` shows how many there are.
    pub(super) fn new(places: u32, taken: Gauge) -> Self {
        let threads = available_threads();
        Self {
            // One more worker has its work ready when another ends.
            cores: Arc::new(Semaphore::new(threads + 1)),
            threads,
            places: Semaphore::new(places as usize),
            taken,
        }
    }

    /// Does the jobs of one request and returns their results in order; `None` for a job that panicked.
    ///
    /// A request takes the free cores, or waits for one. It has each core for [`SLICE`] and until the end of the job
    /// that it began, and waits again. Cores go to the request that has waited longest, so a request with many texts
    /// does not stop the others. If the future is dropped, jobs that have not begun are not done.
    ///
    /// # Errors
    /// Returns an error if all places are taken.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        jobs: Vec<impl FnOnce() -> T + Send + 'static>,
    ) -> Result<Vec<Option<T>>, ApiError> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(ApiError::too_many("too many requests wait: try again in a second", 1));
        };
        self.taken.inc();
        let _taken = Taken(&self.taken);
        let mut results: Vec<Option<T>> = jobs.iter().map(|_| None).collect();
        // If others wait for cores, spreading over several is only more work.
        let workers = self.cores.available_permits().clamp(1, self.threads).min(jobs.len());
        let jobs: Arc<Mutex<VecDeque<_>>> = Arc::new(Mutex::new(jobs.into_iter().enumerate().collect()));
        let mut set = JoinSet::new();
        for _ in 0..workers {
            let (jobs, cores) = (Arc::clone(&jobs), Arc::clone(&self.cores));
            set.spawn(async move {
                let mut done = Vec::new();
                while let Ok(core) = Arc::clone(&cores).acquire_owned().await {
                    let jobs = Arc::clone(&jobs);
                    let slice = spawn_blocking(move || {
                        let results = work(&jobs);
                        drop(core);
                        results
                    });
                    match slice.await {
                        Ok(results) if !results.is_empty() => done.extend(results),
                        _ => break,
                    }
                }
                done
            });
        }
        while let Some(done) = set.join_next().await {
            for (number, result) in done.unwrap_or_default() {
                results[number] = result;
            }
        }
        Ok(results)
    }
}

/// Does jobs until [`SLICE`] is over or no job is left, and returns their numbers and results.
fn work<T>(jobs: &Mutex<VecDeque<(usize, impl FnOnce() -> T)>>) -> Vec<(usize, Option<T>)> {
    let start = Instant::now();
    let mut done = Vec::new();
    while done.is_empty() || start.elapsed() < SLICE {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some((number, job)) = job else { break };
        // A panic concerns only one text; everything that the job owned is dropped with it.
        done.push((number, catch_unwind(AssertUnwindSafe(job)).ok()));
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn results_are_in_order_and_a_full_queue_refuses() {
        let pool = Pool::new(1, Gauge::default());
        let job = |i: usize| {
            move || {
                std::thread::sleep(std::time::Duration::from_millis(3 - (i % 3) as u64));
                assert!(i != 7, "seven");
                i
            }
        };
        let jobs = |n| (0..n).map(job).collect::<Vec<_>>();
        let (first, second) = tokio::join!(pool.run(jobs(20)), pool.run(jobs(1)));
        let expected: Vec<_> = (0..20).map(|i| (i != 7).then_some(i)).collect();
        assert_eq!(first.unwrap(), expected);
        assert_eq!(second.unwrap_err().status().as_u16(), 429);
        assert_eq!(pool.run(jobs(2)).await.unwrap(), [Some(0), Some(1)]);
        assert_eq!(pool.taken.get(), 0);
    }
}
