//! One statistic with the data that it needs for keys of one depth.

use std::sync::Arc;

use crate::scheme::gvalues::GBits;
use crate::statistics::{Bayesian, LayerCounts, Llr, Mean, Method, PValue, Profile, WeightedMean, power};

/// A statistic for keys of one depth, ready to be evaluated.
#[derive(Clone, Debug)]
pub enum Statistic {
    /// The share of ones.
    Mean,
    /// The weighted share of ones.
    WeightedMean(Arc<WeightedMean>),
    /// The likelihood ratio.
    Llr(Llr),
    /// The Bayesian detector.
    Bayesian(Arc<Bayesian>),
}

impl Statistic {
    /// The statistic `kind` for keys of `depth` layers, `llr` with the built-in pooled profile,
    /// `bayesian` with the built-in detector.
    pub fn new(kind: Method, depth: usize) -> Self {
        match kind {
            Method::Mean => Self::Mean,
            Method::WeightedMean => Self::WeightedMean(Arc::new(WeightedMean::new(depth))),
            Method::Llr => Self::llr(Profile::pooled(), depth),
            Method::Bayesian => Self::bayesian(Bayesian::builtin(), depth),
        }
    }

    /// The likelihood ratio under `profile` for keys of `depth` layers.
    pub fn llr(profile: &Profile, depth: usize) -> Self {
        Self::Llr(Llr::new(Arc::new(profile.for_depth(depth))))
    }

    /// The Bayesian detector for keys of `depth` layers.
    pub fn bayesian(detector: &Bayesian, depth: usize) -> Self {
        Self::Bayesian(Arc::new(detector.for_depth(depth)))
    }

    /// Which one it is.
    pub fn kind(&self) -> Method {
        match self {
            Self::Mean => Method::Mean,
            Self::WeightedMean(_) => Method::WeightedMean,
            Self::Llr(_) => Method::Llr,
            Self::Bayesian(_) => Method::Bayesian,
        }
    }

    /// The sum over tokens of the integer that the statistic gives each; 0 for those that only need the ones of each
    /// layer.
    pub fn sum(&self, scored: impl Iterator<Item = GBits>) -> i64 {
        match self {
            Self::Mean | Self::WeightedMean(_) => 0,
            Self::Llr(llr) => llr.sum(scored).1,
            Self::Bayesian(bayesian) => bayesian.sum(scored).1,
        }
    }

    /// The sum over tokens of the Bayesian detector's log likelihood ratio, which its posterior needs unrounded; 0 for
    /// the others.
    pub fn ln_ratio(&self, scored: impl Iterator<Item = GBits>) -> f64 {
        match self {
            Self::Bayesian(bayesian) => scored.map(|g| bayesian.model().ratio(g).ln()).sum(),
            _ => 0.0,
        }
    }

    /// Score and p-value of the scored tokens that `counts` has counted and [`sum`](Self::sum) has added up; `None` if
    /// there are none.
    pub fn evaluate(&self, counts: &LayerCounts, sum: i64) -> (Option<f64>, Option<PValue>) {
        match self {
            Self::Mean => (Mean.score(counts), Mean.p_value(counts)),
            Self::WeightedMean(mean) => (mean.score(counts), mean.p_value(counts)),
            Self::Llr(llr) => (llr.score(counts.tokens(), sum), llr.p_value(counts.tokens(), sum)),
            Self::Bayesian(bayesian) => {
                (bayesian.score(counts.tokens(), sum), bayesian.p_value(counts.tokens(), sum))
            }
        }
    }

    /// The scored tokens from which on a marked text is found at level `alpha` with probability 0.9, for keys of
    /// `depth` layers; `u64::MAX` if none is. Takes some milliseconds: keep the result.
    pub fn required_tokens(&self, alpha: f64, depth: usize) -> u64 {
        match self {
            Self::Mean => power::mean(alpha, depth),
            Self::WeightedMean(mean) => power::weighted_mean(alpha, mean.null()),
            Self::Llr(llr) => power::llr(alpha, llr.profile()),
            Self::Bayesian(bayesian) => bayesian.required_tokens(alpha),
        }
    }
}
