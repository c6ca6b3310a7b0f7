//! Finds SynthID-style watermarks in text.
//!
//! The way from a key file to a verdict: a [`scheme::Key`] gives a keyed function, text becomes token ids, ids become
//! g-values, a statistic counts them, and its p-value decides.

pub mod detect;
pub mod report;
pub mod scheme;
pub mod statistics;
#[cfg(feature = "text")]
pub mod text;
pub mod verdict;

pub use detect::{DetectError, Detector, Keyring};
pub use report::Report;
pub use verdict::Verdict;
