//! The options of the server, which are arguments of `wmdetect serve`.

use std::path::PathBuf;

use clap::Args;
use wmdetect::detect::DEFAULT_FPR;
use wmdetect::service::LogFormat;
use wmdetect::shell::rate;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Address to listen on; addresses other than loopback need --credentials
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub(super) host: String,
    /// Port to listen on; 0 picks a free one
    #[arg(long, default_value_t = 8081, value_name = "PORT")]
    pub(super) port: u16,
    /// TOML file that says who may ask and what they are told: [[credential]] tables with name, token_sha256, role
    /// (operator or expert) and queries_per_day [default: everybody on this machine is an operator]
    #[arg(long, value_name = "FILE")]
    pub(super) credentials: Option<PathBuf>,
    /// Write a line for each judged text to this file: who asked, a hash of the text, the verdict and p
    #[arg(long, value_name = "FILE")]
    pub(super) audit: Option<PathBuf>,
    /// Sign verdicts with this key if a request asks for it; `wmdetect report keygen` makes one
    #[arg(long, value_name = "KEY")]
    pub(super) sign: Option<PathBuf>,
    /// Also answer people without a token, with only a verdict
    #[arg(long, requires = "credentials")]
    pub(super) public: bool,
    /// Share of unmarked texts that may be called watermarked, for operators
    #[arg(long, default_value_t = DEFAULT_FPR, value_name = "RATE", value_parser = rate)]
    pub(super) fpr: f64,
    /// The same share for experts, who could otherwise find by trial which texts pass for marked
    #[arg(long, default_value_t = 1e-5, value_name = "RATE", value_parser = rate)]
    pub(super) expert_fpr: f64,
    /// The same share for people without a token
    #[arg(long, default_value_t = 1e-6, value_name = "RATE", value_parser = rate)]
    pub(super) public_fpr: f64,
    /// Number of fresh texts that a client without a token may ask about in a day
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) public_queries: u32,
    /// Expect a proxy before the server: the client is the last address in the header X-Forwarded-For
    #[arg(long)]
    pub(super) behind_proxy: bool,
    /// Number of requests that may wait or be judged at a time; more are refused
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) queue: u32,
    /// Seconds that open requests get when the server is told to stop
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub(super) drain: u64,
    /// Format of the request log on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Json, value_name = "FORMAT")]
    pub(super) log: LogFormat,
    /// Name of the operator, for /.well-known/ai-watermark.json
    #[arg(long, value_name = "NAME")]
    pub(super) operator: Option<String>,
    /// URL to ask for access, for the same file
    #[arg(long, value_name = "URL")]
    pub(super) contact: Option<String>,
}
