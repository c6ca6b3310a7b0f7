//! Where in a text the mark is, by [`segments::scan`](crate::segments::scan) on the model's ratios.

use super::running::Evidence;
use crate::segments::{StartBound, Track, Window, scan};

/// Share ε of edits among the tokens of a passage, by the alternative. With f = ε + (1 − ε) LR a token that is not
/// marked costs at most ln 1/ε; E\[f\] = 1 since E\[LR\] = 1.
const EDITS: f64 = 0.05;

impl Evidence {
    /// Returns the passages that carry the mark, at family-wise error `fpr`: at most that share of unmarked texts has
    /// any.
    ///
    /// A window's `start` and `end` count the tokens read; the first scored token's context is included. Its `track` is
    /// the setting; each setting is scanned under each doubt. Each distribution must depend only on the tokens before
    /// it, as those of a language model do.
    pub fn passages(&self, fpr: f64) -> Vec<Window> {
        let places: Vec<usize> = (0..self.tokens.len()).filter(|&t| self.tokens[t].is_some()).collect();
        let doubts = self.grid.doubts();
        let factors: Vec<Vec<f64>> = (0..self.surprisals.len())
            .flat_map(|setting| doubts.iter().map(move |&(_, doubt)| self.ln_factors(setting, doubt)))
            .map(|ln| places.iter().map(|&t| (EDITS + (1.0 - EDITS) * ln[t].exp()).ln()).collect())
            .collect();
        let tracks: Vec<Track<'_>> =
            factors.iter().map(|ln_lr| Track { ln_lr, bound: StartBound::VILLE }).collect();
        let mut before = 0;
        scan(&tracks, fpr)
            .into_iter()
            .map(|window| {
                let first = places[window.start];
                let context_len = self.tokens[first].as_ref().map_or(0, |ratios| ratios.context_len);
                let start = first.saturating_sub(context_len).max(before);
                before = places[window.end - 1] + 1;
                Window { start, end: before, track: window.track / doubts.len(), ..window }
            })
            .collect()
    }
}
