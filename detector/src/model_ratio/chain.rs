//! The mixture over hidden chains.
//!
//! An edited text is marked in stretches. One replaced word takes the mark from its own token and from the tokens whose
//! context it is part of. Each such token, if judged as marked, costs more evidence than a marked one gives. So the
//! alternative is a hidden chain: states "k tokens since the last edit" for k ≤ H, a state "more than that", and a
//! state "written by another hand".
//!
//! A token whose context has h tokens counts with LR in the states in which more than h tokens have come since the last
//! edit. In the others it has factor 1. If all contexts have H tokens, it counts only in the state "more than that".
//! The mark's rule may choose contexts by the history of the text. An edit may change that choice, too, but this is
//! rare and not modelled.
//!
//! For any transition matrix A with rows that sum to 1, α_t = (α_{t−1} A) ∘ factor has E\[Σ α_t | past\] = Σ α_{t−1}.
//! That is a martingale like the product itself, and so is any mixture of chains with fixed weights. In place of LR a
//! chain may take any factor of mean 1, such as those of [`doubt`](super::doubt). Each chain is mixed with each of
//! them.

use super::doubt::Doubt;
use super::ratio::TokenRatios;
use crate::scheme::DEFAULT_NGRAM_LEN;

/// One hidden chain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chain {
    /// Probability that a token is an edit.
    pub edit: f64,
    /// Probability that foreign text begins at a token; 0 for a chain without foreign text.
    pub leave: f64,
    /// Probability that foreign text ends at a token; the first H tokens after that have foreign contexts.
    pub enter: f64,
}

/// Chains and doubts with their weights, for a context length.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    chains: Vec<(f64, Chain)>,
    doubts: Vec<(f64, Doubt)>,
    context_len: usize,
}

/// Doubts if the prompt is known.
const PROMPTED: [(f64, Doubt); 2] = [(0.75, Doubt::NONE), (0.25, Doubt { level: 0.03 })];
/// Doubts if the prompt is not known. The power is flat around these numbers.
const UNPROMPTED: [(f64, Doubt); 2] = [(0.2, Doubt::NONE), (0.8, Doubt { level: 0.1 })];

/// Returns the number of states of a chain: 0 ..= H tokens since the last edit, then more, then foreign. A token whose
/// context has h tokens is marked in the states from h + 1 on, except for the last.
pub(super) const fn states(context_len: usize) -> usize {
    context_len + 3
}

impl Chain {
    const fn edits(edit: f64) -> Self {
        Self { edit, leave: 0.0, enter: 0.0 }
    }

    /// Writes the law of the first token's state into `alpha`.
    fn start(&self, alpha: &mut [f64]) {
        let marked = alpha.len() - 2;
        let foreign = if self.leave > 0.0 { self.leave / (self.leave + self.enter) } else { 0.0 };
        let mut rest = 1.0 - foreign;
        for state in &mut alpha[..marked] {
            *state = rest * self.edit;
            rest *= 1.0 - self.edit;
        }
        alpha[marked] = rest;
        alpha[marked + 1] = foreign;
    }

    /// Replaces α by α A.
    fn advance(&self, alpha: &mut [f64]) {
        let marked = alpha.len() - 2;
        let foreign = alpha[marked + 1];
        let own: f64 = alpha[..=marked].iter().sum();
        let stay = (1.0 - self.leave) * (1.0 - self.edit);
        alpha[marked] = stay * (alpha[marked - 1] + alpha[marked]);
        for k in (1..marked).rev() {
            alpha[k] = stay * alpha[k - 1];
        }
        alpha[0] = (1.0 - self.leave) * self.edit * own + self.enter * foreign;
        alpha[marked + 1] = (1.0 - self.enter) * foreign + self.leave * own;
    }

    /// Replaces β by A β, where β already carries the next token's factor.
    fn retreat(&self, beta: &mut [f64]) {
        let marked = beta.len() - 2;
        let (edited, foreign) = (beta[0], beta[marked + 1]);
        let stay = (1.0 - self.leave) * (1.0 - self.edit);
        let always = (1.0 - self.leave) * self.edit * edited + self.leave * foreign;
        for k in 0..marked {
            beta[k] = always + stay * beta[k + 1];
        }
        beta[marked] = always + stay * beta[marked];
        beta[marked + 1] = (1.0 - self.enter) * foreign + self.enter * edited;
    }
}

