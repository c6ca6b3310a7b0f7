//! Options of the server, which are arguments of `wmgen serve`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use wmdetect::service::LogFormat;

use crate::draft_args::DraftArgs;

#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Mark all answers with this key, or with the active key of this directory. Everybody who can connect is answered
    #[arg(long, required_unless_present_any = ["tenants", "no_watermark"], conflicts_with_all = ["tenants", "no_watermark"])]
    pub(super) key: Option<PathBuf>,
    /// TOML file that says who may ask, under which key and which policy, with a [[tenant]] for each
    #[arg(long, value_name = "FILE", conflicts_with = "no_watermark")]
    pub(super) tenants: Option<PathBuf>,
    /// Mark no answer
    #[arg(long)]
    pub(super) no_watermark: bool,
    /// Address to listen on; without --tenants, only an address of this machine is accepted
    #[arg(long, default_value = "127.0.0.1")]
    pub(super) host: String,
    /// Port to listen on; 0 takes any free port
    #[arg(long, default_value_t = 8080)]
    pub(super) port: u16,
    /// Maximum number of texts that are written at a time; those of one request always are
    #[arg(long, default_value_t = 8, value_name = "TEXTS", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) batch: u16,
    /// Maximum number of texts that wait; a request beyond them gets status 429
    #[arg(long, default_value_t = 64, value_name = "TEXTS")]
    pub(super) queue: u16,
    /// Memory of all caches, in bytes
    #[arg(long, default_value_t = 16 << 30, value_name = "BYTES")]
    pub(super) cache_bytes: usize,
    /// Memory for prompts that are kept for later ones that begin alike, in bytes; a part of --cache-bytes
    #[arg(long, default_value_t = 1 << 30, value_name = "BYTES")]
    pub(super) prefix_bytes: usize,
    /// Number of prompt tokens that are read between two tokens of the answers
    #[arg(long, default_value = "64", value_name = "TOKENS")]
    pub(super) prefill_slice: NonZeroUsize,
    #[command(flatten)]
    pub(crate) drafts: DraftArgs,
    /// Maximum number of tokens in a prompt; the model's context if not given
    #[arg(long, value_name = "TOKENS")]
    pub(super) max_prompt: Option<usize>,
    /// Maximum number of tokens in an answer, whatever a request asks for
    #[arg(long, default_value_t = 4096, value_name = "TOKENS")]
    pub(super) max_tokens: usize,
    /// Maximum number of bytes in a request
    #[arg(long, default_value_t = 1 << 20, value_name = "BYTES")]
    pub(super) max_body: usize,
    /// Maximum number of connections at a time
    #[arg(long, default_value_t = 16_384)]
    pub(super) connections: usize,
    /// Seconds that a request may take to arrive, a connection may be idle, and a client may read nothing of its answer
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(super) timeout: u64,
    /// Seconds that open answers have to finish after SIGTERM
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub(super) drain: u64,
    /// Append a line for each text to this file. It says whose text it is and which key marked how many tokens, but not
    /// the text
    #[arg(long, value_name = "FILE")]
    pub(super) receipts: Option<PathBuf>,
    /// Also keep the prompt and the text in the receipts, so that `wmgen verify` can read them
    #[arg(long, requires = "receipts")]
    pub(super) receipts_with_text: bool,
    /// Format of the log on standard error: one line per request, never a text or a token
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    pub(super) log: LogFormat,
}
