//! Measures a model on tasks, by the conventions of lm-evaluation-harness 0.4.13.
//!
//! The data path is the file list. A [`Task`] is a small JSON file; [`Document`]s are lines of a data set. [`prompt`] makes an
//! [`Item`] of each: what the model reads, and what it is held to. [`likelihood`] reads, [`Answers`] writes. [`judge`] makes
//! named scores of what came out, [`metrics`] makes metrics of the scores of all documents, and [`compare`] tells how far two
//! runs are apart. [`report`] is the JSON.

mod answers;
pub mod compare;
mod error;
pub mod extract;
pub mod judge;
pub mod likelihood;
pub mod metrics;
pub mod prompt;
pub mod report;
mod task;
mod template;

pub use answers::{Answer, Answers, Drawing};
pub use error::EvalError;
pub use prompt::{Document, Expected, Item, Shots};
pub use task::{BUILT_IN, Kind, Metric, Select, Task};
pub use template::Template;
