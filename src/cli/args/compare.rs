//! Arguments of `wmgen compare`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ComputeArgs;

#[derive(Args, Debug)]
pub(crate) struct CompareArgs {
    /// The first model's answers as JSON lines: the output of `wmgen generate --json` or --receipt, or lines of {"prompt": "...",
    /// "response": "..."}, optionally with "tags" or "tag". `-` is standard input
    #[arg(value_name = "A")]
    pub a: PathBuf,
    /// The second model's answers. Without it, A holds the samples of `wmgen eval --compare`, and marked answers are compared with
    /// unmarked ones
    #[arg(value_name = "B")]
    pub b: Option<PathBuf>,
    /// The file that `wmgen generate --prompts` read: it has the prompts and the tags of receipts
    #[arg(long, value_name = "FILE")]
    pub prompts: Option<PathBuf>,
    /// Names of the two [default: the models' names if they differ, else the names of the files]
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    pub names: Option<Vec<String>>,
    /// What to do with answers to prompts that the other file does not have
    #[arg(long, value_enum, default_value_t = UnpairedArg::Fail)]
    pub unpaired: UnpairedArg,
    /// The judge: a model, or the address of a server with OpenAI's API, such as http://127.0.0.1:8000/v1. A model is a Hugging
    /// Face directory, a GGUF file, a hub id that the local hub cache holds, or `default`
    #[arg(long, value_name = "MODEL|URL")]
    pub judge: Option<String>,
    /// Name of the server's model [default: the only one that the server has]
    #[arg(long, value_name = "NAME", requires = "judge")]
    pub judge_model: Option<String>,
    /// Environment variable that holds the key for the server [default: no key is sent]
    #[arg(long, value_name = "VARIABLE", requires = "judge")]
    pub api_key_env: Option<String>,
    /// A file with the prompt for the judge; {prompt}, {response_a} and {response_b} stand for the example
    #[arg(long, value_name = "FILE", requires = "judge")]
    pub judge_prompt: Option<PathBuf>,
    /// How often to judge each example; half of the time B's answer comes first
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub repeats: u16,
    /// The judge's temperature
    #[arg(long, default_value_t = 0.7)]
    pub temperature: f64,
    /// Maximum number of tokens in a judge's reply
    #[arg(long, value_name = "TOKENS", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_tokens: u32,
    /// Seed of the orders and the draws
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Number of replies that are written at the same time
    #[arg(long, value_name = "REPLIES", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub batch: u16,
    /// Log the judge's replies to this file, one JSON line each; an interrupted run resumes from it. Without --judge, read the
    /// ratings from it
    #[arg(long, value_name = "FILE")]
    pub ratings: Option<PathBuf>,
    /// Look for the mark of this key in all answers
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The tokenizer of the models that wrote the answers: a tokenizer.json, a directory that holds one, or a GGUF file [default:
    /// that of the model that ships with wmgen]
    #[arg(long)]
    pub tokenizer: Option<PathBuf>,
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Write JSON for LLM Comparator to this file; LLM Comparator's page opens it
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write a page with everything to this file; it needs no network
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Replace the files of --output and --html even if they are not earlier ones
    #[arg(long)]
    pub force: bool,
    /// Print the report as a JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnpairedArg {
    /// Name them and stop
    Fail,
    /// Leave them out
    Skip,
}
