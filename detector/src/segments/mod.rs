//! The marked passages inside a text.
//!
//! | file | what |
//! |---|---|
//! | `passage` | what is found |
//! | `scan` | all windows of a text at once, at one family-wise error |
//! | `scanners` | the profiles that the scan looks with |
//! | `reach` | how far a passage goes on where its tokens carry no evidence |

mod passage;
mod reach;
mod scan;
mod scanners;

pub use passage::Passage;
pub use scan::Window;
pub(crate) use scan::{StartBound, Track, scan};

use crate::scheme::TextGValues;
use crate::statistics::{PKind, PValue};
use scanners::{REACH, scanners};

/// Returns the passages of `ids` that one key's `values` show, in order of the text. `fpr` is the family-wise error
/// over `tries` keys; `kind` is what a p-value under this key promises.
pub fn passages(values: &TextGValues, ids: &[u32], kind: PKind, fpr: f64, tries: usize) -> Vec<Passage> {
    let fpr = fpr / tries as f64;
    let scanners = scanners(values.depth);
    let n = values.scored.iter().map(|&scored| u64::from(scored)).sum();
    if !scanners.finds(values.scored(), n, fpr) {
        return Vec::new();
    }
    let kind = if kind == PKind::Exact { PKind::Conservative } else { kind };
    let scored: Vec<_> = (0..values.g.len()).filter(|&i| values.scored[i]).collect();
    let ln_lr = scanners.ln_lr(scored.iter().map(|&i| values.g[i]));
    let mut found: Vec<Passage> = Vec::new();
    for window in scan(&scanners.tracks(&ln_lr), fpr) {
        // The evidence of a token is about its context as well: those tokens were written with it.
        let start = scored[window.start];
        let end = scored[window.end - 1] + values.first + 1;
        let before = found.last().map_or(0, |passage| passage.tokens.end);
        found.push(Passage {
            tokens: start.max(before)..end,
            scored_tokens: window.end - window.start,
            score: window.score,
            p: PValue::from_ln(window.ln_p, kind).corrected(tries),
            profile: scanners.name(window.track).to_owned(),
        });
    }
    let mut evidence = vec![0.0; ids.len()];
    for (&i, &ln_lr) in scored.iter().zip(&ln_lr[REACH]) {
        evidence[i + values.first] = ln_lr;
    }
    reach::reach(found, ids, &evidence, values.first)
}
