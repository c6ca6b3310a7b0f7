//! The running e-value of a text.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::f64::consts::LN_10;

use super::chain::{Grid, Mixture};
use super::doubt::Doubt;
use super::marked::MarkedTexts;
use super::monte_carlo::RandomKeys;
use super::ratio::{ModelRatio, Position, Scratch, TokenRatios, ceiling, probability};
use crate::scheme::{ContextRule, ContextTracker, Distribution, GBits, PositionKind, Prf};
use crate::statistics::llr::lattice::lattice;
use crate::statistics::llr::{EntropyClasses, MAX_DEPTH};
use crate::statistics::power::POWER;
use crate::statistics::{PKind, PValue, Profile};
use crate::verdict::Verdict;

/// Follows a text token by token and keeps the e-value. [`super::verify`] drives it with a model.
#[derive(Clone, Debug)]
pub struct RunningRatio {
    prf: Prf,
    grid: Grid,
    tracker: ContextTracker,
    mixture: Mixture,
    random: Option<RandomKeys>,
    marked: Option<MarkedTexts>,
    /// What a marked token looks like without the model.
    classes: EntropyClasses,
    /// The parts of the text-only p-value, if it has a share of the level.
    text: Option<TextOnly>,
    tokens: Vec<Option<TokenRatios>>,
    surprisals: Vec<Vec<f64>>,
    /// Sum over the scored tokens of the most that any key could have reached, for each setting and doubt.
    ceilings: Vec<f64>,
    scratch: Scratch,
}

/// The text-only likelihood ratio of a text.
#[derive(Clone, Debug)]
struct TextOnly {
    /// Sum of the lattice scores.
    sum: i64,
    /// Number of tokens that count in the text-only detector.
    tokens: u64,
    /// The pairs of neighbours so far, if the rule looks at them.
    pairs: Option<HashSet<[u32; 2]>>,
    last: Option<u32>,
}

impl TextOnly {
    fn new(rule: ContextRule) -> Self {
        let pairs = matches!(rule, ContextRule::Shortest { .. }).then(HashSet::new);
        Self { sum: 0, tokens: 0, pairs, last: None }
    }

    /// Takes a token, and what the key says of it.
    fn push(&mut self, token: u32, ratios: Option<&TokenRatios>) {
        let pair = self.last.replace(token).map(|last| [last, token]);
        let new_pair = match (&mut self.pairs, pair) {
            (Some(pairs), Some(pair)) => pairs.insert(pair),
            _ => true,
        };
        if let Some(ratios) = ratios.filter(|_| new_pair) {
            self.sum += i64::from(lattice(ratios.text));
            self.tokens += 1;
        }
    }
}

/// What the model and the key say of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// What the key says of each token read. `None` if the token does not count because its context is incomplete or
    /// came up before.
    pub tokens: Vec<Option<TokenRatios>>,
    /// For each setting −ln p of each token read, in nats; infinite if it is not a candidate.
    pub surprisals: Vec<Vec<f64>>,
    /// ln E over all tokens read.
    pub ln_e: f64,
    /// ln of the greatest E on the way, at least 0.
    pub ln_sup: f64,
    /// The share of a level that 1 / sup E has: 1, or 1/2 if the prompt is not known and the text-only p-value has the
    /// rest.
    pub share: f64,
    /// The exact p-value of the text-only likelihood ratio under the profile `pooled`. `None` if it has no share, or if
    /// reading stopped early: where it stopped depends on the key.
    pub text_only: Option<PValue>,
    /// The most that ln E could have become under any key.
    pub ln_ceiling: f64,
    /// The share of each setting in E.
    pub shares: Vec<f64>,
    /// The rank among random keys.
    pub monte_carlo: Option<MonteCarlo>,
    /// For each setting ln sup E of marked texts that were drawn from the same distributions, if that was asked for.
    pub marked_texts: Option<Vec<Vec<f64>>>,
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
    /// (1 + the number of keys with at least the key's E after the last token) / (R + 1). If the prompt is known, E is
    /// that of the chains without doubts.
    pub p: f64,
}

impl RunningRatio {
    /// Starts a response to `prompt` under `settings` ≥ 1 sampling settings, with [`Grid::new`]. If `prompt` is empty
    /// because it is not known, it takes [`Grid::without_prompt`], and half of the level is for the text-only p-value.
    pub fn new(prf: &Prf, prompt: &[u32], settings: usize) -> Self {
        let context_len = prf.scheme().context_len();
        if prompt.is_empty() {
            let grid = Grid::without_prompt(context_len);
            let text = TextOnly::new(prf.scheme().context_rule());
            Self { text: Some(text), ..Self::with_grid(prf, prompt, settings, grid) }
        } else {
            Self::with_grid(prf, prompt, settings, Grid::new(context_len))
        }
    }

