//! All arguments of `wmgen`. Help, completions and man pages are generated from them.

mod compare;
mod eval;
mod radioactive;
mod reading;
mod schema;
mod training;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use wmdetect::scheme::Preset;
use wmdetect::shell::{KeyCommand, SchemaArgs, rate};
use wmgen::sample::Sampling;

use crate::draft_args::{DraftArg, DraftArgs};

pub(crate) use compare::{CompareArgs, UnpairedArg};
pub(crate) use eval::EvalArgs;
pub(crate) use radioactive::RadioactiveArgs;
pub(crate) use reading::{PerplexityArgs, VerifyArgs};
pub(crate) use schema::SchemaOf;
pub(crate) use training::{DistillArgs, FormatArg, ModeArg, QuantizeArgs, RunArgs, TargetsArg, TrainArgs};

/// Writes text with Gemma 2 or 3 and marks it invisibly; `wmdetect` finds the mark again
#[derive(Parser, Debug)]
#[command(
    name = "wmgen",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done; 1 some input failed; 2 wrong usage, key or model; 3 no watermark (verify \
                  with --exit-code); 130 generate, eval, compare or radioactive was interrupted."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Show the mark at work: continue a prompt with and without it, and print the detector's verdicts
    Demo(DemoArgs),
    /// Make a new watermark key
    Keygen(KeygenArgs),
    /// Show, bind, derive, import and export keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Write text with a model, marked with a key
    Generate(GenerateArgs),
    /// Serve marked text over HTTP to clients of OpenAI's API
    #[cfg(feature = "serve")]
    Serve(ServeArgs),
    /// Look for a key's mark with the model's help; a sentence or two are enough
    Verify(VerifyArgs),
    /// Measure the perplexity of a text under a model
    Perplexity(PerplexityArgs),
    /// Measure how good a model is at tasks, with and without the mark
    Eval(EvalArgs),
    /// Compare two models' answers: win rates from a judge, and a page that shows both
    Compare(CompareArgs),
    /// Test whether a model has learned from text with a key's mark
    Radioactive(RadioactiveArgs),
    /// Show what a model is: architecture, layers, caps, formats, size
    Inspect(InspectArgs),
    /// Train a small Gemma 2 from plain text, or any model from examples of answers
    Train(TrainArgs),
    /// Teach a model what another one would write
    Distill(DistillArgs),
    /// Write a model as GGUF, rounded to fewer bits, with its tokenizer inside
    Quantize(QuantizeArgs),
    /// Measure how fast a model runs here, with and without the mark
    Bench(BenchArgs),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the JSON schema of what a command prints with --json
    Schema(SchemaArgs<SchemaOf>),
    /// Write man pages into a directory
    Man {
        /// The directory; it must exist
        dir: PathBuf,
    },
}

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Mark with this key instead of a new one
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Prompt that both texts continue
    #[arg(long, default_value = "The old lighthouse", allow_hyphen_values = true)]
    pub prompt: String,
    #[command(flatten)]
    pub model: ModelArgs,
    /// Maximum number of tokens in each text
    #[arg(long, default_value_t = 200)]
    pub max_tokens: usize,
    /// Seed of the draws; chosen by the system if not given
    #[arg(long)]
    pub seed: Option<u64>,
    /// Also write a page with the same content to FILE
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Replace the file of --html even if it is not an earlier page
    #[arg(long, requires = "html")]
    pub force: bool,
    /// Colour the words by their evidence
    #[arg(long, value_enum, default_value_t = ColorArg::Auto)]
    pub color: ColorArg,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColorArg {
    /// Only on a terminal, unless NO_COLOR is set
    Auto,
    /// Always, also into a pipe
    Always,
    /// Never
    Never,
}

#[derive(Args, Debug)]
pub(crate) struct KeygenArgs {
    /// File to write the key to; it is created with mode 0600
    pub path: PathBuf,
    /// What the mark is best at. `robust` is found most often after edits. `balanced` survives edits too, and reveals less to
    /// anyone who wants to learn and forge the mark. `secret` reveals least and survives least
    #[arg(long, default_value_t)]
    pub preset: Preset,
    /// Number of channels. A channel is a function of the key; each text takes one at random [default: 4 for robust, 16 for
    /// balanced]
    #[arg(long, value_name = "R")]
    pub channels: Option<usize>,
    /// Number of tournament layers [default: 30]
    #[arg(long)]
    pub depth: Option<usize>,
    /// Length of the longest context plus one [default: 5]
    #[arg(long)]
    pub ngram_len: Option<usize>,
    /// Bind the key to this tokenizer: a tokenizer.json, a directory that holds one, a GGUF file, or
    /// `default`, that of the model that ships with wmgen
    #[arg(long, conflicts_with = "model")]
    pub tokenizer: Option<PathBuf>,
    /// Bind the key to the tokenizer of this model; `default` is the one that ships with wmgen
    #[arg(long)]
    pub model: Option<String>,
    /// Overwrite an existing key; the old key is lost for good
    #[arg(long)]
    pub force: bool,
}

