//! The likelihood ratio of a text against fair bits, on an integer lattice.
//!
//! One token's score is S(g) = ⌊ln(c)/h⌋ with h = 1/32, where c is the lower edge of the cell that LR(g) of
//! [`EntropyClasses`] lies in. A cell holds the `f64`s that agree in their first 20 bits; an octave has 256 cells. A
//! text's score is the sum over its scored tokens. Rounding is part of the statistic, not an error of it:
//! - S is an integer, so the null law of the sum is that of n draws from one table, and the p-value is exact;
//! - e^{hS} ≤ LR, so E[e^{hS}] ≤ 1 and e^{h ΣS} is an e-value: P(e^{h ΣS} ≥ 1/a) ≤ a at any stopping time;
//! - LR uses only `+` and `*` in one order, and the edges' logarithms are far from multiples of h, as a test checks. So
//!   every machine gets the same integer.

mod classes;
mod enumerate;
mod error;
pub mod fit;
pub(crate) mod lattice;
pub(crate) mod laws;
mod profile;
mod profile_file;

use std::sync::Arc;

pub use classes::{ClassesError, EntropyClasses, MAX_CLASSES, MAX_DEPTH, PSI_UNITS, WEIGHT_UNITS};
pub(crate) use classes::{LatticeTable, TRACKS};
pub use error::ProfileError;
pub use lattice::STEP;
pub use laws::LawError;
pub use profile::{Profile, REFERENCE};
pub use profile_file::Source;

use super::method::Method;
use super::power::Test;
use super::sample::{Sample, Selected, UnsupportedEvidence};
use super::scored::Scored;
use super::statistic::Statistic;
use crate::scheme::GBits;

/// The likelihood ratio under one profile.
#[derive(Clone, Debug)]
pub struct Llr {
    profile: Arc<Profile>,
}

impl Llr {
    /// Makes the statistic of this profile, for keys of at least as many layers; see [`Profile::for_depth`].
    pub fn new(profile: impl Into<Arc<Profile>>) -> Self {
        Self { profile: profile.into() }
    }

    /// Returns the profile.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    fn g_bits<'a>(&self, sample: Sample<'a>) -> Result<Selected<'a, GBits>, UnsupportedEvidence> {
        sample.g_bits(self.method(), &(self.profile.depth()..=usize::MAX))
    }
}

impl Statistic for Llr {
    fn method(&self) -> Method {
        Method::Llr
    }

    fn values(&self, sample: Sample<'_>) -> Result<Vec<i32>, UnsupportedEvidence> {
        Ok(self.g_bits(sample)?.map(|g| self.profile.score(g)).collect())
    }

    fn sum(&self, sample: Sample<'_>) -> Result<i64, UnsupportedEvidence> {
        Ok(self.g_bits(sample)?.map(|g| i64::from(self.profile.score(g))).sum())
    }

    fn smallest_sum(&self, scored: Scored) -> i64 {
        scored.full as i64 * self.profile.null().first()
    }

    fn largest_sum(&self, scored: Scored) -> i64 {
        scored.full as i64 * self.profile.null().last()
    }

    fn ln_tail(&self, scored: Scored, sum: i64) -> f64 {
        self.profile.null().tail(scored.full, sum)
    }

    /// Returns ln of the text's e-value, h Σ S.
    fn score(&self, scored: Scored, sum: i64) -> Option<f64> {
        (scored.full > 0).then_some(sum as f64 * STEP)
    }

    fn required_tokens(&self, alpha: f64) -> u64 {
        Test { null: &|n, s| self.ln_tail(Scored::full(n), s), marked: self.profile.marked() }
            .required_tokens(alpha)
    }
}
