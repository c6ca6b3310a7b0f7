//! Arguments of the commands that read texts with a model.

use std::path::PathBuf;

use clap::Args;
use wmdetect::shell::{TextArgs, rate};
use wmgen::sample::Sampling;

use super::ModelArgs;

#[derive(Args, Debug)]
#[allow(clippy::struct_excessive_bools)] // flags
pub(crate) struct VerifyArgs {
    /// The texts; `-` is standard input. With --receipt and no FILE, the tokens of the receipt are read
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Look for the mark of this key
    #[arg(long, required_unless_present = "keyring", value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Try every key file in this directory. The model reads a text once for all keys, and p is corrected for their
    /// number. Memory grows with keys times tokens
    #[arg(long, value_name = "DIR", conflicts_with_all = ["key", "monte_carlo"])]
    pub keyring: Option<PathBuf>,
    #[command(flatten)]
    pub model: ModelArgs,
    /// The prompt that the texts answer, if it is known; without it p is valid, but larger
    #[arg(long, conflicts_with_all = ["prompt_file", "receipt"], allow_hyphen_values = true)]
    pub prompt: Option<String>,
    /// A file with the prompt
    #[arg(long, conflicts_with = "receipt", value_name = "FILE")]
    pub prompt_file: Option<PathBuf>,
    /// Put the prompt into Gemma's chat template
    #[arg(long, conflicts_with = "receipt")]
    pub chat: bool,
    /// Take the prompt and the sampling settings from this output of `wmgen generate --json` or --receipt
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
    /// Temperature that the texts were sampled at; if not given, several are mixed
    #[arg(long, conflicts_with = "receipt")]
    pub temperature: Option<f64>,
    /// Number of most likely tokens that the texts were drawn among; 0 is all
    #[arg(long, default_value_t = Sampling::default().top_k, conflicts_with = "receipt")]
    pub top_k: usize,
    /// Total probability of the most likely tokens that the texts were drawn among
    #[arg(long, default_value_t = Sampling::default().top_p, conflicts_with = "receipt")]
    pub top_p: f64,
    /// The files hold JSON arrays of token ids, one per file or one per line
    #[arg(long)]
    pub tokens: bool,
    /// Each line of the files is a JSON object with a text
    #[arg(long, requires = "files")]
    pub jsonl: bool,
    /// Field of a JSON line that holds the text, or with --tokens the token ids [default: text, or tokens]
    #[arg(long, requires = "jsonl", value_name = "NAME")]
    pub field: Option<String>,
    /// Field of a JSON line that names it in the output
    #[arg(long, requires = "jsonl", default_value = "id", value_name = "NAME")]
    pub id_field: String,
    #[command(flatten)]
    pub text: TextArgs,
    /// Share of unmarked texts that may be called watermarked
    #[arg(long, default_value_t = wmdetect::detect::DEFAULT_FPR, value_name = "RATE", value_parser = rate)]
    pub fpr: f64,
    /// Judge the text under this many random keys as well, for a sharper p
    #[arg(long, value_name = "KEYS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub monte_carlo: Option<u32>,
    /// Stop reading once p is at most --fpr
    #[arg(long, conflicts_with = "monte_carlo")]
    pub stop_early: bool,
    /// Assume that nobody edited the texts: the test is sharper, but a few edits defeat it
    #[arg(long)]
    pub no_edits: bool,
    /// Print one JSON object per text
    #[arg(long)]
    pub json: bool,
    /// Exit with 0 if a text is watermarked, and with 3 if none is
    #[arg(long)]
    pub exit_code: bool,
}

#[derive(Args, Debug)]
pub(crate) struct PerplexityArgs {
    /// The text; `-` is standard input
    pub file: PathBuf,
    #[command(flatten)]
    pub model: ModelArgs,
    /// The file holds a JSON array of token ids
    #[arg(long)]
    pub tokens: bool,
    /// Number of tokens that the model reads at a time; a longer text is read in overlapping windows [default: the
    /// model's context]
    #[arg(long, value_name = "TOKENS")]
    pub window: Option<usize>,
    /// Number of tokens by which the window moves; a smaller number gives each token more context and takes longer
    /// [default: half a window]
    #[arg(long, value_name = "TOKENS")]
    pub stride: Option<usize>,
    /// Print one JSON object, with the log-probability of each token
    #[arg(long)]
    pub json: bool,
}
