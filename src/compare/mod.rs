//! Compares two models' answers to the same prompts, side by side.
//!
//! The data flows as follows. A [`Row`] is a line of one model's answers, and [`pair`] pairs the rows of two models as
//! [`Example`]s. [`judge`] says what a judge reads and in which order, and what its [`Verdict`] is worth. [`summary`] computes win
//! rates and biases from all ratings, and [`rationales`] groups the reasons. [`comparator`] is the JSON of
//! [LLM Comparator](https://github.com/PAIR-code/llm-comparator), which its page can open. [`report`] is wmgen's JSON.

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