impl Grid {
    /// Returns the ten chains for a text whose prompt is known.
    ///
    /// Three quarters of the weight are on edits at rates 0.3 %, 3 %, 12 % and 30 %. One quarter is on marked passages
    /// of about 1,000 and 50 tokens in foreign text, each with edits at 0.3 %, 3 % and 15 %. Of the doubts, three
    /// quarters are on a model that is right everywhere, one quarter on a model in doubt at level 0.03.
    pub fn new(context_len: usize) -> Self {
        let edits = [(0.4, 0.003), (0.2, 0.03), (0.2, 0.12), (0.2, 0.3)];
        let mut chains: Vec<(f64, Chain)> =
            edits.iter().map(|&(weight, edit)| (0.75 * weight, Chain::edits(edit))).collect();
        for edit in [0.003, 0.03, 0.15] {
            for (leave, enter) in [(0.001, 0.01), (0.02, 0.004)] {
                chains.push((0.25 / 6.0, Chain { edit, leave, enter }));
            }
        }
        Self { chains, doubts: PROMPTED.to_vec(), context_len }
    }

    /// Returns the same chains for a text whose prompt is not known. Of the doubts, one fifth are on a model that is
    /// right everywhere, four fifths on a model in doubt at level 0.1.
    pub fn without_prompt(context_len: usize) -> Self {
        Self::new(context_len).with_doubts(UNPROMPTED.to_vec())
    }

    /// Returns the plain product of the ratios, for a text that is known to be unchanged since this model wrote it.
    pub fn unedited(context_len: usize) -> Self {
        Self { chains: vec![(1.0, Chain::edits(0.0))], doubts: vec![(1.0, Doubt::NONE)], context_len }
    }

    /// Returns the same chains under other doubts, whose weights add up to 1.
    pub fn with_doubts(self, doubts: Vec<(f64, Doubt)>) -> Self {
        Self { doubts, ..self }
    }

    /// Returns H, the number of tokens of a context.
    pub fn context_len(&self) -> usize {
        self.context_len
    }

    /// Returns the weights and the chains.
    pub fn chains(&self) -> &[(f64, Chain)] {
        &self.chains
    }

    /// Returns the weights and the doubts.
    pub fn doubts(&self) -> &[(f64, Doubt)] {
        &self.doubts
    }

    /// Returns ln E after each token of a text whose ratios under `settings` ≥ 1 sampling settings are known. A token
    /// that does not count has `None` for ratios.
    ///
    /// # Panics
    /// Panics if a token does not have one ratio for each setting.
    pub fn ln_e<'a>(
        &self,
        settings: usize,
        tokens: impl IntoIterator<Item = Option<&'a TokenRatios>>,
    ) -> Vec<f64> {
        let mut mixture = Mixture::new(self, settings);
        let one = |ratios| {
            mixture.step(self, ratios);
            mixture.ln_e()
        };
        tokens.into_iter().map(one).collect()
    }

    /// Returns for each token the probability that it is marked, given the whole text, if the text is marked in a way
    /// that the chains know. It goes forward and backward over each chain, weighted by what each explains. This
    /// describes the text for a heat map and is not a p-value.
    ///
    /// `hypotheses` are the settings and doubts: a weight each, and ln of the factor of each token, 0 if it does not
    /// count. `context_lens` has the length of each token's context.
    pub(super) fn marked_probability(
        &self,
        hypotheses: &[(f64, Vec<f64>)],
        context_lens: &[usize],
    ) -> Vec<f64> {
        let tokens = hypotheses.first().map_or(0, |(_, factors)| factors.len());
        let mut sum = vec![0.0; tokens];
        // `sum` carries the factor e^{−most}, `weight` is the sum of the weights with it.
        let (mut most, mut weight) = (f64::NEG_INFINITY, 0.0);
        for (share, factors) in hypotheses {
            for (prior, chain) in &self.chains {
                let (ln, posterior) = self.posterior(chain, factors, context_lens);
                let ln = ln + (prior * share).ln();
                if ln > most {
                    let scale = (most - ln).exp();
                    for sum in &mut sum {
                        *sum *= scale;
                    }
                    weight *= scale;
                    most = ln;
                }
                let w = (ln - most).exp();
                weight += w;
                for (sum, p) in sum.iter_mut().zip(posterior) {
                    *sum += w * p;
                }
            }
        }
        sum.iter().map(|sum| (sum / weight).clamp(0.0, 1.0)).collect()
    }

    /// Returns ln of the chain's e-value at the end, and P(marked | text, chain) for each token.
    fn posterior(&self, chain: &Chain, ln_factors: &[f64], context_lens: &[usize]) -> (f64, Vec<f64>) {
        let states = states(self.context_len);
        let marked = |t: usize| context_lens[t] + 1..states - 1;
        let mut alphas = vec![0.0; states * ln_factors.len()];
        let mut alpha = vec![0.0; states];
        chain.start(&mut alpha);
        let mut total = 0.0;
        for ((t, &ln), row) in ln_factors.iter().enumerate().zip(alphas.chunks_exact_mut(states)) {
            alpha[marked(t)].iter_mut().for_each(|a| *a *= ln.exp());
            let sum: f64 = alpha.iter().sum();
            total += sum.ln();
            for a in &mut alpha {
                *a /= sum;
            }
            row.copy_from_slice(&alpha);
            chain.advance(&mut alpha);
        }
        let mut beta = vec![1.0; states];
        let mut posterior = vec![0.0; ln_factors.len()];
        for (t, row) in alphas.chunks_exact(states).enumerate().rev() {
            let all: f64 = row.iter().zip(&beta).map(|(a, b)| a * b).sum();
            posterior[t] = marked(t).map(|state| row[state] * beta[state]).sum::<f64>() / all;
            beta[marked(t)].iter_mut().for_each(|b| *b *= ln_factors[t].exp());
            chain.retreat(&mut beta);
            let most = beta.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
            for b in &mut beta {
                *b /= most;
            }
        }
        (total, posterior)
    }
}