/// Arguments that say what a model runs on.
#[derive(Args, Clone, Debug)]
pub(crate) struct ComputeArgs {
    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceArg::Cpu)]
    pub device: DeviceArg,
    /// Type of the activations; the CPU computes in f32 only
    #[arg(long, value_enum)]
    pub dtype: Option<DtypeArg>,
    /// Number of threads; all cores if not given
    #[arg(long)]
    pub threads: Option<usize>,
}

#[derive(Args, Debug)]
pub(crate) struct ModelArgs {
    /// The model: a Hugging Face directory, a GGUF file, a hub id that the local hub cache holds, or `default`, the small
    /// one that ships with wmgen [default: `default`]
    #[arg(long)]
    pub model: Option<String>,
    /// A tokenizer to use instead of the model's: a tokenizer.json, a directory that holds one, a GGUF file, or `default`
    #[arg(long)]
    pub tokenizer: Option<PathBuf>,
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Leave out Gemma 2's soft caps, for comparison; this makes it another model
    #[arg(long)]
    pub no_softcap: bool,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum DeviceArg {
    /// The CPU
    Cpu,
    /// The first NVIDIA GPU (build with --features cuda)
    Cuda,
    /// The Apple GPU (build with --features metal)
    Metal,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum DtypeArg {
    /// 32-bit floats
    F32,
    /// 16-bit brain floats
    Bf16,
    /// 16-bit floats
    F16,
}

#[derive(Args, Debug)]
#[allow(clippy::struct_excessive_bools)] // flags
pub(crate) struct GenerateArgs {
    /// Mark the text with this key
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Write unmarked text
    #[arg(long, conflicts_with = "key")]
    pub no_watermark: bool,
    #[command(flatten)]
    pub model: ModelArgs,
    /// The prompt; without one, the text starts from nothing
    #[arg(long, group = "source", allow_hyphen_values = true)]
    pub prompt: Option<String>,
    /// Read the prompt from standard input
    #[arg(value_name = "-", value_parser = standard_input, group = "source")]
    pub stdin: Option<String>,
    /// A file with the prompt; `-` is standard input
    #[arg(long, group = "source", value_name = "FILE")]
    pub prompt_file: Option<PathBuf>,
    /// A file of JSON lines, each {"prompt": "..."} and optionally an "id": one text (or -n texts) for each line. Each text
    /// is printed under a heading, `==> ID <==` or `==> FILE:LINE <==`; in JSON it has the prompt's id, line and index
    #[arg(long, group = "source", value_name = "FILE")]
    pub prompts: Option<PathBuf>,
    /// Number of texts for each prompt; if several, each is printed under a heading, `==> text 1 of N <==`
    #[arg(short, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub n: u32,
    /// Maximum number of texts that are decoded together; the texts of one prompt always are
    #[arg(long, default_value_t = 8, value_name = "TEXTS", value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: u16,
    #[command(flatten)]
    pub drafts: DraftArgs,
    /// Put the prompt into Gemma's chat template
    #[arg(long)]
    pub chat: bool,
    /// Maximum number of tokens in a text
    #[arg(long, default_value_t = 256)]
    pub max_tokens: usize,
    /// Sampling temperature: 1 is the model's own distribution, less is more predictable
    #[arg(long, default_value_t = Sampling::default().temperature)]
    pub temperature: f64,
    /// Draw among this many most likely tokens; 0 is all
    #[arg(long, default_value_t = Sampling::default().top_k)]
    pub top_k: usize,
    /// Draw among the most likely tokens whose probabilities add up to this
    #[arg(long, default_value_t = Sampling::default().top_p)]
    pub top_p: f64,
    /// Make tokens that have already occurred less likely; 1 does nothing
    #[arg(long, default_value_t = Sampling::default().repeat_penalty)]
    pub repeat_penalty: f32,
    /// Make a token less likely each time it occurs in the text; from -2 to 2
    #[arg(long, default_value_t = Sampling::default().frequency_penalty, allow_negative_numbers = true)]
    pub frequency_penalty: f64,
    /// Make tokens that occur in the text less likely, however often they occur; from -2 to 2
    #[arg(long, default_value_t = Sampling::default().presence_penalty, allow_negative_numbers = true)]
    pub presence_penalty: f64,
    /// Draw among tokens with at least this share of the most likely token's probability; 0 is all
    #[arg(long, default_value_t = Sampling::default().min_p)]
    pub min_p: f64,
    /// End a text before this string; may be given several times
    #[arg(long, allow_hyphen_values = true)]
    pub stop: Vec<String>,
    /// Seed of the draws, counted up for each further prompt; chosen by the system if not given. --json reports it
    #[arg(long)]
    pub seed: Option<u64>,
    /// Print one JSON object per text instead of the text
    #[arg(long)]
    pub json: bool,
    /// Also write the JSON objects to this file, in place of the receipts that it holds
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
    /// Replace the file of --receipt even if it does not hold earlier receipts
    #[arg(long, requires = "receipt")]
    pub force: bool,
}

#[cfg(feature = "serve")]
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Name of the model for clients; the model's own name if not given
    #[arg(long, value_name = "NAME")]
    pub model_name: Option<String>,
    #[command(flatten)]
    pub server: crate::serve::Options,
}

#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    /// A Hugging Face directory, a GGUF file, a hub id that the local hub cache holds, or `default`, the model that ships
    /// with wmgen [default: `default`]
    pub model: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// Use random weights in the shape of this model; no weights are needed
    #[arg(long, value_enum, required_unless_present = "model", conflicts_with = "model")]
    pub shape: Option<ShapeArg>,
    /// How the random weights are stored
    #[arg(long, value_enum, default_value_t = FormatArg::Q4_0, conflicts_with = "model")]
    pub quant: FormatArg,
    /// Seed of the random weights
    #[arg(long, default_value_t = 1, conflicts_with = "model")]
    pub seed: u64,
    /// Write the random weights to this GGUF file, for other programs, and run from the file
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    pub write_gguf: Option<PathBuf>,
    /// Replace the file of --write-gguf if it exists
    #[arg(long, requires = "write_gguf")]
    pub force: bool,
    /// Use this model instead: a Hugging Face directory, a GGUF file, or a hub id that the local hub cache holds
    #[arg(long)]
    pub model: Option<String>,
    /// Number of tokens in a prefill
    #[arg(long, default_value_t = 512, value_name = "TOKENS")]
    pub prefill: usize,
    /// Number of tokens in a decode run
    #[arg(long, default_value_t = 64, value_name = "TOKENS")]
    pub decode: usize,
    /// Number of positions in the KV cache before each run; separate several with commas
    #[arg(long, value_delimiter = ',', default_value = "0", value_name = "TOKENS")]
    pub depth: Vec<usize>,
    /// Number of sequences that decode together; separate several with commas
    #[arg(long, value_delimiter = ',', default_value = "1", value_name = "SEQUENCES")]
    pub batch: Vec<usize>,
    /// Number of runs of each kind, after one that does not count
    #[arg(long, default_value_t = 5)]
    pub repetitions: usize,
    /// Temperature, as for generate
    #[arg(long, default_value_t = 1.0)]
    pub temperature: f64,
    /// Top-k, as for generate; 0 marks the whole vocabulary
    #[arg(long, default_value_t = 100)]
    pub top_k: usize,
    /// Top-p, as for generate
    #[arg(long, default_value_t = 1.0)]
    pub top_p: f64,
    /// Also measure decoding with drafts, on the same texts as without, with the mark and without. Values as for generate
    #[arg(long, value_name = "prompt|MODEL")]
    pub draft: Option<DraftArg>,
    /// Also measure guesses that are each right with this probability; separate several with commas
    #[arg(long, value_delimiter = ',', value_name = "P", value_parser = share)]
    pub acceptance: Vec<f64>,
    /// Cost of such a guess, as a share of a step without drafts
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", requires = "acceptance", value_parser = share)]
    pub guess_cost: f64,
    /// Maximum number of tokens to guess ahead
    #[arg(long, default_value_t = 8, value_name = "TOKENS", value_parser = clap::value_parser!(u8).range(1..=32))]
    pub draft_tokens: u8,
    /// Prompts for drafts, as JSON lines, each {"prompt": "..."}; random tokens if not given
    #[arg(long, value_name = "FILE")]
    pub prompts: Option<PathBuf>,
    /// Number of threads; all cores if not given
    #[arg(long)]
    pub threads: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Parses a number from 0 to 1, or a percentage.
fn share(text: &str) -> Result<f64, String> {
    match rate(text)? {
        share if (0.0..=1.0).contains(&share) => Ok(share),
        other => Err(format!("expected a share from 0 to 1, found {other}")),
    }
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum ShapeArg {
    /// 2.6 billion parameters
    #[value(name = "gemma2-2b")]
    Gemma2_2b,
    /// 9.2 billion parameters
    #[value(name = "gemma2-9b")]
    Gemma2_9b,
    /// Two layers, for a quick look
    Tiny,
}

/// Accepts the word for standard input, and explains where a prompt belongs if it is another word.
fn standard_input(word: &str) -> Result<String, &'static str> {
    if word == "-" { Ok(word.into()) } else { Err("expected -, for standard input; --prompt takes a prompt") }
}
