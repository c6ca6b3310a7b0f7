//! A marked passage of a text.

use std::ops::Range;

use crate::statistics::PValue;

/// A passage that is marked by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Passage {
    /// Its tokens in the text.
    pub tokens: Range<usize>,
    /// Scored tokens of the window that was found; 0 for a passage that repeats another.
    pub scored_tokens: usize,
    /// Σ ln LR of that window, in nats; 0 for a passage that repeats another.
    pub score: f64,
    /// p of that window, corrected for all windows, profiles and keys. A repetition has the p of the passage that it
    /// repeats.
    pub p: PValue,
    /// Name of the profile that found it.
    pub profile: String,
}
