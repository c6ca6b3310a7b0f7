//! The choice of a statistic, before the key is known.

use std::sync::Arc;

use super::bayesian::Bayesian;
use super::llr::{Llr, Profile};
use super::mean::Mean;
use super::method::Method;
use super::sample::UnsupportedEvidence;
use super::statistic::Statistic;
use super::weighted_mean::{self, WeightedMean};
use crate::scheme::EvidenceKind;

/// A method with what it has learnt of marked text: all that deciding needs, apart from a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Decider {
    /// The share of ones among the g-values.
    Mean,
    /// The share of ones among the g-values; early layers weigh more.
    WeightedMean,
    /// The likelihood ratio under this profile.
    Llr(Arc<Profile>),
    /// This Bayesian detector.
    Bayesian(Arc<Bayesian>),
}

impl Decider {
    /// Returns its method.
    pub fn method(&self) -> Method {
        match self {
            Self::Mean => Method::Mean,
            Self::WeightedMean => Method::WeightedMean,
            Self::Llr(_) => Method::Llr,
            Self::Bayesian(_) => Method::Bayesian,
        }
    }

    /// The layers of values of this kind; every method sums layers.
    pub(crate) fn depth(&self, kind: EvidenceKind) -> Result<usize, UnsupportedEvidence> {
        match kind {
            EvidenceKind::Layers { depth } => Ok(depth),
            _ => Err(UnsupportedEvidence::new(self.method(), &(1..=weighted_mean::MAX_DEPTH), kind)),
        }
    }

    /// Returns the statistic for keys of a scheme whose tokens have values of this kind. A profile or a Bayesian
    /// detector of more layers than the key looks at the first ones; their law is enumerated when it is first needed,
    /// which takes some seconds at 29 layers and half of that with each layer less.
    ///
    /// # Errors
    /// Returns an error if the method cannot sum such values.
    pub fn statistic(&self, kind: EvidenceKind) -> Result<Arc<dyn Statistic>, UnsupportedEvidence> {
        let depth = self.depth(kind)?;
        Ok(match self {
            Self::Mean => Arc::new(Mean::new(depth)),
            Self::WeightedMean => Arc::new(WeightedMean::new(depth)),
            Self::Llr(profile) => Arc::new(Llr::new(Arc::new(profile.for_depth(depth)))),
            Self::Bayesian(bayesian) => Arc::new(bayesian.for_depth(depth)),
        })
    }
}

/// With the profile or the weights that ship with the crate, where the method needs any.
impl From<Method> for Decider {
    fn from(method: Method) -> Self {
        match method {
            Method::Mean => Self::Mean,
            Method::WeightedMean => Self::WeightedMean,
            Method::Llr => Profile::pooled().clone().into(),
            Method::Bayesian => Bayesian::builtin().clone().into(),
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

impl Default for Decider {
    fn default() -> Self {
        Method::default().into()
    }
}
