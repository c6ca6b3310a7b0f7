//! Work on all cores, with a queue that has an end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use wmdetect::pool::available_threads;
use wmdetect::service::ApiError;

/// Threads for what takes the processor's time.
#[derive(Debug)]
pub(super) struct Pool {
    cores: Arc<Semaphore>,
    threads: usize,
    /// For requests that wait or are worked on.
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
    /// Makes a pool that takes so many requests at a time. `taken` shows how many there are.
    pub(super) fn new(places: u32, taken: Gauge) -> Self {
        let threads = available_threads();
        Self {
            cores: Arc::new(Semaphore::new(threads)),
            threads,
            places: Semaphore::new(places as usize),
            taken,
        }
    }

    /// Does the jobs of one request and returns their results in order; `None` for a job that panicked. Each request waits
    /// for as many cores as there are, and cores go to who has waited longest, so a long one does not stop the others.
    /// Dropping the future leaves the jobs undone that have not begun.
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
        let workers = self.threads.min(jobs.len());
        let jobs: Arc<Mutex<VecDeque<_>>> = Arc::new(Mutex::new(jobs.into_iter().enumerate().collect()));
        let mut set = JoinSet::new();
        for _ in 0..workers {
            let (jobs, cores) = (Arc::clone(&jobs), Arc::clone(&self.cores));
            set.spawn(async move {
                let mut done = Vec::new();
                loop {
                    let Ok(core) = Arc::clone(&cores).acquire_owned().await else { return done };
                    let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((number, job)) = job else { return done };
                    let result = spawn_blocking(move || {
                        let result = job();
                        drop(core);
                        result
                    });
                    done.push((number, result.await.ok()));
                }
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
