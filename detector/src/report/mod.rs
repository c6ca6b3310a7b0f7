//! Reports on texts, as data. The programs print each report as one JSON object in a [`Row`]. `docs/reference/json.md`
//! describes every field.

mod attack;
mod attribution;
mod calibration;
mod explanation;
mod g_values;
mod row;
mod score;
mod segments;

pub use attack::{AttackReport, AttackRow, Found, Summary};
pub use attribution::{Attribution, KeyReport};
pub use calibration::{Bucket, CalibrationReport, Rate, Shared, SharedPassage};
pub use explanation::{Explanation, LEVELS, Piece, TokenEvidence};
pub use g_values::GValues;
pub use row::{Failure, Row};
pub use score::{Report, Scores};
pub use segments::{SegmentsReport, Span};

pub use crate::changes::Changes;
pub use crate::warning::{Warning, WarningCode};

/// Version of the JSON objects. It rises when a field is removed or changes its meaning, not when one is added. So a
/// reader must accept fields that it does not know.
pub const SCHEMA_VERSION: u32 = 1;
