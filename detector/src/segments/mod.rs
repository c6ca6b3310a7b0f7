//! The marked passages inside a text.
//!
//! | file | what |
//! |---|---|
//! | `passage` | what is found |
//! | `scan` | all windows of a text at once, at one family-wise error |
//! | `restarts` | the same under the rule of the shortest contexts |
//! | `scanners` | the profiles that the scan looks with |
//! | `reach` | how far a passage goes on where its tokens carry no evidence |

mod passage;
mod reach;
mod restarts;
mod scan;
mod scanners;

pub use passage::Passage;
pub use scan::Window;
use scan::scan_rows;
pub(crate) use scan::{StartBound, Track, scan};

use crate::scheme::{ContextRule, Prf, TextGValues};
use crate::statistics::{PKind, PValue};
use scanners::{REACH, Scanners, scanners};

/// Returns the passages of `ids` that one key shows in one channel, in order of the text. `values` are its values in the
/// whole text. `keep` says whether an n-gram counts; it must not depend on the key. `fpr`, above 0 and below 1, is the
/// family-wise error over `tries` keys and channels, at least 1.
pub fn passages(
    prf: &Prf,
    values: &TextGValues,
    ids: &[u32],
    keep: &dyn Fn(&[u32]) -> bool,
    fpr: f64,
    tries: usize,
) -> Vec<Passage> {
    let exact = prf.scheme().promise().is_exact();
    let kind = if exact { PKind::Conservative } else { PKind::Approximate };
    let scanners = scanners(values.depth);
    let level = fpr / tries as f64;
    let mut found = match prf.scheme().context_rule() {
        ContextRule::Whole { .. } => windows(values, scanners, level, kind),
        ContextRule::Shortest { .. } => restarts::windows(prf, ids, keep, scanners, level, kind),
    };
    for passage in &mut found {
        passage.p = passage.p.corrected(tries);
    }
    let evidence = |t: usize| match t.checked_sub(values.first) {
        Some(i) if values.scored[i] => scanners.ln_lr(values.g[i])[REACH],
        _ => 0.0,
    };
    reach::reach(found, ids, evidence, prf.scheme().context_len())
}

/// The windows of a text whose positions have whole contexts, with p for one key.
fn windows(values: &TextGValues, scanners: &Scanners, fpr: f64, kind: PKind) -> Vec<Passage> {
    let n = values.scored.iter().map(|&scored| u64::from(scored)).sum();
    if !scanners.finds(values.scored(), n, fpr) {
        return Vec::new();
    }
    let mut scored = values.scored();
    let row = |_, row: &mut [f64]| {
        row.copy_from_slice(&scanners.ln_lr(scored.next().unwrap_or_default()));
    };
    let windows = scan_rows(&scanners.bounds(), n as usize, fpr, row);
    // Windows count the positions that are scored, from the first on.
    let mut positions = (0..values.g.len()).filter(|&i| values.scored[i]).enumerate().peekable();
    let mut position = |index| {
        while positions.next_if(|&(at, _)| at < index).is_some() {}
        positions.peek().map_or(values.g.len(), |&(_, position)| position)
    };
    let mut found: Vec<Passage> = Vec::new();
    for window in windows {
        // The evidence of a token is about its context as well: those tokens were written with it.
        let start = position(window.start);
        let end = position(window.end - 1) + values.first + 1;
        let before = found.last().map_or(0, |passage| passage.tokens.end);
        found.push(Passage {
            tokens: start.max(before)..end,
            scored_tokens: window.end - window.start,
            score: window.score,
            p: PValue::from_ln(window.ln_p, kind),
            profile: scanners.name(window.track).to_owned(),
        });
    }
    found
}
