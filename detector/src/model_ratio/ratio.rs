//! The factor of one token.

use std::f64::consts::LN_2;

use crate::scheme::{Distribution, GBits};
use crate::statistics::llr::EntropyClasses;

/// Candidates below this probability are left out. They change nothing measurable, and p may be anything that does not
/// depend on the key.
pub(super) const NEGLIGIBLE: f64 = 1e-10;
/// ln of the least ratio. A ratio of 0 would end all evidence for good, which rounding must not decide.
const LEAST: f64 = -700.0;

/// Returns ln LR of candidate `own` under a tournament of `depth` layers with two leaves: ln Π_l (1 + g_l − G_l).
///
/// `p` has the candidates' probabilities up to a common factor, `g` their g-values. `p` becomes the tournament's
/// result. With Z the mass of g = 0, the factor of a layer is 1 + Z or Z. For G near 1, 1 − G would lose all digits.
/// Dividing by the sum in each layer keeps rounding from adding up.
///
/// # Panics
/// Panics if `g` is not as long as `p`, or `own` is out of range.
pub(super) fn ln_ratio(p: &mut [f64], g: &[GBits], depth: usize, own: usize) -> f64 {
    assert_eq!(p.len(), g.len(), "one g-value a candidate");
    let (mut total, mut zeros) = (0.0, 0.0);
    for (p, g) in p.iter().zip(g) {
        total += p;
        zeros += p * (1 - (g.0 & 1)) as f64;
    }
    let (mut ln, mut ratio) = (0.0, 1.0);
    for layer in 0..depth {
        let z = zeros / total;
        let factors = [z / total, (1.0 + z) / total];
        ratio *= if g[own].layer(layer) == 0 { z } else { 1.0 + z };
        if ratio < 1e-200 {
            ln += ratio.max(f64::MIN_POSITIVE).ln();
            ratio = 1.0;
        }
        // The same pass computes the next layer's sums; those above the last layer are not used.
        (total, zeros) = (0.0, 0.0);
        for (p, g) in p.iter_mut().zip(g) {
            *p *= factors[(g.0 >> layer & 1) as usize];
            total += *p;
            zeros += *p * (1 - (g.0 >> layer >> 1 & 1)) as f64;
        }
    }
    (ln + ratio.ln()).max(LEAST)
}

/// What the key says of a token, given the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ModelRatio {
    /// The token's probability under the model; 0 if it is not a candidate.
    pub p: f64,
    /// ln LR; 0 if it is not a candidate.
    pub ln_ratio: f64,
}

/// What the key says of a token that counts.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenRatios {
    /// How many tokens before it decide its values.
    pub context_len: usize,
    /// The ratio under each sampling setting.
    pub model: Vec<ModelRatio>,
    /// The text-only likelihood ratio of the token's own g-bits, see [`EntropyClasses`].
    pub text: f64,
}

/// One token and its candidates under each sampling setting.
#[derive(Clone, Debug, Default)]
pub(super) struct Position {
    /// How many tokens before it decide its values.
    context_len: usize,
    /// The token itself, then the other candidates of all settings together.
    pub tokens: Vec<u32>,
    settings: Vec<Candidates>,
}

/// The candidates of one setting; empty if the text's token is not one of them.
#[derive(Clone, Debug, Default)]
struct Candidates {
    /// Places in [`Position::tokens`].
    places: Vec<u32>,
    /// Probabilities, in the same order.
    p: Vec<f64>,
    /// Which one is the text's token.
    own: usize,
    /// Its probability.
    own_p: f64,
}

/// Memory that is reused from token to token.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    p: Vec<f64>,
    g: Vec<GBits>,
}

impl Position {
    /// Makes a position from the distributions of the settings, of which only those with `token` count. The
    /// `context_len` tokens before it decide its values.
    pub(super) fn new(context_len: usize, token: u32, next: &[Distribution]) -> Self {
        let mut position = Self { context_len, tokens: vec![token], settings: Vec::new() };
        for distribution in next {
            let mut candidates = Candidates::default();
            if let Some(own_p) = probability(distribution, token) {
                candidates.own_p = own_p;
                let all = distribution.tokens().iter().zip(distribution.probabilities());
                for (i, (&candidate, &p)) in all.enumerate() {
                    if p < NEGLIGIBLE && (candidate != token || p == 0.0) {
                        continue;
                    }
                    if candidate == token {
                        candidates.own = candidates.p.len();
                    }
                    candidates.places.push(position.place(candidate, i));
                    candidates.p.push(p);
                }
            }
            position.settings.push(candidates);
        }
        position
    }

    /// Returns the place of a candidate in `tokens`. Settings that share their candidates have them in the same order,
    /// so the search begins at `hint` and the place after it.
    fn place(&mut self, token: u32, hint: usize) -> u32 {
        let near = |place: usize| (self.tokens.get(place) == Some(&token)).then_some(place);
        let found =
            near(hint).or_else(|| near(hint + 1)).or_else(|| self.tokens.iter().position(|&at| at == token));
        found.unwrap_or_else(|| {
            self.tokens.push(token);
            self.tokens.len() - 1
        }) as u32
    }

    /// Returns the ratios under g-values `g`, one entry for each of `tokens`, with `classes` for the text alone.
    pub(super) fn ratios(
        &self,
        g: &[GBits],
        depth: usize,
        classes: &EntropyClasses,
        scratch: &mut Scratch,
    ) -> TokenRatios {
        let context_len = self.context_len;
        let model = |candidates: &Candidates| {
            if candidates.p.is_empty() {
                return ModelRatio::NO_CANDIDATE;
            }
            scratch.p.clone_from(&candidates.p);
            scratch.g.clear();
            scratch.g.extend(candidates.places.iter().map(|&place| g[place as usize]));
            let ln_ratio = ln_ratio(&mut scratch.p, &scratch.g, depth, candidates.own);
            ModelRatio { p: candidates.own_p, ln_ratio }
        };
        TokenRatios {
            context_len,
            model: self.settings.iter().map(model).collect(),
            text: classes.likelihood_ratio(g[0]),
        }
    }
}

impl ModelRatio {
    /// The ratio of a token that the model would not have drawn.
    pub const NO_CANDIDATE: Self = Self { p: 0.0, ln_ratio: 0.0 };
}

/// Returns the probability of `token`, if it is positive.
pub(super) fn probability(distribution: &Distribution, token: u32) -> Option<f64> {
    let place = distribution.tokens().iter().position(|&candidate| candidate == token)?;
    Some(distribution.probabilities()[place]).filter(|&p| p > 0.0)
}

/// Returns the greatest ln LR that any key could give a token of probability `p`: the lesser of `depth` ln 2 and −ln p.
pub(super) fn ceiling(p: f64, depth: usize) -> f64 {
    (depth as f64 * LN_2).min(-p.ln()).max(0.0)
}
