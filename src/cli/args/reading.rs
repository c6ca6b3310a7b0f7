//! Arguments of the commands that read texts with a model.

use std::path::PathBuf;

use clap::Args;
use wmdetect::shell::rate;
use wmgen::sample::Sampling;

use super::ModelArgs;

#[derive(Args, Debug)]
#[allow(clippy::struct_excessive_bools)] // flags
pub(crate) struct VerifyArgs {
    /// The texts; `-` is standard input. With --receipt and no FILE, the receipt's own tokens
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Look for the mark of this key
    #[arg(long, required_unless_present = "keyring")]
    pub key: Option<PathBuf>,
    /// Try every key file in this directory; the model reads a text once for all, and p is corrected for their number.
    /// Memory grows with keys times tokens
    #[arg(long, value_name = "DIR", conflicts_with_all = ["key", "monte_carlo"])]
    pub keyring: Option<PathBuf>,
    #[command(flatten)]
    pub model: ModelArgs,
    /// The prompt that the texts answer, if it is known; p is valid without it, but larger
    #[arg(long, conflicts_with_all = ["prompt_file", "receipt"], allow_hyphen_values = true)]
    pub prompt: Option<String>,
    /// A file with the prompt
    #[arg(long, conflicts_with = "receipt")]
    pub prompt_file: Option<PathBuf>,
    /// Put the prompt into Gemma's chat template
    #[arg(long, conflicts_with = "receipt")]
    pub chat: bool,
    /// What `wmgen generate --json` or --receipt wrote: prompt and sampling settings are taken from it
    #[arg(long)]
    pub receipt: Option<PathBuf>,
    /// The temperature that the texts were sampled at; several are mixed if not given
    #[arg(long, conflicts_with = "receipt")]
    pub temperature: Option<f64>,
    /// They were drawn among this many most likely tokens; 0 is all
    #[arg(long, default_value_t = Sampling::default().top_k, conflicts_with = "receipt")]
    pub top_k: usize,
    /// They were drawn among the most likely tokens with this much probability together
    #[arg(long, default_value_t = Sampling::default().top_p, conflicts_with = "receipt")]
    pub top_p: f64,
    /// The files hold JSON arrays of token ids, one a file or one a line
    #[arg(long)]
    pub tokens: bool,
    /// Each line of the files is a JSON object with a text
    #[arg(long, requires = "files")]
    pub jsonl: bool,
    /// The field of a JSON line that holds the text, or with --tokens the token ids [default: text, or tokens]
    #[arg(long, requires = "jsonl", value_name = "NAME")]
    pub field: Option<String>,
    /// The field of a JSON line that names it in the output
    #[arg(long, requires = "jsonl", default_value = "id", value_name = "NAME")]
    pub id_field: String,
    /// The share of unmarked texts that may be called watermarked
    #[arg(long, default_value_t = wmdetect::detect::DEFAULT_FPR, value_name = "RATE", value_parser = rate)]
    pub fpr: f64,
    /// Judge the text under this many random keys as well, for a sharper p
    #[arg(long, value_name = "KEYS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub monte_carlo: Option<u32>,
    /// Read no further once p is at most --fpr
    #[arg(long, conflicts_with = "monte_carlo")]
    pub stop_early: bool,
    /// The texts are as they were generated: sharper without edits, lost with a few
    #[arg(long)]
    pub no_edits: bool,
    /// One JSON object a text
    #[arg(long)]
    pub json: bool,
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
    /// Tokens that the model reads at a time; a longer text is read in overlapping windows [default: the model's context]
    #[arg(long, value_name = "TOKENS")]
    pub window: Option<usize>,
    /// Tokens by which the window moves on; fewer give each token more context and take longer [default: half a window]
    #[arg(long, value_name = "TOKENS")]
    pub stride: Option<usize>,
    /// As one JSON object, with the log-probability of each token
    #[arg(long)]
    pub json: bool,
}