    /// Starts as [`new`](Self::new) does, with other chains, and without a share of the level for the text-only p-value.
    /// The choice must not depend on the key.
    pub fn with_grid(prf: &Prf, prompt: &[u32], settings: usize, grid: Grid) -> Self {
        let settings = settings.max(1);
        Self {
            prf: prf.clone(),
            tracker: ContextTracker::new(prf.scheme().context_rule(), prompt),
            mixture: Mixture::new(&grid, settings),
            random: None,
            marked: None,
            classes: Profile::pooled().classes().truncated(prf.scheme().depth().min(MAX_DEPTH)),
            text: None,
            tokens: Vec::new(),
            surprisals: vec![Vec::new(); settings],
            ceilings: vec![0.0; settings * grid.doubts().len()],
            scratch: Scratch::default(),
            grid,
        }
    }

    /// Judges the text under `keys` random keys as well. That multiplies the arithmetic by about `keys`, not the work
    /// of the model. The random numbers follow from the text, so `ids` is the whole text. Call this before the first
    /// [`push`](Self::push).
    pub fn with_monte_carlo(mut self, keys: usize, prompt: &[u32], ids: &[u32]) -> Self {
        self.random = Some(RandomKeys::new(keys, &self.grid, self.settings(), prompt, ids));
        self
    }

    /// Draws `texts` marked texts for each setting from the same distributions as well, so that a verdict knows whether
    /// the mark would have been found. That multiplies the arithmetic by about `texts`, not the work of the model. Call
    /// this before the first [`push`](Self::push).
    pub fn with_marked_texts(mut self, texts: usize) -> Self {
        self.marked = Some(MarkedTexts::new(texts, &self.grid, self.settings()));
        self
    }

    fn settings(&self) -> usize {
        self.surprisals.len()
    }

    /// Reads one more token; `next` has its distribution under each setting.
    ///
    /// # Panics
    /// Panics if `next` does not have one distribution for each setting.
    pub fn push(&mut self, token: u32, next: &[Distribution]) {
        assert_eq!(next.len(), self.settings(), "one distribution a setting");
        let depth = self.prf.scheme().depth();
        let context_len = self.tracker.context().len();
        let position = (self.tracker.next_position() == PositionKind::Marked)
            .then(|| Position::new(context_len, token, next));
        let ratios = position.as_ref().map(|position| {
            let keyed = self.prf.context(self.tracker.context());
            let mut g = vec![GBits::default(); position.tokens.len()];
            keyed.g_bits_of(&position.tokens, &mut g);
            position.ratios(&g, depth, &self.classes, &mut self.scratch)
        });
        for (surprisals, distribution) in self.surprisals.iter_mut().zip(next) {
            surprisals.push(probability(distribution, token).map_or(f64::INFINITY, |p| -p.ln()));
        }
        if let Some(text) = &mut self.text {
            text.push(token, ratios.as_ref());
        }
        if let Some(ratios) = &ratios {
            let doubts = self.grid.doubts();
            // No g-bits have a higher text-only ratio than all ones.
            let text = self.classes.likelihood_ratio(GBits(u64::MAX));
            for (index, sum) in self.ceilings.iter_mut().enumerate() {
                let p = ratios.model[index / doubts.len()].p;
                let model = ModelRatio { p, ln_ratio: if p > 0.0 { ceiling(p, depth) } else { 0.0 } };
                *sum += doubts[index % doubts.len()].1.factor(model, text).ln().max(0.0);
            }
        }
        self.mixture.step(&self.grid, ratios.as_ref());
        if let Some(random) = &mut self.random {
            random.step(ratios.as_ref(), position.as_ref(), depth, &self.classes, &mut self.scratch);
        }
        if let Some(marked) = &mut self.marked {
            let next = position.is_some().then_some((context_len, next));
            marked.step(&self.grid, next, depth, &self.classes);
        }
        self.tokens.push(ratios);
        self.tracker.push(token);
    }

    /// Returns the number of tokens read.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// Returns the number of tokens that count so far.
    pub fn scored_tokens(&self) -> usize {
        self.tokens.iter().flatten().count()
    }

    /// Returns ln E of the text so far.
    pub fn ln_e(&self) -> f64 {
        self.mixture.ln_e()
    }

    /// Returns ln of the greatest E so far, at least 0.
    pub fn ln_sup(&self) -> f64 {
        self.mixture.ln_sup()
    }

    /// Returns the rank among random keys so far, if they were asked for.
    pub fn monte_carlo(&self) -> Option<MonteCarlo> {
        let random = self.random.as_ref()?;
        Some(MonteCarlo { keys: random.len(), p: random.p_value() })
    }

    /// Returns the share of a level that 1 / sup E has, see [`Evidence::share`].
    pub fn share(&self) -> f64 {
        if self.text.is_some() { 0.5 } else { 1.0 }
    }

    /// Returns the text-only p-value of the tokens so far, if it has a share.
    fn text_only(&self) -> Option<PValue> {
        let TextOnly { sum, tokens, .. } = *self.text.as_ref()?;
        let scheme = self.prf.scheme();
        let ln = if tokens == 0 {
            0.0
        } else {
            Profile::pooled().for_depth(scheme.depth()).null().tail(tokens, sum)
        };
        Some(PValue::from_ln(ln, kind(!scheme.promise().is_exact(), PKind::Exact)))
    }

