//! The running e-value of a text.

use std::f64::consts::LN_10;

use super::chain::{Grid, Mixture};
use super::monte_carlo::RandomKeys;
use super::ratio::{Position, Scratch, ceiling, probability};
use crate::scheme::{ContextTracker, Distribution, PositionKind, Prf};
use crate::statistics::{PKind, PValue};
use crate::verdict::Verdict;

/// Follows a text token by token and keeps the e-value; [`super::verify`] drives it with a model.
#[derive(Clone, Debug)]
pub struct ExactRatio {
    prf: Prf,
    grid: Grid,
    tracker: ContextTracker,
    mixture: Mixture,
    random: Option<RandomKeys>,
    ln_ratios: Vec<Vec<f64>>,
    surprisals: Vec<Vec<f64>>,
    scored: Vec<bool>,
    /// Sum over the scored tokens of what any key could have reached, for each setting.
    ceilings: Vec<f64>,
    scratch: Scratch,
    row: Vec<f64>,
}

/// What the model and the key say of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// For each setting ln LR of each token read; 0 where it does not count.
    pub ln_ratios: Vec<Vec<f64>>,
    /// For each setting −ln p of each token read, in nats; infinite where it is no candidate.
    pub surprisals: Vec<Vec<f64>>,
    /// For each token read whether it counts: its context is complete and fresh, and some setting has it among its
    /// candidates.
    pub scored: Vec<bool>,
    /// ln E over all tokens read.
    pub ln_e: f64,
    /// ln of the greatest E on the way, at least 0; the p-value is e to the minus this.
    pub ln_sup: f64,
    /// The most that ln E could have become under any key.
    pub ln_ceiling: f64,
    /// The share of each setting in E.
    pub shares: Vec<f64>,
    /// The rank among random keys.
    pub monte_carlo: Option<MonteCarlo>,
    /// The chains that were mixed.
    pub grid: Grid,
    /// Whether the scheme's g-values are not quite independent coins, so that no p-value is more than approximate.
    pub approximate: bool,
}

/// The rank of a key among random ones on one text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MonteCarlo {
    /// Random keys R.
    pub keys: usize,
    /// (1 + those with at least the key's evidence) / (R + 1).
    pub p: f64,
}

impl ExactRatio {
    /// For a response to `prompt` (empty if unknown) under `settings` ≥ 1 sampling settings, with [`Grid::new`].
    pub fn new(prf: &Prf, prompt: &[u32], settings: usize) -> Self {
        Self::with_grid(prf, prompt, settings, Grid::new(prf.scheme().context_len()))
    }

    /// With other chains. The choice must not depend on the key.
    pub fn with_grid(prf: &Prf, prompt: &[u32], settings: usize, grid: Grid) -> Self {
        let settings = settings.max(1);
        Self {
            prf: prf.clone(),
            tracker: ContextTracker::complete(prf.scheme().context_len(), prompt),
            mixture: Mixture::new(&grid, settings),
            grid,
            random: None,
            ln_ratios: vec![Vec::new(); settings],
            surprisals: vec![Vec::new(); settings],
            scored: Vec::new(),
            ceilings: vec![0.0; settings],
            scratch: Scratch::default(),
            row: vec![0.0; settings],
        }
    }

    /// Judges the text under `keys` random keys as well; costs about `keys` times the arithmetic, not the model. The
    /// random numbers follow from the text.
    pub fn with_monte_carlo(mut self, keys: usize, prompt: &[u32], ids: &[u32]) -> Self {
        self.random = Some(RandomKeys::new(keys, &self.grid, self.settings(), prompt, ids));
        self
    }

    fn settings(&self) -> usize {
        self.ln_ratios.len()
    }

