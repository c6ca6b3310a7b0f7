//! Tests whether a model is a student of marked text.
//!
//! A model that has learned from texts with a key's mark prefers the tokens that the key prefers. A [`Document`] is read by
//! the student. At each position of an answer, the token that the student would write is its first choice. [`Pairs`] takes
//! the pairs of context and choice that count; each is an input of the key's hash that nothing before has used. [`judge`]
//! scores them under a key. [`report`] is the JSON. `docs/concepts/statistics.md` explains when p is exact, and why.

mod control;
mod corpus;
mod judge;
mod pairs;
pub mod report;

pub use control::{control, uniformity};
pub use corpus::{CorpusError, Document};
pub use judge::{Judged, judge};
pub use pairs::{Excluded, Independence, Pairs};
