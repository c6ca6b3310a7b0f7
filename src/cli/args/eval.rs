//! Arguments of `wmgen eval`.

use std::path::PathBuf;

use clap::Args;
use wmgen::sample::Sampling;

use super::ModelArgs;

#[derive(Args, Debug)]
#[allow(clippy::struct_excessive_bools)] // flags
pub(crate) struct EvalArgs {
    /// The task: mmlu, arc_challenge, gsm8k, mbpp, perplexity, free_text, or a task file. May be given several times
    #[arg(long, required = true, value_name = "NAME|FILE")]
    pub task: Vec<String>,
    /// The task's documents as JSON lines, in the data set's format, optionally compressed with gzip or zstd. Give one file
    /// for each --task, in the same order
    #[arg(long, required = true, value_name = "FILE")]
    pub data: Vec<PathBuf>,
    /// Examples for the shots, in the same format; the first ones are taken. Give one file for each --task, in the same order
    /// [default: other documents of --data]
    #[arg(long, value_name = "FILE")]
    pub shots_data: Vec<PathBuf>,
    /// Number of examples before each question; perplexity and free-text tasks have none [default: the task's]
    #[arg(long, value_name = "N")]
    pub shots: Option<usize>,
    /// Take only the first documents of each task
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    #[command(flatten)]
    pub model: ModelArgs,
    /// Mark the answers with this key. May be given several times with --compare
    #[arg(long, value_name = "KEY")]
    pub watermark: Vec<PathBuf>,
    /// Answer with and without the mark, and test whether that makes a difference
    #[arg(long, requires = "watermark")]
    pub compare: bool,
    /// Compare under this many keys, which are derived from the key of --watermark
    #[arg(long, value_name = "N", requires = "compare", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub keys: Option<u32>,
    /// Compare under this many seeds for each key
    #[arg(long, value_name = "N", default_value_t = 1, requires = "compare", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub seeds: u32,
    /// A difference of the means below this counts as none. For nll and tokens it is a share of the unmarked mean
    #[arg(long, value_name = "DIFFERENCE", default_value_t = 0.02, requires = "compare")]
    pub margin: f64,
    /// Seed of the draws
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Temperature, as for generate [default: 0 for unmarked answers, else 1]
    #[arg(long)]
    pub temperature: Option<f64>,
    /// Top-k, as for generate
    #[arg(long, default_value_t = Sampling::default().top_k)]
    pub top_k: usize,
    /// Top-p, as for generate
    #[arg(long, default_value_t = Sampling::default().top_p)]
    pub top_p: f64,
    /// Maximum number of tokens in an answer [default: the task's]
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_tokens: Option<u64>,
    /// Maximum number of documents that share the passes over the weights
    #[arg(long, value_name = "DOCUMENTS", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: u16,
    /// Write answers with rounded activations, as generate does: faster, but an answer may differ now and then
    #[arg(long)]
    pub rounded: bool,
    /// Run the programs that the model writes, each in a process with limits. They can still read your files: use a container
    #[arg(long)]
    pub run_code: bool,
    /// Interpreter that runs the programs
    #[arg(long, value_name = "PROGRAM", default_value = "python3", requires = "run_code")]
    pub interpreter: PathBuf,
    /// Time limit of a program
    #[arg(long, value_name = "SECONDS", default_value_t = 3, requires = "run_code", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub code_timeout: u64,
    /// Memory limit of a program
    #[arg(long, value_name = "MIB", default_value_t = 1024, requires = "run_code", value_parser = clap::value_parser!(u64).range(16..=16_777_216))]
    pub code_memory: u64,
    /// Log what was read and written to this file, one JSON line per document. An interrupted run resumes from it
    #[arg(long, value_name = "FILE")]
    pub samples: Option<PathBuf>,
    /// Print the report as a JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}
