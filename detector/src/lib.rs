//! Finds SynthID-style watermarks in text.
//!
//! The way from a key file to a verdict: a [`scheme::Key`] gives a keyed function, text becomes token ids, ids become
//! g-values, a statistic counts them, and its p-value decides. [`Detector`] goes that way in one call:
//!
//! ```no_run
//! # #[cfg(feature = "text")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use wmdetect::{Detector, scheme::Key, text::Tokenizer};
//!
//! let detector = Detector::new(Key::read("k.bin")?, Tokenizer::open("tokenizer.json")?)?;
//! let report = detector.score("some text")?;
//! assert_eq!(report.verdict.name(), "too_short");
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "text"))]
//! # fn main() {}
//! ```

pub mod atomic_file;
pub mod calibration;
pub mod detect;
#[cfg(feature = "text")]
pub mod gguf;
pub mod hex;
pub mod id_list;
pub mod ignore;
pub mod model_ratio;
pub mod pool;
pub mod render;
pub mod report;
pub mod scheme;
pub mod segments;
#[cfg(feature = "shell")]
#[doc(hidden)]
pub mod shell;
#[doc(hidden)]
pub mod split_mix;
pub mod statistics;
#[cfg(feature = "text")]
pub mod text;
pub mod verdict;
mod warning;
#[cfg(test)]
mod work;

pub use detect::{DetectError, Detector, Input, Keyring};
pub use report::Report;
pub use scheme::Key;
pub use statistics::Method;
#[cfg(feature = "text")]
pub use text::Tokenizer;
pub use verdict::Verdict;
