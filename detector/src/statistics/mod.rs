//! Statistics that see only the text: each turns the values of the scored tokens into a score and a p-value.
//!
//! Null hypothesis: the text does not depend on the key. Then the g-bits of distinct (context, token) pairs are
//! independent fair coins, whatever the text is. So the null law of a statistic depends only on the number of scored
//! tokens, their [shares](crate::scheme::Share) and the depth. The text alone settles which positions are scored and how
//! much each counts. A position is scored if its context is complete and new, which makes the pairs distinct.
//!
//! A [`Statistic`] gives each scored token one integer. Their sum decides about a text, and its null law is exact. A
//! [`Decider`] is the choice of a statistic before the key is known.
//!
//! | file | what |
//! |---|---|
//! | `statistic` | the trait: sum, exact tail, score, required length |
//! | `sample`, `scored` | the values that a statistic sums; how many count, and how much |
//! | `decider`, `method` | the choice of a statistic; its name |
//! | `mean` | share of ones |
//! | `weighted_mean` | share of ones, early layers weigh more |
//! | [`llr`] | likelihood ratio against fair bits, from a profile of marked text |
//! | [`bayesian`] | posterior of a trained detector |
//! | `gumbel` | sum of exponentials, for uniform numbers |
//! | `green_list` | green tokens, for green lists |
//! | `marked` | a model of marked text for `gumbel` and `green_list` |
//! | `null` | the null distributions that they share |
//! | [`power`] | how long a text must be |
//! | `attribution` | which of many keys |

pub(crate) mod attribution;
pub mod bayesian;
mod decider;
mod green_list;
mod gumbel;
pub mod llr;
mod marked;
mod mean;
mod method;
pub(crate) mod null;
mod p_value;
pub mod power;
mod sample;
mod scored;
mod statistic;
#[cfg(test)]
mod tests;
mod weighted_mean;

pub use bayesian::Bayesian;
pub use decider::Decider;
pub use green_list::GreenList;
pub use gumbel::Gumbel;
pub use llr::{Llr, Profile};
pub(crate) use marked::LikelihoodRatio;
pub use mean::Mean;
pub use method::{Method, UnknownMethod};
pub use p_value::{PKind, PValue};
pub use sample::{Sample, UnsupportedEvidence};
pub use scored::Scored;
pub use statistic::{Evaluated, Posterior, Statistic};
pub use weighted_mean::WeightedMean;

/// Parts of the statistics, for studies of them. Not part of the API: they may change in any version.
#[doc(hidden)]
pub mod internals {
    pub use super::llr::lattice::lattice;
}
