//! What the commands around the server take: `serve`, `audit` and `report`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[cfg(feature = "serve")]
use super::{KeysArgs, MethodArgs, TextArgs, TokenizerArgs};

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
    /// Known boilerplate that does not count, as in `wmdetect score`
    #[arg(long, value_name = "FILE")]
    pub ignore: Option<PathBuf>,
    #[command(flatten)]
    pub server: crate::serve::Options,
}

/// `wmdetect score --json --sign KEY` signs verdicts.
#[derive(Subcommand, Debug)]
pub(crate) enum ReportCommand {
    /// Make a key that signs, and print the public key for those who check
    Keygen {
        /// The file to write: a JWK for Ed25519, which only its owner may read
        path: PathBuf,
        /// Replace the file if there is one
        #[arg(long)]
        force: bool,
    },
    /// Print the public key, as a JWK
    Key {
        /// The file that `wmdetect report keygen` wrote
        path: PathBuf,
        /// As a JWK set, for publishing
        #[arg(long)]
        jwks: bool,
    },
    /// Check signed verdicts. Exit codes: 0 all are valid, 1 one is not, 2 nothing was checked
    Verify(VerifyArgs),
}

#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// A signature, or the JSON that has it: an object, or one a line; - is standard input
    #[arg(value_name = "FILE")]
    pub path: PathBuf,
    /// The text that the verdict should be about
    #[arg(long, value_name = "FILE")]
    pub text: Option<PathBuf>,
    /// The public key of who signs, as a JWK or a JWK set, from a source that you trust
    #[arg(long, value_name = "FILE")]
    pub public_key: Option<PathBuf>,
    /// One JSON object a signature
    #[arg(long)]
    pub json: bool,
}

/// The log is a chain: each line has the SHA-256 of the line before it.
#[derive(Subcommand, Debug)]
pub(crate) enum AuditCommand {
    /// Say how many records a log has and from when to when, or which line is the first that does not fit
    Verify {
        /// The log
        file: PathBuf,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
}
