//! Which request begins when: first come, first served, within the rows and the memory that there are.

use std::collections::VecDeque;
use std::sync::Arc;

use super::event::Id;
use super::request::Request;

/// A request on its way to its first token.
pub(super) struct Job {
    pub(super) id: Id,
    pub(super) request: Arc<Request>,
    /// The responses that nobody cancelled.
    pub(super) open: Vec<usize>,
    /// Bytes that each of them needs at worst.
    pub(super) sequence_bytes: usize,
}

impl Job {
    fn bytes(&self) -> usize {
        self.open.len() * self.sequence_bytes
    }
}

/// The requests that wait, and what those that have begun may use.
pub(super) struct Admission {
    waiting: VecDeque<Job>,
    /// The most rows of a decode step, but for those of one request.
    together: usize,
    /// The budget, and how much of it is promised to requests that have begun.
    cache_bytes: usize,
    promised: usize,
}

impl Admission {
    pub(super) fn new(together: usize, cache_bytes: usize) -> Self {
        Self { waiting: VecDeque::new(), together, cache_bytes, promised: 0 }
    }

    pub(super) fn push(&mut self, job: Job) {
        self.waiting.push_back(job);
    }

    /// Takes the request that has waited longest, if it may begin beside `running` responses: there is room for all its
    /// responses, or nothing else runs. No request overtakes another.
    ///
    /// Its memory counts as used until it is [given back](Self::give_back).
    pub(super) fn next(&mut self, running: usize) -> Option<Job> {
        let job = self.waiting.front()?;
        let has_rows = running == 0 || running + job.open.len() <= self.together;
        if !has_rows || job.bytes() > self.free() {
            return None;
        }
        self.promised += job.bytes();
        self.waiting.pop_front()
    }

    /// Bytes that no request uses.
    pub(super) fn free(&self) -> usize {
        self.cache_bytes - self.promised
    }

    /// Takes back what a request was promised.
    pub(super) fn give_back(&mut self, bytes: usize) {
        self.promised -= bytes;
    }

    /// The requests that wait.
    pub(super) fn waiting(&mut self) -> &mut VecDeque<Job> {
        &mut self.waiting
    }
}
