//! The last answers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Values by a hash. Keeps those that were asked for lately, at most `2 * half`.
#[derive(Debug)]
pub(super) struct Recent<V> {
    half: usize,
    halves: Mutex<Halves<V>>,
}

#[derive(Debug)]
struct Halves<V> {
    young: HashMap<[u8; 32], V>,
    /// The previous young half. A value that is not asked for until the young half is full again is dropped.
    old: HashMap<[u8; 32], V>,
}

impl<V: Clone> Recent<V> {
    pub(super) fn new(half: usize) -> Self {
        Self { half, halves: Mutex::new(Halves { young: HashMap::new(), old: HashMap::new() }) }
    }

    /// Returns the value of `key`, and whether it was there. If it was not, `make` makes it.
    pub(super) fn get_or_insert(&self, key: [u8; 32], make: impl FnOnce() -> V) -> (V, bool) {
        let Halves { young, old } = &mut *self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = young.get(&key) {
            return (value.clone(), true);
        }
        let (value, known) = match old.remove(&key) {
            Some(value) => (value, true),
            None => (make(), false),
        };
        if young.len() >= self.half {
            *old = std::mem::take(young);
        }
        young.insert(key, value.clone());
        (value, known)
    }

    pub(super) fn remove(&self, key: &[u8; 32]) {
        let Halves { young, old } = &mut *self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        young.remove(key);
        old.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let cache = Recent::new(4);
        for i in 0..100 {
            cache.get_or_insert([i; 32], || i);
            assert_eq!(cache.get_or_insert([0; 32], || 255).0, 0);
        }
        assert!(!cache.get_or_insert([50; 32], || 7).1);
        let halves = cache.halves.lock().unwrap();
        assert!(halves.young.len() + halves.old.len() <= 8);
    }
}
