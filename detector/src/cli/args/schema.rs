//! Arguments of `schema`.

use clap::ValueEnum;

/// Outputs with a schema: those of the commands with --json, and the objects that several of them print.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum SchemaOf {
    /// A line of `wmdetect score --json`
    Score,
    /// A line of `wmdetect segments --json`
    Segments,
    /// A line of `wmdetect attribute --json`
    Attribute,
    /// The object of `wmdetect calibrate --json`
    Calibrate,
    /// The object of `wmdetect attack --json`
    Attack,
    /// A line of `wmdetect gvalues --json`
    Gvalues,
    /// The object of `wmdetect train --json`
    Train,
    /// The object of `wmdetect train --detector bayesian --json`
    TrainBayesian,
    /// The object of `wmdetect key show --json`
    KeyShow,
    /// A line of `wmdetect report verify --json`
    ReportVerify,
    /// The statement that `wmdetect score --sign` signs
    Statement,
    /// The object of `wmdetect cache show --json`
    CacheShow,
    /// The object of `wmdetect audit verify --json`
    AuditVerify,
    /// The line of an input that could not be read
    Error,
}