    /// Goes on by one token; `next` has its distribution under each setting.
    ///
    /// # Panics
    /// If `next` has not one distribution a setting.
    pub fn push(&mut self, token: u32, next: &[Distribution]) {
        assert_eq!(next.len(), self.settings(), "one distribution a setting");
        let depth = self.prf.scheme().depth();
        let position = (self.tracker.next_position() == PositionKind::Marked)
            .then(|| Position::new(token, next))
            .filter(|position| !position.tokens.is_empty());
        self.row.fill(0.0);
        if let Some(position) = &position {
            let keyed = self.prf.context(self.tracker.context());
            let g: Vec<_> = position.tokens.iter().map(|&candidate| keyed.g_bits(candidate)).collect();
            position.ln_ratios(&g, depth, &mut self.scratch, &mut self.row);
        }
        for (setting, distribution) in next.iter().enumerate() {
            let p = probability(distribution, token);
            self.surprisals[setting].push(p.map_or(f64::INFINITY, |p| -p.ln()));
            self.ln_ratios[setting].push(self.row[setting]);
            if let (Some(p), true) = (p, position.is_some()) {
                self.ceilings[setting] += ceiling(p, depth);
            }
        }
        self.scored.push(position.is_some());
        self.mixture.step(&self.grid, &self.row);
        if let Some(random) = &mut self.random {
            random.step(&self.grid, position.as_ref(), depth, &mut self.scratch, &mut self.row);
        }
        self.tracker.push(token);
    }

    /// Tokens read.
    pub fn tokens(&self) -> usize {
        self.scored.len()
    }

    /// Tokens that count so far.
    pub fn scored_tokens(&self) -> usize {
        self.scored.iter().filter(|&&scored| scored).count()
    }

    /// ln E of the text so far.
    pub fn ln_e(&self) -> f64 {
        self.mixture.ln_e()
    }

    /// ln of the greatest E so far, at least 0.
    pub fn ln_sup(&self) -> f64 {
        self.mixture.ln_sup()
    }

    /// The rank among random keys so far, if they were asked for.
    pub fn monte_carlo(&self) -> Option<MonteCarlo> {
        let random = self.random.as_ref()?;
        Some(MonteCarlo { keys: random.len(), p: random.p_value(self.ln_sup()) })
    }

    /// The result.
    pub fn finish(self) -> Evidence {
        Evidence {
            ln_e: self.ln_e(),
            ln_sup: self.ln_sup(),
            ln_ceiling: self.ceilings.iter().copied().fold(0.0, f64::max),
            shares: self.mixture.shares(self.settings()),
            monte_carlo: self.monte_carlo(),
            ln_ratios: self.ln_ratios,
            surprisals: self.surprisals,
            scored: self.scored,
            grid: self.grid,
            approximate: self.prf.scheme().is_compat(),
        }
    }
}

impl Evidence {
    /// Tokens that count.
    pub fn scored_tokens(&self) -> usize {
        self.scored.iter().filter(|&&scored| scored).count()
    }

    /// min(1, 1 / sup E), a bound.
    pub fn p_value(&self) -> PValue {
        PValue::from_ln(-self.ln_sup, self.kind(PKind::Conservative))
    }

    /// The p-value that decides: the rank among random keys where that was asked for, else [`Self::p_value`].
    pub fn deciding(&self) -> PValue {
        self.monte_carlo.map_or(self.p_value(), |monte_carlo| PValue {
            log10: monte_carlo.p.log10() + 0.0,
            kind: self.kind(PKind::Exact),
        })
    }

    fn kind(&self, kind: PKind) -> PKind {
        if self.approximate { PKind::Approximate } else { kind }
    }

    /// `too_short` where no key whatever could have brought 1/E to `fpr`, so that its absence says nothing.
    pub fn verdict(&self, fpr: f64) -> Verdict {
        if self.deciding().reaches(fpr) {
            Verdict::Watermarked
        } else if self.ln_ceiling < -fpr.ln() {
            Verdict::TooShort
        } else {
            Verdict::NotDetected
        }
    }

    /// log₁₀ of [`Self::ln_ceiling`]'s e-value.
    pub fn log10_ceiling(&self) -> f64 {
        self.ln_ceiling / LN_10
    }

    /// For each token read the probability that it is marked, see [`Grid::marked_probability`].
    pub fn marked_probability(&self) -> Vec<f64> {
        self.grid.marked_probability(&self.ln_ratios)
    }
}
