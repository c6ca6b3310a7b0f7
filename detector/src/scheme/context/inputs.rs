//! The inputs that a text has given a keyed function, where they are narrower than the text's n-grams.

use super::seen::Seen;

/// Number of inputs that are stored exactly. Later ones go into a filter.
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
    /// Notes an input and returns whether it is new. A filter may take a new one for a repeated one, never the reverse.
    pub(in crate::scheme) fn insert(&mut self, input: u64) -> bool {
        self.0.insert(input.into())
    }
}
