//! Simulated marked texts with the same distributions.

use super::chain::{Grid, Mixture};
use super::ratio::{ModelRatio, NEGLIGIBLE, TokenRatios, ln_ratio};
use crate::scheme::{Distribution, GBits};
use crate::split_mix;
use crate::statistics::llr::EntropyClasses;

/// Running e-values of simulated marked texts, for each setting.
///
/// At each position that counts, fair g-values are drawn for the candidates of the setting, and a token from what the
/// tournament makes of them. That gives the law of LR and of the token's g-bits under the mark. The positions are those
/// of the text, although a marked text would have taken another course. The mixture over other settings is not
/// followed, only the share 1/S that this setting has in E. So the power is understated by little.
#[derive(Clone, Debug)]
pub(super) struct MarkedTexts {
    /// One list a setting.
    mixtures: Vec<Vec<Mixture>>,
    state: u64,
    before: Vec<f64>,
    after: Vec<f64>,
    g: Vec<GBits>,
}

impl MarkedTexts {
    pub(super) fn new(texts: usize, grid: &Grid, settings: usize) -> Self {
        Self {
            mixtures: vec![vec![Mixture::new(grid, 1); texts]; settings],
            // Any number will do: these draws do not enter a p-value.
            state: 0,
            before: Vec::new(),
            after: Vec::new(),
            g: Vec::new(),
        }
    }

    /// Takes one token. `next` has the length of its context and its distributions, and is `None` if the position does
    /// not count.
    pub(super) fn step(
        &mut self,
        grid: &Grid,
        next: Option<(usize, &[Distribution])>,
        depth: usize,
        classes: &EntropyClasses,
    ) {
        let context_len = next.map_or(0, |(len, _)| len);
        for setting in 0..self.mixtures.len() {
            self.before.clear();
            let p = next.map_or(&[][..], |(_, next)| next[setting].probabilities());
            self.before.extend(p.iter().filter(|&&p| p >= NEGLIGIBLE));
            for text in 0..self.mixtures[setting].len() {
                let ratios = (!self.before.is_empty()).then(|| self.draw(context_len, depth, classes));
                self.mixtures[setting][text].step(grid, ratios.as_ref());
            }
        }
    }

    /// Returns the ratios of one marked draw from `before`.
    fn draw(&mut self, context_len: usize, depth: usize, classes: &EntropyClasses) -> TokenRatios {
        self.g.clear();
        self.g.extend(self.before.iter().map(|_| GBits(split_mix::next(&mut self.state))));
        self.after.clone_from(&self.before);
        ln_ratio(&mut self.after, &self.g, depth, 0);
        let (total_before, total): (f64, f64) = (self.before.iter().sum(), self.after.iter().sum());
        let mut left = (split_mix::next(&mut self.state) >> 11) as f64 / (1_u64 << 53) as f64 * total;
        let mut own = 0;
        for (candidate, &p) in self.after.iter().enumerate().filter(|(_, p)| **p > 0.0) {
            own = candidate;
            left -= p;
            if left < 0.0 {
                break;
            }
        }
        let p = self.before[own] / total_before;
        let model = vec![ModelRatio { p, ln_ratio: (self.after[own] / total / p).ln() }];
        TokenRatios { context_len, model, text: classes.likelihood_ratio(self.g[own]) }
    }

    /// Returns for each setting and each text ln sup of the setting's share of E.
    pub(super) fn ln_sups(&self) -> Vec<Vec<f64>> {
        let share = (self.mixtures.len() as f64).ln();
        let ln_sup = |mixture: &Mixture| (mixture.ln_sup() - share).max(0.0);
        self.mixtures.iter().map(|texts| texts.iter().map(ln_sup).collect()).collect()
    }
}
