//! The likelihood ratio of a text against fair bits, on an integer lattice.
//!
//! One token's score is S(g) = ⌊ln(c)/h⌋ with h = 1/32, where c is the lower edge of the cell that LR(g) of a
//! [`EntropyClasses`] lies in; cells are the `f64`s that agree in their first 20 bits, 256 an octave. A text's score is the sum
//! over its scored tokens. Rounding is part of the statistic, not an error of it:
//! - S is an integer, so the null law of the sum is that of n draws from one table, and the p-value is exact;
//! - e^{hS} ≤ LR, so E[e^{hS}] ≤ 1 and e^{h ΣS} is an e-value: P(e^{h ΣS} ≥ 1/a) ≤ a at any stopping time;
//! - LR takes `+` and `*` in one order, and the edges' logarithms are far from multiples of h (a test), so that every
//!   machine gets the same integer.

mod classes;
pub mod enumerate;
pub mod fit;
pub mod lattice;
mod profile;

use std::sync::Arc;

pub use classes::{ClassesError, EntropyClasses, MAX_CLASSES, MAX_DEPTH, PSI_UNITS, WEIGHT_UNITS};
pub(crate) use classes::{LatticeTable, TRACKS};
pub use lattice::STEP;
pub use profile::{Profile, ProfileError, REFERENCE, Source};

use super::{PKind, PValue};
use crate::scheme::gvalues::GBits;

/// The likelihood ratio detector under one profile.
#[derive(Clone, Debug)]
pub struct Llr {
    profile: Arc<Profile>,
}

impl Llr {
    /// With this profile.
    pub fn new(profile: Arc<Profile>) -> Self {
        Self { profile }
    }

    /// The profile.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The number of scored tokens and the sum of their lattice scores.
    pub fn sum(&self, scored: impl IntoIterator<Item = GBits>) -> (u64, i64) {
        scored.into_iter().fold((0, 0), |(n, sum), g| (n + 1, sum + i64::from(self.profile.score(g))))
    }

    /// ln of the text's e-value, h Σ S; `None` if nothing is scored.
    pub fn score(&self, tokens: u64, sum: i64) -> Option<f64> {
        (tokens > 0).then_some(sum as f64 * STEP)
    }

    /// P(a sum at least this high | null); `None` if nothing is scored.
    pub fn p_value(&self, tokens: u64, sum: i64) -> Option<PValue> {
        (tokens > 0).then(|| PValue::from_ln(self.profile.null().tail(tokens, sum), PKind::Exact))
    }
}
