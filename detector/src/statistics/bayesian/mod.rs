//! Google's trained Bayesian detector, as Hugging Face publishes it, with a valid p-value.
//!
//! The model says how likely each g-bit of a marked token is, given the earlier layers' bits of the same token:
//!
//! P(g_l | g_<l, marked) = 1/2 (1 ± q_l/2), + for g_l = 1, − for g_l = 0, with
//! q_l = sigmoid(beta_l + Σ_{j<l} delta_lj g_j).
//!
//! Here q_l is the probability that the two competitors of a match in layer l are different tokens. An unmarked bit has
//! probability 1/2, so a token's likelihood ratio is LR = Π_l (1 ± q_l/2). The posterior of a text is
//! sigmoid(ln(prior / (1 − prior)) + Σ ln LR) over its scored tokens.
//!
//! Given the earlier layers, the factor of layer l is 1 + q/2 or 1 − q/2 with probability 1/2 each, so its mean is 1.
//! By the tower rule LR has mean 1 under the null hypothesis, whatever the weights are. The null law of LR is that of a
//! uniform pattern of `depth` bits, the same for every token. [`Bayesian`] counts the patterns once, which makes the
//! p-value exact for any weights.
//!
//! Source: Dathathri et al., Nature 634 (2024), Methods, "Bayesian score"; `BayesianDetectorModel` of `transformers`.

mod error;
mod fit;
mod format;
mod limits;
mod model;
mod null;
mod scored;
mod sigmoid;

pub use error::BayesianError;
pub use fit::{FitError, FitOptions, FitSummary, fit};
pub use limits::MAX_DEPTH;
pub use model::{BayesianModel, Provenance};
pub use null::EXACT_LAYERS;
pub use scored::Bayesian;
