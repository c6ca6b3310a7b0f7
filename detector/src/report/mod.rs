//! The JSON contract: one object a text. `docs/json.md` describes each field.

mod attribution;
mod calibration;
mod changes;
mod error_row;
mod explanation;
mod g_values;
mod score;
mod segments;

pub use attribution::{Attribution, KeyReport};
pub use calibration::{Bucket, CalibrationReport, Rate, Shared, SharedPassage};
pub use changes::Changes;
pub use error_row::ErrorRow;
pub use explanation::{Explanation, LEVELS, Piece, TokenEvidence};
pub use g_values::GValuesRow;
pub use score::{Report, Scores};
pub use segments::{SegmentsReport, Span};

/// Version of every object below; it rises when a field is removed or changes its meaning, not when one is added.
pub const SCHEMA_VERSION: u32 = 1;
