//! Limits the number of open answers, so that a request beyond it is refused at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use wmdetect::service::ApiError;

/// Places of the answers that are written or wait.
#[derive(Debug)]
pub(super) struct Queue {
    /// Number of all places.
    limit: usize,
    /// Number of tenants that share them.
    tenants: AtomicUsize,
    open: Mutex<HashMap<u32, usize>>,
}

/// Places in the queue. Dropping them gives them back.
#[derive(Debug)]
pub(super) struct Places {
    queue: Arc<Queue>,
    tenant: u32,
    count: usize,
}

impl Queue {
    /// Makes a queue for `batch` answers that are written and `waiting` that wait. If there are several tenants, each
    /// may have half of it.
    pub(super) fn new(batch: usize, waiting: usize, tenants: usize) -> Self {
        Self { limit: batch + waiting, tenants: AtomicUsize::new(tenants), open: Mutex::default() }
    }

    /// Sets the number of tenants.
    pub(super) fn share_among(&self, tenants: usize) {
        self.tenants.store(tenants, Ordering::Relaxed);
    }

    /// Returns the maximum number of places for one tenant.
    fn share(&self) -> usize {
        if self.tenants.load(Ordering::Relaxed) > 1 { self.limit.div_ceil(2) } else { self.limit }
    }

    /// Takes `count` places for a tenant. A request for more places than there are is accepted if nothing else is open.
    ///
    /// # Errors
    /// Returns an error if they are not available.
    pub(super) fn take(self: &Arc<Self>, tenant: u32, count: usize) -> Result<Places, ApiError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let own = open.get(&tenant).copied().unwrap_or(0);
        let fits = |taken: usize, limit: usize| taken == 0 || taken + count <= limit;
        if !fits(all, self.limit) {
            return Err(ApiError::too_many("too many answers wait already; try again", 1));
        }
        if !fits(own, self.share()) {
            return Err(ApiError::too_many("too many answers for this token wait already; try again", 1));
        }
        *open.entry(tenant).or_default() += count;
        Ok(Places { queue: Arc::clone(self), tenant, count })
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        let mut open = self.queue.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = open.get_mut(&self.tenant) {
            *taken -= self.count;
            if *taken == 0 {
                open.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tenant_leaves_room_for_the_others() {
        let queue = Arc::new(Queue::new(2, 4, 2));
        let places: Vec<Places> = (0..3).map(|_| queue.take(0, 1).unwrap()).collect();
        assert_eq!(queue.take(0, 1).unwrap_err().status(), 429);
        let other = queue.take(1, 3).unwrap();
        assert_eq!(queue.take(2, 1).unwrap_err().status(), 429);
        drop((places, other));
        assert!(queue.open.lock().unwrap().is_empty());
        queue.share_among(1);
        let _all = queue.take(0, 6).unwrap();
        assert!(queue.take(0, 1).is_err());
    }
}
