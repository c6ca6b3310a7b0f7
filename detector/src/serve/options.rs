//! The options of the server, which are arguments of `wmdetect serve`.

use std::path::PathBuf;

use clap::Args;
use wmdetect::detect::DEFAULT_FPR;
use wmdetect::service::LogFormat;
use wmdetect::shell::rate;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Where to listen. Other than this machine's loopback addresses need --credentials
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub(super) host: String,
    /// The port; 0 is any that is free
    #[arg(long, default_value_t = 8081, value_name = "PORT")]
    pub(super) port: u16,
    /// Who may ask, and what they are told: a TOML file of [[credential]] tables with name, token_sha256, role
    /// (operator or expert) and queries_per_day [default: everybody on this machine is an operator]
    #[arg(long, value_name = "FILE")]
    pub(super) credentials: Option<PathBuf>,
    /// Write a line for each judged text to this file: who asked, a hash of the text, the verdict and p
    #[arg(long, value_name = "FILE")]
    pub(super) audit: Option<PathBuf>,
    /// Sign verdicts with this key where a request asks for it; `wmdetect report keygen` makes one
    #[arg(long, value_name = "KEY")]
    pub(super) sign: Option<PathBuf>,
    /// Answer people without a token too, with a verdict and nothing more
    #[arg(long, requires = "credentials")]
    pub(super) public: bool,
    /// The share of unmarked texts that may be called watermarked, for operators
    #[arg(long, default_value_t = DEFAULT_FPR, value_name = "RATE", value_parser = rate)]
    pub(super) fpr: f64,
    /// The same for experts, who could else find by trying which texts pass for marked
    #[arg(long, default_value_t = 1e-5, value_name = "RATE", value_parser = rate)]
    pub(super) expert_fpr: f64,
    /// The same for people without a token
    #[arg(long, default_value_t = 1e-6, value_name = "RATE", value_parser = rate)]
    pub(super) public_fpr: f64,
    /// How many fresh texts a client without a token may ask about in a day
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) public_queries: u32,
    /// A proxy stands in front: a client is the last address in the header X-Forwarded-For
    #[arg(long)]
    pub(super) behind_proxy: bool,
    /// Requests that may wait or be judged at a time; more are refused
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) queue: u32,
    /// Seconds that open requests have when the server is told to stop
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub(super) drain: u64,
    /// The log of requests on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Json, value_name = "FORMAT")]
    pub(super) log: LogFormat,
    /// Who runs this, for /.well-known/ai-watermark.json
    #[arg(long, value_name = "NAME")]
    pub(super) operator: Option<String>,
    /// Where to ask for access, for the same
    #[arg(long, value_name = "URL")]
    pub(super) contact: Option<String>,
}
