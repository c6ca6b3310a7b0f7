//! How far the model is trusted.
//!
//! Without the prompt, or with the wrong model, p is wrong at many tokens. A token that was drawn from another
//! distribution often has a ratio near 0 under p although it is marked. But its own g-bits are tilted, which the
//! text-only ratio TR of [`EntropyClasses`] sees. So a doubtful alternative says that some tokens were drawn from a
//! distribution that is not p. Let d be their share, and q the probability that such a distribution gives its tokens.
//! By Bayes' rule a token x, marked or not, is one of them with probability w = d q / (d q + (1 − d) p(x)) = c / (c +
//! p(x)). Its factor is
//!
//! (1 − w) LR + w TR.
//!
//! Its mean over a random key is exactly 1, given everything that came before. LR and TR have mean 1 each under the
//! g-values of a fresh context, TR even if the token is not a candidate. And w depends on the text and the model alone.
//! If p(x) is well above c, the model decides. If it is far below, the g-bits decide and no evidence is lost to p.

use super::ratio::ModelRatio;

/// The alternative that a token may have come from another distribution than p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Doubt {
    /// c ≥ 0: a token to which the model gives this probability is as likely to have come from elsewhere. At 0 the
    /// model is right everywhere.
    pub level: f64,
}

impl Doubt {
    /// The model is right everywhere.
    pub const NONE: Self = Self { level: 0.0 };

    /// Returns w, the weight of the text-only ratio for a token of probability `p` under the model; 0 if it is not a
    /// candidate.
    pub fn weight(&self, p: f64) -> f64 {
        if self.level == 0.0 { 0.0 } else { self.level / (self.level + p) }
    }

    /// Returns (1 − w) LR + w TR.
    pub fn factor(&self, model: ModelRatio, text: f64) -> f64 {
        let w = self.weight(model.p);
        (1.0 - w) * model.ln_ratio.exp() + w * text
    }
}
