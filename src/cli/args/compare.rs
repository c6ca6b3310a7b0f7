//! What `wmgen compare` takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ComputeArgs;

#[derive(Args, Debug)]
pub(crate) struct CompareArgs {
    /// The first model's answers as JSON lines: what `wmgen generate --json` or --receipt wrote, or lines of
    /// {"prompt": "...", "response": "..."} with "tags" or "tag" if there are any. `-` is standard input
    #[arg(value_name = "A")]
    pub a: PathBuf,
    /// The second model's answers. Without it, A holds the samples of `wmgen eval --compare`, and marked answers are compared with
    /// unmarked ones
    #[arg(value_name = "B")]
    pub b: Option<PathBuf>,
    /// What `wmgen generate --prompts` read: the prompts of receipts, and their tags
    #[arg(long, value_name = "FILE")]
    pub prompts: Option<PathBuf>,
    /// What to call the two [default: the model's names if they differ, else the files']
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    pub names: Option<Vec<String>>,
    /// What to do with answers to prompts that the other file does not have
    #[arg(long, value_enum, default_value_t = UnpairedArg::Fail)]
    pub unpaired: UnpairedArg,
    /// Who judges: a model (a Hugging Face directory, a GGUF file, a hub id that the local hub cache holds, or `default`), or the
    /// address of a server with OpenAI's interface, such as http://127.0.0.1:8000/v1
    #[arg(long, value_name = "MODEL|URL")]
    pub judge: Option<String>,
    /// The server's model [default: the one that it has]
    #[arg(long, value_name = "NAME", requires = "judge")]
    pub judge_model: Option<String>,
    /// The environment variable that holds the key for the server [default: none is sent]
    #[arg(long, value_name = "VARIABLE", requires = "judge")]
    pub api_key_env: Option<String>,
    /// A file with what the judge is asked; {prompt}, {response_a} and {response_b} stand for the example
    #[arg(long, value_name = "FILE", requires = "judge")]
    pub judge_prompt: Option<PathBuf>,
    /// How often each example is judged; half of the times with B's answer first
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub repeats: u16,
    /// The judge's temperature
    #[arg(long, default_value_t = 0.7)]
    pub temperature: f64,
    /// Length of a judge's reply at most
    #[arg(long, value_name = "TOKENS", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_tokens: u32,
    /// What orders and draws are seeded with
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Replies that are written at the same time
    #[arg(long, value_name = "REPLIES", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub batch: u16,
    /// Log the judge's replies to this file, a JSON line each; a run that was interrupted goes on from there. Without --judge, read
    /// the ratings from it
    #[arg(long, value_name = "FILE")]
    pub ratings: Option<PathBuf>,
    /// Look for the mark of this key in all answers
    #[arg(long)]
    pub key: Option<PathBuf>,
    /// The tokenizer of the models that wrote the answers: a tokenizer.json, a directory that holds one, or a GGUF file [default:
    /// that of the model that ships with wmgen]
    #[arg(long)]
    pub tokenizer: Option<PathBuf>,
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Write LLM Comparator's JSON to this file, which its page opens
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write a page with everything to this file; it needs no network
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Replace the files of --output and --html even if they are not earlier ones
    #[arg(long)]
    pub force: bool,
    /// The report as a JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnpairedArg {
    /// Name them and end
    Fail,
    /// Leave them out
    Skip,
}
