//! The marked passages inside a text.
//!
//! | file | what |
//! |---|---|
//! | `passage` | what is found |
//! | `scan` | all windows of a text at once, at one family-wise error |
//! | `restarts` | all windows under the rule of the shortest contexts |
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

use crate::scheme::{ContextRule, Evidence, GBits, Prf, TextGValues};
use crate::statistics::{LikelihoodRatio, PKind, PValue, Profile};
use scanners::{PROFILES, REACH, Scanners, scanners};

/// Returns the passages of `ids` that one key shows in one channel, in order of the text.
///
/// `evidence` is that of the whole text, without the positions that do not count. Under [`ContextRule::Shortest`] the
/// scan computes values again. There `keep` says whether an n-gram counts. It must not depend on the key, and must agree
/// with `evidence`. Other rules take that from `evidence` alone and never call `keep`. `fpr`, above 0 and below 1, is the
/// family-wise error over `tries` ≥ 1 keys and channels.
pub fn passages(
    prf: &Prf,
    evidence: &Evidence,
    ids: &[u32],
    keep: &dyn Fn(&[u32]) -> bool,
    fpr: f64,
    tries: usize,
) -> Vec<Passage> {
    let kind = match PKind::from(prf.scheme().promise()) {
        PKind::Exact => PKind::Conservative,
        kind => kind,
    };
    let level = fpr / tries as f64;
    let mut found = match (evidence, prf.scheme().context_rule()) {
        (Evidence::Layers(values), ContextRule::Shortest { .. }) => {
            restarts::windows(prf, ids, keep, scanners(values.depth), level, kind)
        }
        (Evidence::Layers(values), _) => windows(evidence, &Tournament::new(values), level, kind),
        (Evidence::Green(_) | Evidence::Uniform(_), _) => {
            windows(evidence, &FreeDraws::new(evidence), level, kind)
        }
    };
    for passage in &mut found {
        passage.p = passage.p.corrected(tries);
    }
    let layers = evidence.layers().map(|values| (values, scanners(values.depth)));
    let free = FreeDraws::new(evidence);
    let scored = evidence.scored_mask();
    let nats = |t: usize| match t.checked_sub(evidence.first()) {
        Some(i) if scored[i] => match layers {
            Some((values, scanners)) => scanners.ln_lr(values.g[i])[REACH],
            None => free.ln_lr(evidence.g_bits()[i]),
        },
        _ => 0.0,
    };
    reach::reach(found, ids, nats, prf.scheme().context_len())
}

/// A way to look for passages: ln LR of a token by each of several profiles, with E[LR] ≤ 1 under the null hypothesis.
trait Look {
    /// Returns what [`scan_rows`] takes with these rows.
    fn bounds(&self) -> Vec<StartBound>;

    /// Returns the name of each profile.
    fn name(&self, track: usize) -> &str;

    /// Writes ln LR of a token under each profile.
    fn row(&self, g: GBits, row: &mut [f64]);

    /// Returns whether there is anything to find among the `n` scored tokens; true if that is not known.
    fn finds(&self, scored: &mut dyn Iterator<Item = GBits>, n: u64, fpr: f64) -> bool;
}

struct Tournament(&'static Scanners);

impl Tournament {
    fn new(values: &TextGValues) -> Self {
        Self(scanners(values.depth))
    }
}

impl Look for Tournament {
    fn bounds(&self) -> Vec<StartBound> {
        self.0.bounds()
    }

    fn name(&self, track: usize) -> &str {
        self.0.name(track)
    }

    fn row(&self, g: GBits, row: &mut [f64]) {
        row.copy_from_slice(&self.0.ln_lr(g));
    }

    fn finds(&self, scored: &mut dyn Iterator<Item = GBits>, n: u64, fpr: f64) -> bool {
        self.0.finds(scored, n, fpr)
    }
}

/// The likelihood ratios of a scheme without a tournament, by Ville's inequality alone.
struct FreeDraws(Vec<(&'static str, LikelihoodRatio<'static>)>);

impl FreeDraws {
    fn new(evidence: &Evidence) -> Self {
        let ratio = |name| Some((name, LikelihoodRatio::new(evidence.kind(), Profile::named(name)?)));
        Self(PROFILES.into_iter().filter_map(ratio).collect())
    }

    fn ln_lr(&self, g: GBits) -> f64 {
        self.0[REACH].1.ln(g)
    }
}

impl Look for FreeDraws {
    fn bounds(&self) -> Vec<StartBound> {
        vec![StartBound::VILLE; self.0.len()]
    }

    fn name(&self, track: usize) -> &str {
        self.0[track].0
    }

    fn row(&self, g: GBits, row: &mut [f64]) {
        row.iter_mut().zip(&self.0).for_each(|(ln_lr, (_, ratio))| *ln_lr = ratio.ln(g));
    }

    fn finds(&self, _: &mut dyn Iterator<Item = GBits>, _: u64, _: f64) -> bool {
        true
    }
}

/// Returns the windows of a text, each position of which counts wholly or not at all, with p for one key.
fn windows(evidence: &Evidence, look: &dyn Look, fpr: f64, kind: PKind) -> Vec<Passage> {
    let mask = evidence.scored_mask();
    let scored = || evidence.g_bits().iter().zip(mask).filter(|(_, scored)| **scored).map(|(&g, _)| g);
    let n = scored().count();
    if !look.finds(&mut scored(), n as u64, fpr) {
        return Vec::new();
    }
    let mut rest = scored();
    let row = |_, row: &mut [f64]| look.row(rest.next().unwrap_or_default(), row);
    let windows = scan_rows(&look.bounds(), n, fpr, row);
    // Windows count the positions that are scored, from the first on.
    let mut positions = (0..mask.len()).filter(|&i| mask[i]).enumerate().peekable();
    let mut position = |index| {
        while positions.next_if(|&(at, _)| at < index).is_some() {}
        positions.peek().map_or(mask.len(), |&(_, position)| position)
    };
    let mut found: Vec<Passage> = Vec::new();
    for window in windows {
        // The evidence of a token is also about its context: those tokens were written with it.
        let start = position(window.start);
        let end = position(window.end - 1) + evidence.first() + 1;
        let before = found.last().map_or(0, |passage| passage.tokens.end);
        found.push(Passage {
            tokens: start.max(before)..end,
            scored_tokens: window.end - window.start,
            score: window.score,
            p: PValue::from_ln(window.ln_p, kind),
            profile: look.name(window.track).to_owned(),
        });
    }
    found
}
