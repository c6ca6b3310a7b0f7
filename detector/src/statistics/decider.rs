//! The choice of a statistic, before the key is known.

use std::sync::Arc;

use super::bayesian::Bayesian;
use super::green_list::GreenList;
use super::gumbel::Gumbel;
use super::llr::{Llr, Profile};
use super::mean::Mean;
use super::method::Method;
use super::sample::UnsupportedEvidence;
use super::statistic::Statistic;
use super::weighted_mean::WeightedMean;
use crate::scheme::{EvidenceKind, MAX_DEPTH};

/// A method with what it has learnt of marked text: everything that a decision needs, apart from a key.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Decider {
    /// The usual statistic of the key's scheme: the weighted mean for tournaments, the Gumbel statistic for uniform
    /// numbers, the number of green tokens for green lists.
    #[default]
    Usual,
    /// The share of ones among the g-values.
    Mean,
    /// The share of ones among the g-values; early layers weigh more.
    WeightedMean,
    /// The likelihood ratio under this profile.
    Llr(Arc<Profile>),
    /// This Bayesian detector.
    Bayesian(Arc<Bayesian>),
    /// The sum of exponentials of uniform numbers.
    Gumbel,
    /// The number of green tokens.
    GreenList,
}

impl Decider {
    /// Returns the method for keys whose texts have values of this kind.
    pub fn method(&self, kind: EvidenceKind) -> Method {
        match self {
            Self::Usual => match kind {
                EvidenceKind::Layers { .. } => Method::WeightedMean,
                EvidenceKind::Green { .. } => Method::GreenList,
                EvidenceKind::Uniform(_) => Method::Gumbel,
            },
            Self::Mean => Method::Mean,
            Self::WeightedMean => Method::WeightedMean,
            Self::Llr(_) => Method::Llr,
            Self::Bayesian(_) => Method::Bayesian,
            Self::Gumbel => Method::Gumbel,
            Self::GreenList => Method::GreenList,
        }
    }

    /// Returns the statistic for keys of a scheme whose tokens have values of this kind. A profile or a Bayesian
    /// detector of more layers than the key uses only the first layers. Their law is enumerated when it is first
    /// needed. That takes some seconds at 29 layers, and half as long with each layer less.
    ///
    /// # Errors
    /// Returns an error if the method cannot sum such values.
    pub fn statistic(&self, kind: EvidenceKind) -> Result<Arc<dyn Statistic>, UnsupportedEvidence> {
        let unsupported =
            |expected: &str| Err(UnsupportedEvidence::new(self.method(kind), expected.to_owned(), kind));
        Ok(match (self, kind) {
            (Self::Mean, EvidenceKind::Layers { depth }) => Arc::new(Mean::new(depth)),
            (Self::WeightedMean | Self::Usual, EvidenceKind::Layers { depth }) => {
                Arc::new(WeightedMean::new(depth))
            }
            (Self::Llr(profile), EvidenceKind::Layers { depth }) => {
                Arc::new(Llr::new(Arc::new(profile.for_depth(depth))))
            }
            (Self::Bayesian(bayesian), EvidenceKind::Layers { depth }) => Arc::new(bayesian.for_depth(depth)),
            (Self::Gumbel | Self::Usual, EvidenceKind::Uniform(law)) => Arc::new(Gumbel::new(law)),
            (Self::GreenList | Self::Usual, EvidenceKind::Green { rate }) => Arc::new(GreenList::new(rate)),
            (Self::Gumbel, _) => return unsupported("uniform numbers"),
            (Self::GreenList, _) => return unsupported("green bits"),
            _ => return unsupported(&format!("g-bits of 1 to {MAX_DEPTH} layers")),
        })
    }
}

/// Takes the profile or the weights that ship with the crate, if the method needs any.
impl From<Method> for Decider {
    fn from(method: Method) -> Self {
        match method {
            Method::Mean => Self::Mean,
            Method::WeightedMean => Self::WeightedMean,
            Method::Llr => Profile::pooled().clone().into(),
            Method::Bayesian => Bayesian::builtin().clone().into(),
            Method::Gumbel => Self::Gumbel,
            Method::GreenList => Self::GreenList,
        }
    }
}

impl From<Profile> for Decider {
    fn from(profile: Profile) -> Self {
        Self::Llr(Arc::new(profile))
    }
}

impl From<Bayesian> for Decider {
    fn from(bayesian: Bayesian) -> Self {
        Self::Bayesian(Arc::new(bayesian))
    }
}
