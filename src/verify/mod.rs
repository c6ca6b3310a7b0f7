//! Looks for a key's mark in a text with the help of the model that may have written it.
//!
//! A [`Reader`] gives the distributions that the model would have drawn each token from;
//! [`wmdetect::model_ratio`] makes a likelihood ratio of them and the key; [`VerifyReport`] is what both say of
//! one text.

mod reader;
mod report;

pub use reader::{Reader, TEMPERATURES, VerifyError};
pub use report::{SamplingSource, VerifyDetector, VerifyModel, VerifyReport, VerifySampling, VerifySpan};
