//! The g-values of one text, to check this program against another.

use serde::{Deserialize, Serialize};

/// What [`Detector::g_values`](crate::Detector::g_values) says of one text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GValues {
    /// Context tokens and the token itself, H + 1.
    pub ngram_len: u32,
    /// Layers m.
    pub depth: u32,
    /// One string for each position from H on (H = `ngram_len` − 1): `depth` times `0` or `1`, layer 0 first.
    pub g_bits: Vec<String>,
    /// One character for each of these positions, `1` where it is scored; for the compatible schemes as the
    /// reference implementation does it.
    pub mask: String,
}
