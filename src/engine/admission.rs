//! Decides which request begins when. Tenants take turns, and a tenant's requests begin in order, within the available
//! rows and memory.

use std::collections::VecDeque;
use std::sync::Arc;

use super::event::Id;
use super::request::Request;

/// A request on its way to its first token.
pub(super) struct Job {
    pub(super) id: Id,
    pub(super) request: Arc<Request>,
    /// The responses that are not cancelled.
    pub(super) open: Vec<usize>,
    /// Number of bytes that each of them needs at worst.
    pub(super) sequence_bytes: usize,
}

impl Job {
    fn bytes(&self) -> usize {
        self.open.len() * self.sequence_bytes
    }
}

/// The waiting requests of one tenant, at least one, in the order in which they arrived.
struct Queue {
    tenant: u32,
    jobs: VecDeque<Job>,
}

/// The waiting requests, and the limits for those that have begun.
pub(super) struct Admission {
    /// The tenants that wait; the tenant whose turn it is comes first.
    queues: VecDeque<Queue>,
    /// Maximum number of rows in a decode step; a single request may have more.
    together: usize,
    /// The memory budget, and how much of it is promised to requests that have begun.
    cache_bytes: usize,
    promised: usize,
}

impl Admission {
    pub(super) fn new(together: usize, cache_bytes: usize) -> Self {
        Self { queues: VecDeque::new(), together, cache_bytes, promised: 0 }
    }

    /// Takes a request. A tenant that is not waiting yet goes to the end of the queue.
    pub(super) fn push(&mut self, job: Job) {
        let tenant = job.request.tenant;
        match self.queues.iter_mut().find(|queue| queue.tenant == tenant) {
            Some(queue) => queue.jobs.push_back(job),
            None => self.queues.push_back(Queue { tenant, jobs: VecDeque::from([job]) }),
        }
    }

    /// Takes the first request of the tenant whose turn it is, if it may begin while `running` responses run. It may if
    /// there is room for all its responses, or if nothing else runs. No request overtakes one whose turn it is.
    ///
    /// The request's memory counts as used until it is [given back](Self::give_back).
    pub(super) fn next(&mut self, running: usize) -> Option<Job> {
        let job = self.queues.front()?.jobs.front()?;
        let has_rows = running == 0 || running + job.open.len() <= self.together;
        if !has_rows || job.bytes() > self.free() {
            return None;
        }
        self.promised += job.bytes();
        let mut queue = self.queues.pop_front()?;
        let job = queue.jobs.pop_front();
        if !queue.jobs.is_empty() {
            self.queues.push_back(queue);
        }
        job
    }

    /// Returns the number of bytes that no request uses.
    pub(super) fn free(&self) -> usize {
        self.cache_bytes - self.promised
    }

    /// Takes back memory that a request was promised.
    pub(super) fn give_back(&mut self, bytes: usize) {
        self.promised -= bytes;
    }

    /// Returns the waiting requests.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Job> {
        self.queues.iter().flat_map(|queue| &queue.jobs)
    }

    /// Cancels responses of a request if it is waiting.
    pub(super) fn cancel_where(&mut self, id: Id, cancelled: impl Fn(usize) -> bool) {
        for queue in &mut self.queues {
            for job in queue.jobs.iter_mut().filter(|job| job.id == id) {
                job.open.retain(|number| !cancelled(*number));
            }
            queue.jobs.retain(|job| !job.open.is_empty());
        }
        self.queues.retain(|queue| !queue.jobs.is_empty());
    }
}
