//! Finds SynthID-style watermarks in text, and marks the output of any sampler.
//!
//! A key marks a text while a language model writes it. This crate says whether a text carries the mark of a key, from
//! the text alone: no model is needed, and a page of text takes about a millisecond.
//!
//! ```
//! # #[cfg(feature = "text")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use wmdetect::{Detector, Key, Tokenizer, Verdict};
//!
//! let key = Key::from_bytes(&[7; 32], "an example")?; // yours: Key::read("k.bin")?
//! let detector = Detector::new(key, Tokenizer::of_default_model())?; // yours: Tokenizer::open("gemma-2-2b-it")?
//! let report = detector.score(&std::fs::read_to_string("examples/marked.txt")?)?;
//!
//! assert_eq!(report.verdict, Verdict::Watermarked);
//! assert!(report.p_value.unwrap() < 1e-60);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "text"))]
//! # fn main() {}
//! ```
//!
//! # What p means
//!
//! [`Report::p_value`] is the probability that a text which does not depend on the key scores as high or higher. A text
//! is [`Watermarked`](Verdict::Watermarked) if p is at most the detector's false positive rate. That rate is 0.001
//! unless [`fpr`](detect::DetectorBuilder::fpr) sets another. p is not the probability that the text is unmarked. Nor
//! is 1 − p the probability that it is marked. [`TooShort`](Verdict::TooShort) means that more than one in ten marked
//! texts of that length would be missed, if they are marked as [`power`](statistics::power) supposes.
//! [`Report::p_kind`] says whether p is exact, an upper bound, or approximate.
//!
//! # Questions
//!
//! Each takes an [`Input`]: text, the bytes of a file or token ids, alone or [after a prompt](Input::after_prompt).
//! `score` and `attribute` also take a reader, whose text may be longer than the memory.
//!
//! | method | question | answer |
//! |---|---|---|
//! | [`Detector::score`] | does the text carry the mark, and how sure is that? | [`Report`] |
//! | [`Detector::segments`] | which passages carry it? | [`SegmentsReport`](report::SegmentsReport) |
//! | [`Detector::attribute`] | which keys of a ring marked it? | [`Attribution`](report::Attribution) |
//! | [`Detector::explain`] | what does each token add? | [`Explanation`](report::Explanation) |
//!
//! The first three answers implement serde's `Serialize` and `Deserialize`. [`render`] makes pages and lines for people
//! of all four.
//!
//! ```
//! # #[cfg(feature = "text")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::fs::File;
//! use wmdetect::report::WarningCode;
//! use wmdetect::{Detector, Input, Key, Keyring, Method, Preset, Tokenizer};
//!
//! let keys = Keyring::new(vec![Key::from_bytes(&[7; 32], "ours")?, Key::generate(Preset::Balanced)?])?; // or Keyring::open("keys")?
//! let detector = Detector::builder(keys)
//!     .tokenizer(Tokenizer::of_default_model())
//!     .method(Method::Llr)
//!     .fpr(1e-6)
//!     .build()?;
//!
//! let report = detector.score(Input::reader(File::open("examples/marked.txt")?))?;
//! assert_eq!(report.keys_tried, Some(2)); // p is corrected for both
//!
//! // Another rate for one request: the keys and the tokenizer are shared, nothing is derived again.
//! let strict = detector.with_fpr(1e-9)?;
//!
//! // Bytes need not be UTF-8.
//! let report = strict.score(Input::bytes(b"caf\xe9"))?;
//! assert!(report.warnings.iter().any(|warning| warning.code == WarningCode::InvalidUtf8));
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "text"))]
//! # fn main() {}
//! ```
//!
//! # Marking
//!
//! [`scheme::Watermark`] marks the output of any sampler: it changes the probabilities of the candidates right before
//! the draw. A model is not part of this crate.
//!
//! # Threads
//!
//! A [`Detector`] is `Send` and `Sync`. Make one and share it, or clone it, which is cheap.
//!
//! A question is answered on the caller's thread. The exception is a law that does not ship with the crate, such as
//! that of [`Method::Llr`] for keys of fewer than 30 layers. It is computed once, when a question first needs it. That
//! takes up to a few seconds. With the feature `threads` it uses all processors.
//!
//! # Errors
//!
//! Building a detector returns a [`DetectError`] if a key belongs to a tokenizer other than the detector's, or if the
//! rate is not between 0 and 1. It also does if the statistic cannot judge a key's scheme, or if the ignore file cannot
//! be used. A question returns one if the input cannot be tokenized or read, or if the question does not take this kind
//! of input. A text that is empty, too short or not UTF-8 is not an error. Its verdict is
//! [`TooShort`](Verdict::TooShort), or its report has a [`Warning`](report::Warning), whose [code](report::WarningCode)
//! is for programs.
//!
//! # Features
//!
//! | feature | brings |
//! |---|---|
//! | none | keys, g-values, marking, all statistics, calibration; token ids in, reports out |
//! | `text` | [`Tokenizer`], normalisation, GGUF files; text, bytes and readers as input |
//! | `sign` | [`signed`]: verdicts with an Ed25519 signature |
//! | `threads` | calibration, fitting and enumerated laws on all processors |
//! | `schema` | JSON schemas of the reports |
//! | `cli` (default) | the program `wmdetect`; includes `text`, `sign` and `threads` |
//! | `serve` (default) | its server |
//!
//! A library that scores text needs `text` alone:
//!
//! ```toml
//! wmdetect = { git = "https://github.com/wmgen/wmgen", default-features = false, features = ["text"] }
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]

/// Compiles the code of the README.
#[cfg(all(doctest, feature = "text"))]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod atomic_file;
pub mod attack;
pub mod cache;
pub mod calibration;
mod changes;
#[doc(hidden)]
pub mod counted;
pub mod detect;
#[cfg(feature = "text")]
pub mod gguf;
pub mod hex;
pub mod id_list;
pub mod ignore;
pub mod key_directory;
pub mod model_ratio;
mod one_line;
pub mod pool;
pub mod render;
pub mod report;
pub mod scheme;
pub mod segments;
#[cfg(feature = "service")]
#[doc(hidden)]
pub mod service;
#[cfg(feature = "shell")]
#[doc(hidden)]
pub mod shell;
#[cfg(feature = "sign")]
pub mod signed;
#[doc(hidden)]
pub mod split_mix;
pub mod statistics;
#[cfg(feature = "text")]
pub mod text;
pub mod timestamp;
pub mod verdict;
mod warning;
#[cfg(test)]
mod work;

pub use cache::Cache;
pub use detect::{DetectError, Detector, Input, Keyring};
pub use key_directory::KeyDirectory;
pub use report::Report;
pub use scheme::{Key, Preset};
pub use statistics::Method;
#[cfg(feature = "text")]
pub use text::Tokenizer;
pub use verdict::Verdict;
