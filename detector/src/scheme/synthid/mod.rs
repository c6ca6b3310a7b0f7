//! SynthID: tournament sampling (Dathathri et al. 2024), by three keyed functions.
//!
//! | module | what it settles |
//! |---|---|
//! | `tournament` | what a tournament makes of the candidates' probabilities |
//! | `sha256` | `synthid-sha256` and `synthid-sha256-v2`, our own schemes |
//! | `lcg` | `synthid-hf` and `synthid-deepmind`, which follow the reference implementations |

use super::{KeyError, MAX_DEPTH, MAX_NGRAM_LEN};

pub(super) mod lcg;
pub(super) mod sha256;
mod tournament;

pub use lcg::deepmind::DeepMind;
pub use lcg::hf::Hf;
pub use lcg::table::SamplingTable;
pub use sha256::Sha256;
pub use sha256::v2::Sha256V2;

/// Refuses numbers of layers and n-gram lengths that cannot work.
fn check(depth: u8, ngram_len: u8) -> Result<(), KeyError> {
    if !(1..=MAX_DEPTH).contains(&depth.into()) {
        return Err(KeyError::Depth { found: depth.into() });
    }
    if !(2..=MAX_NGRAM_LEN).contains(&ngram_len.into()) {
        return Err(KeyError::NgramLen { found: ngram_len.into() });
    }
    Ok(())
}
