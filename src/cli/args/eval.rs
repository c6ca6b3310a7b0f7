//! What `wmgen eval` takes.

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
    /// The task's documents as JSON lines, in the data set's format; gzip and zstd are read too. Once for each --task, in
    /// their order
    #[arg(long, required = true, value_name = "FILE")]
    pub data: Vec<PathBuf>,
    /// Examples for the shots, in the same format, of which the first are taken. Once for each --task, in their order
    /// [default: other documents of --data]
    #[arg(long, value_name = "FILE")]
    pub shots_data: Vec<PathBuf>,
    /// Examples before each question, which texts to read or to write on have none of [default: the task's]
    #[arg(long, value_name = "N")]
    pub shots: Option<usize>,
    /// Take only the first documents of each task
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    #[command(flatten)]
    pub model: ModelArgs,
    /// Mark the answers with this key. With --compare it may be given several times
    #[arg(long, value_name = "KEY")]
    pub watermark: Vec<PathBuf>,
    /// Answer marked and unmarked, and test whether that makes a difference
    #[arg(long, requires = "watermark")]
    pub compare: bool,
    /// Compare under so many keys, which are derived from that of --watermark
    #[arg(long, value_name = "N", requires = "compare", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub keys: Option<u32>,
    /// Compare under so many seeds for each key
    #[arg(long, value_name = "N", default_value_t = 1, requires = "compare", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub seeds: u32,
    /// A difference of the means below this counts as none. Of nll and tokens it is a share of the unmarked mean
    #[arg(long, value_name = "DIFFERENCE", default_value_t = 0.02, requires = "compare")]
    pub margin: f64,
    /// What draws are seeded with
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// As for generate [default: 0 for unmarked answers, else 1]
    #[arg(long)]
    pub temperature: Option<f64>,
    /// As for generate
    #[arg(long, default_value_t = Sampling::default().top_k)]
    pub top_k: usize,
    /// As for generate
    #[arg(long, default_value_t = Sampling::default().top_p)]
    pub top_p: f64,
    /// Length of an answer at most [default: the task's]
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_tokens: Option<u64>,
    /// Documents that share the passes over the weights
    #[arg(long, value_name = "DOCUMENTS", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: u16,
    /// Write answers with rounded activations, as generate does: faster, and now and then another answer
    #[arg(long)]
    pub rounded: bool,
    /// Run the programs that the model writes, each in a process with limits. They can still read your files: use a container
    #[arg(long)]
    pub run_code: bool,
    /// What runs a program
    #[arg(long, value_name = "PROGRAM", default_value = "python3", requires = "run_code")]
    pub interpreter: PathBuf,
    /// How long a program may run
    #[arg(long, value_name = "SECONDS", default_value_t = 3, requires = "run_code", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub code_timeout: u64,
    /// Memory that a program may have
    #[arg(long, value_name = "MIB", default_value_t = 1024, requires = "run_code", value_parser = clap::value_parser!(u64).range(16..=16_777_216))]
    pub code_memory: u64,
    /// Log what was read and written to this file, a JSON line a document. A run that was interrupted goes on from there
    #[arg(long, value_name = "FILE")]
    pub samples: Option<PathBuf>,
    /// The report as a JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}
