//! Measures a model on tasks, by the conventions of lm-evaluation-harness 0.4.13.
//!
//! The data flows as follows. A [`Task`] is a small JSON file, and [`Document`]s are lines of a data set. [`prompt`] makes an
//! [`Item`] of each: what the model reads, and what is expected of it. [`likelihood`] reads, and [`Answers`] writes. [`judge`]
//! turns the results into named scores, and [`metrics`] turns the scores of all documents into metrics. [`compare`] tells how
//! different two runs are. [`report`] is the JSON.

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
