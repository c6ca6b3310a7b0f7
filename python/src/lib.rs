//! The compiled half of the Python package `wmdetect`.
//!
//! | file | what |
//! |---|---|
//! | `key`, `tokenizer` | keys, keyrings and tokenizers; pickles by path |
//! | `input`, `batch` | what the questions take: one text, and many |
//! | `detector` | the questions |
//! | `report`, `table` | the answers, one and many |
//! | `marker` | the mark, for samplers that Python runs |
//! | `json`, `errors` | JSON and exceptions |
//!
//! The other half is in `wmdetect/`: the names, their types, and the adapters for engines that write text.

mod batch;
mod detector;
mod errors;
mod input;
mod json;
mod key;
mod marker;
mod report;
mod table;
mod tokenizer;

/// The compiled part of wmdetect.
#[pyo3::pymodule]
mod _core {
    #[pymodule_export]
    use crate::detector::{_detector_again, Detector};
    #[pymodule_export]
    use crate::key::{_key_again, Keyring, PyKey};
    #[pymodule_export]
    use crate::marker::{Marker, Marking, MarkingBatch};
    #[pymodule_export]
    use crate::report::{
        Attribution, Bucket, CalibrationReport, Explanation, Failure, KeyReport, Rate, Report, Scores,
        SegmentsReport, SharedPassage, Span, TokenEvidence,
    };
    #[pymodule_export]
    use crate::table::{_table_again, ScoreTable};
    #[pymodule_export]
    use crate::tokenizer::Tokenizer;

    /// The version of the package and of the detector in it.
    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "Python's name")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