/// Makes the grid for the default n-gram length.
impl Default for Grid {
    fn default() -> Self {
        Self::new(DEFAULT_NGRAM_LEN - 1)
    }
}

/// The running e-value E of a mixture over settings, doubts and chains.
#[derive(Clone, Debug)]
pub(super) struct Mixture {
    /// Prior weight × α for each setting, doubt, chain and state, all times e^{−`ln_scale`}; their sum is E.
    alpha: Vec<f64>,
    ln_scale: f64,
    ln_sup: f64,
    ln_e: f64,
    fresh: bool,
}

impl Mixture {
    pub(super) fn new(grid: &Grid, settings: usize) -> Self {
        let states = states(grid.context_len);
        let mut alpha = vec![0.0; settings * grid.doubts.len() * grid.chains.len() * states];
        let mut rows = alpha.chunks_exact_mut(states);
        for (share, _) in (0..settings).flat_map(|_| &grid.doubts) {
            for ((weight, chain), row) in grid.chains.iter().zip(&mut rows) {
                chain.start(row);
                for a in row {
                    *a *= weight * share / settings as f64;
                }
            }
        }
        Self { alpha, ln_scale: 0.0, ln_sup: 0.0, ln_e: 0.0, fresh: true }
    }

    /// Takes one token; `ratios` is `None` if it does not count.
    ///
    /// # Panics
    /// Panics if it does not have one ratio for each setting.
    pub(super) fn step(&mut self, grid: &Grid, ratios: Option<&TokenRatios>) {
        let states = states(grid.context_len);
        let context_len = ratios.map_or(grid.context_len, |ratios| ratios.context_len);
        let marked = context_len + 1..states - 1;
        let hypothesis = grid.chains.len() * states;
        if let Some(ratios) = ratios {
            let settings = self.alpha.len() / (hypothesis * grid.doubts.len());
            assert_eq!(ratios.model.len(), settings, "one ratio a setting");
        }
        let mut sum = 0.0;
        for (index, rows) in self.alpha.chunks_exact_mut(hypothesis).enumerate() {
            let factor = ratios.map_or(1.0, |ratios| {
                let (setting, doubt) = (index / grid.doubts.len(), index % grid.doubts.len());
                grid.doubts[doubt].1.factor(ratios.model[setting], ratios.text)
            });
            for ((_, chain), row) in grid.chains.iter().zip(rows.chunks_exact_mut(states)) {
                if !self.fresh {
                    chain.advance(row);
                }
                row[marked.clone()].iter_mut().for_each(|a| *a *= factor);
                sum += row.iter().sum::<f64>();
            }
        }
        self.fresh = false;
        self.ln_e = sum.ln() + self.ln_scale;
        self.ln_sup = self.ln_sup.max(self.ln_e);
        if !(1e-100..1e100).contains(&sum) {
            self.ln_scale += sum.ln();
            for a in &mut self.alpha {
                *a /= sum;
                // Evidence that has fallen this far behind is dropped. That is safe, and carrying it on would be slow.
                if *a < 1e-150 {
                    *a = 0.0;
                }
            }
        }
    }

    /// Returns ln E.
    pub(super) fn ln_e(&self) -> f64 {
        self.ln_e
    }

    /// Returns ln of the greatest E so far, at least 0.
    pub(super) fn ln_sup(&self) -> f64 {
        self.ln_sup
    }

    /// Returns the share of each setting in E.
    pub(super) fn shares(&self, settings: usize) -> Vec<f64> {
        let all: f64 = self.alpha.iter().sum();
        let size = (self.alpha.len() / settings.max(1)).max(1);
        self.alpha.chunks(size).map(|part| part.iter().sum::<f64>() / all).collect()
    }
}