    /// Returns the result.
    pub fn finish(self) -> Evidence {
        Evidence {
            ln_e: self.ln_e(),
            share: self.share(),
            text_only: self.text_only(),
            ln_sup: self.ln_sup(),
            ln_ceiling: self.ceilings.iter().copied().fold(0.0, f64::max),
            shares: self.mixture.shares(self.settings()),
            monte_carlo: self.monte_carlo(),
            marked_texts: self.marked.map(|marked| marked.ln_sups()),
            tokens: self.tokens,
            surprisals: self.surprisals,
            grid: self.grid,
            approximate: !self.prf.scheme().promise().is_exact(),
        }
    }
}

impl Evidence {
    /// Returns the number of tokens that count.
    pub fn scored_tokens(&self) -> usize {
        self.tokens.iter().flatten().count()
    }

    /// Returns min(1, 1 / (share · sup E)) or the text-only p-value divided by its share, whichever is less
    /// (Bonferroni).
    pub fn p_value(&self) -> PValue {
        let ratio = -self.ln_sup - self.share.ln();
        let text = self.text_only.map_or(0.0, |p| p.log10 * LN_10 - (1.0 - self.share).ln());
        PValue::from_ln(ratio.min(text), self.kind(PKind::Conservative))
    }

    /// Returns the p-value that decides: the rank among random keys if that was asked for, else [`Self::p_value`].
    pub fn deciding(&self) -> PValue {
        self.monte_carlo.map_or(self.p_value(), |monte_carlo| PValue {
            log10: monte_carlo.p.log10() + 0.0,
            kind: self.kind(PKind::Exact),
        })
    }

    fn kind(&self, exact: PKind) -> PKind {
        kind(self.approximate, exact)
    }

    /// Returns the setting that makes the text likeliest: the fewest tokens that it would not have drawn, then the
    /// least surprisal. The choice does not depend on the key.
    fn likeliest_setting(&self) -> usize {
        let cost = |setting: &usize| {
            let surprisals = &self.surprisals[*setting];
            let finite = surprisals.iter().filter(|x| x.is_finite());
            (surprisals.len() - finite.clone().count(), finite.sum::<f64>())
        };
        let settings = 0..self.surprisals.len();
        settings.min_by(|a, b| cost(a).partial_cmp(&cost(b)).unwrap_or(Ordering::Equal)).unwrap_or(0)
    }

    /// Returns the share of simulated marked texts for which sup E alone reaches `fpr`, drawn from the distributions of
    /// the likeliest setting at the same positions. `None` if no texts were simulated. It supposes that model, prompt
    /// and settings are right, and that nothing was edited.
    pub fn power(&self, fpr: f64) -> Option<f64> {
        let texts = self.marked_texts.as_ref()?.get(self.likeliest_setting())?;
        let found = texts.iter().filter(|&&ln_sup| -ln_sup <= (fpr * self.share).ln()).count();
        Some(found as f64 / texts.len().max(1) as f64)
    }

    /// Returns the verdict. It is `too_short` if a marked text with the same distributions would be found with
    /// probability below [`POWER`], or if no key could have reduced 1/E to `fpr`. The mark's absence then says nothing.
    pub fn verdict(&self, fpr: f64) -> Verdict {
        if self.deciding().reaches(fpr) {
            Verdict::Watermarked
        } else if self.ln_ceiling < -(fpr * self.share).ln()
            || self.power(fpr).is_some_and(|power| power < POWER)
        {
            Verdict::TooShort
        } else {
            Verdict::NotDetected
        }
    }

    /// Returns ln of each token's factor under a setting and a doubt; 0 if it does not count.
    pub(super) fn ln_factors(&self, setting: usize, doubt: Doubt) -> Vec<f64> {
        let factor = |ratios: &TokenRatios| doubt.factor(ratios.model[setting], ratios.text).ln();
        self.tokens.iter().map(|ratios| ratios.as_ref().map_or(0.0, factor)).collect()
    }

    /// Returns for each token read the probability that it is marked, given the whole text, if the text is marked at
    /// all. This describes the text for a heat map and is not a p-value.
    pub fn marked_probability(&self) -> Vec<f64> {
        let settings = 0..self.surprisals.len();
        let hypotheses: Vec<(f64, Vec<f64>)> = settings
            .flat_map(|setting| {
                self.grid.doubts().iter().map(move |&(share, doubt)| (share, self.ln_factors(setting, doubt)))
            })
            .collect();
        let longest = self.grid.context_len();
        let context_len =
            |ratios: &Option<TokenRatios>| ratios.as_ref().map_or(longest, |ratios| ratios.context_len);
        let context_lens: Vec<usize> = self.tokens.iter().map(context_len).collect();
        self.grid.marked_probability(&hypotheses, &context_lens)
    }
}

/// Returns what a p-value promises: no more than `approximate` if the g-values are not quite independent coins.
fn kind(approximate: bool, kind: PKind) -> PKind {
    if approximate { PKind::Approximate } else { kind }
}
