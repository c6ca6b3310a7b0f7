//! The arguments of the commands around the server: `serve`, `audit` and `report`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
#[cfg(feature = "serve")]
use wmdetect::shell::TextArgs;

#[cfg(feature = "serve")]
use super::{KeysArgs, MethodArgs, TokenizerArgs};

#[cfg(feature = "serve")]
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub keys: KeysArgs,
    #[command(flatten)]
    pub tokenizer: TokenizerArgs,
    #[command(flatten)]
    pub text: TextArgs,
    #[command(flatten)]
    pub method: MethodArgs,
    /// File of known boilerplate that does not count, as in `wmdetect score`
    #[arg(long, value_name = "FILE")]
    pub ignore: Option<PathBuf>,
    #[command(flatten)]
    pub server: crate::serve::Options,
}

/// `wmdetect score --json --sign KEY` signs verdicts.
#[derive(Subcommand, Debug)]
pub(crate) enum ReportCommand {
    /// Make a signing key, and print the public key that checks its signatures
    Keygen {
        /// File to write: a JWK for Ed25519, which only its owner may read
        path: PathBuf,
        /// Replace an existing file
        #[arg(long)]
        force: bool,
    },
    /// Print the public key as a JWK
    Key {
        /// File that `wmdetect report keygen` wrote
        path: PathBuf,
        /// Print a JWK set, for publishing
        #[arg(long)]
        jwks: bool,
    },
    /// Check signed verdicts. Exit codes: 0 all are valid, 1 at least one is not, 2 nothing was checked
    Verify(VerifyArgs),
}

#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// Signature, or the JSON that has it: one object, or one per line; - is standard input
    #[arg(value_name = "FILE")]
    pub path: PathBuf,
    /// Text that the verdict should be about
    #[arg(long, value_name = "FILE")]
    pub text: Option<PathBuf>,
    /// Public key of the signer, as a JWK or a JWK set, from a source that you trust
    #[arg(long, value_name = "FILE")]
    pub public_key: Option<PathBuf>,
    /// Print one JSON object per signature
    #[arg(long)]
    pub json: bool,
}

/// The log is a chain: each line has the SHA-256 of the line before it.
#[derive(Subcommand, Debug)]
pub(crate) enum AuditCommand {
    /// Print how many records a log has and their period, or the first line that does not fit
    Verify {
        /// Log file
        file: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}
