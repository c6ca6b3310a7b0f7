//! Compares two models' answers to the same prompts, side by side.
//!
//! The data path is the file list. A [`Row`] is a line of one model's answers, and [`pair`] puts the rows of two models together as
//! [`Example`]s. [`judge`] says what a judge reads, in which order, and what its [`Verdict`] is worth. [`summary`] makes win rates
//! and biases of all ratings, [`rationales`] groups the reasons, and [`comparator`] is the JSON of
//! [LLM Comparator](https://github.com/PAIR-code/llm-comparator), whose page opens it. [`report`] is ours.

pub mod comparator;
mod error;
pub mod judge;
mod pair;
pub mod rationales;
pub mod report;
mod row;
pub mod summary;
mod swap;
mod verdict;

pub use error::CompareError;
pub use pair::{Example, Pairs, pair};
pub use row::{Response, Row};
pub use verdict::{Rating, THRESHOLD, VERDICTS, Verdict, Winner};
