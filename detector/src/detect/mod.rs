//! Turns a key, a tokenizer and a text into a report.
//!
//! A [`Detector`] is made once, by [`Detector::builder`] or [`Detector::new`], which takes about a millisecond. It can
//! be shared between threads, and its clones share the keys and the tokenizer. Every question takes an [`Input`].
//!
//! | file | what |
//! |---|---|
//! | `keyring`, `builder`, `keys`, `detector` | from key files to a detector |
//! | `input` | what the questions take |
//! | `reading`, `tally` | one text under every key; computed once |
//! | `score`, `segments`, `attribute`, `explain`, `g_values` | the questions |
//! | `stream` | texts that are too long to be held in memory |

mod attribute;
mod builder;
#[cfg(test)]
mod channel_tests;
mod detector;
mod error;
mod explain;
mod g_values;
mod input;
mod keyring;
mod keys;
mod reading;
mod score;
mod segments;
#[cfg(feature = "text")]
mod stream;
mod tally;
#[cfg(test)]
mod tests;

pub use builder::DetectorBuilder;
pub use detector::Detector;
pub use error::DetectError;
#[cfg(feature = "text")]
pub use input::StreamOptions;
pub use input::{Input, Prompt};
pub use keyring::Keyring;

pub use crate::verdict::{DEFAULT_FPR, FprError, LEAST_FPR};
