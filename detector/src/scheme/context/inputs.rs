//! The inputs of a keyed function that a text has had, where they are narrower than its n-grams.

use super::seen::Seen;

/// Inputs that are held as they are; later ones in a filter.
const EXACT: usize = 3_600_000;

/// See the module.
#[derive(Clone, Debug)]
pub(in crate::scheme) struct Inputs(Seen);

impl Default for Inputs {
    fn default() -> Self {
        Self(Seen::new(EXACT))
    }
}

impl Inputs {
    /// Notes an input; true if it is new. A filter may take a new one for a repeated one, never the reverse.
    pub(in crate::scheme) fn insert(&mut self, input: u64) -> bool {
        self.0.insert(input.into())
    }
}
