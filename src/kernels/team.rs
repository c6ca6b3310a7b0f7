//! All threads on one piece of work with many short parts, such as the layers of a decode step.
//!
//! A parallel loop of the pool wakes threads and puts them to sleep again; a step of a 2B model has two hundred of them, and
//! that took a fifth of its time. Here every thread of the pool runs the whole step, takes its [share](Member::share)
//! of each product, and [waits](Member::wait) for the others where it needs what they have made. What they
//! hand each other goes through an [`Exchange`].

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// Turns of a waiting loop before a thread lets others run: some tens of microseconds, longer than a member is late
/// where each has a core.
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
pub struct Member<'a> {
    team: &'a Team,
    index: usize,
}

/// Runs `work` on up to `most` threads of the pool at the same time, once on each, and returns what they return in the
/// order of [`Member::index`].
///
/// # Panics
/// If `work` panics on any thread.
pub fn together<R: Send>(most: usize, work: impl Fn(&Member<'_>) -> R + Sync) -> Vec<R> {
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
    /// This thread's number, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Threads of the team.
    pub fn size(&self) -> usize {
        self.team.size
    }

    /// The part of `total` things that is this thread's.
    pub fn share(&self, total: usize) -> Range<usize> {
        share(total, self.index, self.team.size)
    }

    /// Returns when all threads of the team have called it as often.
    ///
    /// # Panics
    /// If another member has panicked, which would keep this one waiting for ever.
    pub fn wait(&self) {
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

/// Part `index` of `total` things divided among `size`.
fn share(total: usize, index: usize, size: usize) -> Range<usize> {
    index * total / size..(index + 1) * total / size
}

/// Numbers that each thread of a team writes a part of and all read, with a [`Member::wait`] between.
///
/// The parts are behind locks, so that a wait that was forgotten makes wrong numbers and not a data race; they are
/// never contended otherwise.
#[derive(Debug)]
pub struct Exchange {
    parts: Vec<RwLock<Vec<f32>>>,
}

impl Exchange {
    /// For up to `size` threads.
    pub fn new(size: usize) -> Self {
        Self { parts: (0..size).map(|_| RwLock::default()).collect() }
    }

    /// Hands a thread its part, to be written over.
    pub fn write(&self, member: &Member<'_>, write: impl FnOnce(&mut Vec<f32>)) {
        write(&mut self.parts[member.index()].write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Each part with the [share](Member::share) of `total` things that it belongs to.
    pub fn read(
        &self,
        member: &Member<'_>,
        total: usize,
    ) -> impl Iterator<Item = (Range<usize>, RwLockReadGuard<'_, Vec<f32>>)> {
        let size = member.size();
        self.parts[..size].iter().enumerate().map(move |(index, part)| {
            (share(total, index, size), part.read().unwrap_or_else(PoisonError::into_inner))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds of writing a part and reading all: a wait that lets a thread through early would show an old number.
    #[test]
    fn everyone_sees_what_the_others_wrote_before_the_wait() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        let exchanges = [Exchange::new(4), Exchange::new(4)];
        let sums = pool.install(|| {
            together(3, |member| {
                let mut seen = 0.0;
                for round in 0..500 {
                    let exchange = &exchanges[round % 2];
                    exchange.write(member, |part| {
                        part.clear();
                        part.extend(member.share(10).map(|i| (i * round) as f32));
                    });
                    member.wait();
                    for (range, part) in exchange.read(member, 10) {
                        assert_eq!(*part, range.map(|i| (i * round) as f32).collect::<Vec<_>>());
                        seen += part.iter().sum::<f32>();
                    }
                }
                seen
            })
        });
        assert_eq!(sums, vec![45.0 * (499.0 * 500.0 / 2.0); 3]);
    }

    #[test]
    fn a_panic_stops_all() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let run = std::panic::AssertUnwindSafe(|| {
            pool.install(|| {
                together(2, |member| {
                    assert!(member.index() == 0, "on purpose");
                    member.wait();
                })
            })
        });
        assert!(std::panic::catch_unwind(run).is_err());
    }

    #[test]
    fn shares_are_all_of_it() {
        for (total, size) in [(0, 3), (2, 3), (7, 3), (128, 2)] {
            let parts: Vec<usize> = (0..size).flat_map(|i| share(total, i, size)).collect();
            assert_eq!(parts, (0..total).collect::<Vec<_>>());
        }
    }
}
