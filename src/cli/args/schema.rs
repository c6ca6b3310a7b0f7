//! Arguments of `schema`.

use clap::ValueEnum;

/// What has a schema: the commands with --json, and the files that commands write.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum SchemaOf {
    /// A line of `wmgen generate --json`, and of its receipts
    Generate,
    /// A line of `wmgen verify --json`
    Verify,
    /// The object of `wmgen perplexity --json`
    Perplexity,
    /// The object of `wmgen eval --json`
    Eval,
    /// The object of `wmgen compare --json`
    Compare,
    /// The object of `wmgen radioactive --json`
    Radioactive,
    /// The object of `wmgen inspect --json`
    Inspect,
    /// The object of `wmgen bench --json`
    Bench,
    /// The object of `wmgen key show --json`
    KeyShow,
    /// The file training.json of `wmgen train` and `wmgen distill`
    Training,
    /// A line of the receipts of `wmgen serve`
    #[cfg(feature = "serve")]
    ServeReceipts,
    /// The line of a prompt or a text that failed
    Error,
}
