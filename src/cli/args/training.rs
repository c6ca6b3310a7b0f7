//! Arguments of the commands that make models.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::DeviceArg;

#[derive(Args, Debug)]
pub(crate) struct TrainArgs {
    /// Plain text, one paragraph a line; `<|endofdoc|>` on a separate line, or else blank lines, between documents
    #[arg(required_unless_present = "examples", value_name = "FILE")]
    pub text: Vec<PathBuf>,
    /// Learn answers instead: JSON lines in Gemma's chat template, each with "messages", or with "prompt" and "completion"
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    pub examples: Option<PathBuf>,
    /// Continue from this model: a Hugging Face directory, a GGUF file, a hub id, or `default`, the model that ships with
    /// wmgen
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["config", "vocab", "hidden", "layers", "heads", "kv_heads", "head_dim", "intermediate", "window"])]
    pub from: Option<String>,
    /// Directory for the model, the run and its curve; it must be new or empty, or hold a run if --resume is given
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// A tokenizer.json, a directory with one, or `default`; without it, a vocabulary is learned from the text
    #[arg(long)]
    pub tokenizer: Option<PathBuf>,
    /// Number of entries in the vocabulary that is learned
    #[arg(long, default_value_t = 6144)]
    pub vocab: usize,
    /// A config.json of the model, instead of the sizes below
    #[arg(long, conflicts_with_all = ["hidden", "layers", "heads", "kv_heads", "head_dim", "intermediate", "window"], value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Width of the residual stream
    #[arg(long, default_value_t = 256)]
    pub hidden: usize,
    /// Number of layers; local and global ones alternate
    #[arg(long, default_value_t = 8)]
    pub layers: usize,
    /// Number of query heads
    #[arg(long, default_value_t = 4)]
    pub heads: usize,
    /// Number of key and value heads
    #[arg(long, default_value_t = 2)]
    pub kv_heads: usize,
    /// Width of a head
    #[arg(long, default_value_t = 64)]
    pub head_dim: usize,
    /// Width of the feed-forward layer
    #[arg(long, default_value_t = 768)]
    pub intermediate: usize,
    /// Number of positions that a local layer sees
    #[arg(long, default_value_t = 128)]
    pub window: usize,
    /// Number of steps in the whole run; the learning rate falls towards the last
    #[arg(long)]
    pub steps: u64,
    #[command(flatten)]
    pub run: RunArgs,
}

/// Arguments of every training run.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// Resume the run that is in the directory, if there is one
    #[arg(long)]
    pub resume: bool,
    /// Number of tokens in a row, which is also the number of positions of the model
    #[arg(long, default_value_t = 512)]
    pub context: usize,
    /// Number of rows in a step
    #[arg(long, default_value_t = 16)]
    pub batch: usize,
    /// Number of rows that one thread works on at a time
    #[arg(long, default_value_t = 4)]
    pub micro_batch: usize,
    /// Largest learning rate
    #[arg(long, default_value_t = 3e-3)]
    pub learning_rate: f64,
    /// Final learning rate, as a share of the largest
    #[arg(long, default_value_t = 0.1)]
    pub final_rate: f64,
    /// Number of steps over which the learning rate rises to its largest value
    #[arg(long, default_value_t = 100)]
    pub warmup: u64,
    /// Weight decay of the matrices
    #[arg(long, default_value_t = 0.1)]
    pub weight_decay: f32,
    /// Decay rate of the mean square of the gradients
    #[arg(long, default_value_t = 0.95)]
    pub beta2: f32,
    /// Maximum norm of the gradient; a longer one is scaled down to it
    #[arg(long, default_value_t = 1.0)]
    pub clip: f32,
    /// Standard deviation of the initial parameters
    #[arg(long, default_value_t = 0.02)]
    pub init_std: f32,
    /// Seed of the initial parameters and of the order of the text
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Number of steps between two measurements of the held-out loss
    #[arg(long, default_value_t = 100)]
    pub eval_every: u64,
    /// Number of held-out rows in a measurement; the last measurement takes all
    #[arg(long, default_value_t = 64)]
    pub eval_rows: usize,
    /// Minutes between two checkpoints
    #[arg(long, default_value_t = 5.0)]
    pub checkpoint_minutes: f64,
    /// Where to compute; the CPU has its own gradient code for Gemma 2
    #[arg(long, value_enum, default_value_t = DeviceArg::Cpu)]
    pub device: DeviceArg,
    /// Number of threads; all cores if not given
    #[arg(long)]
    pub threads: Option<usize>,
}

#[derive(Args, Debug)]
pub(crate) struct DistillArgs {
    /// Plain text, as for train
    pub text: Vec<PathBuf>,
    /// Conversations instead of text, as for train
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    pub examples: Option<PathBuf>,
    /// The model to learn from [default: the model that ships with wmgen]
    #[arg(long, value_name = "MODEL", conflicts_with = "targets")]
    pub teacher: Option<String>,
    /// The model that learns: one to continue from, as for train --from, or the config.json of a new one
    #[arg(long, value_name = "MODEL|CONFIG", required_unless_present = "write_targets")]
    pub student: Option<String>,
    /// A tokenizer.json, a directory with one, or `default`, for when neither the student nor the teacher has one. A new
    /// student that learns from --targets needs it
    #[arg(long)]
    pub tokenizer: Option<PathBuf>,
    /// Directory for the model, the run and its curve, as for train
    #[arg(long, required_unless_present = "write_targets", value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Number of steps in the whole run; the learning rate falls towards the last
    #[arg(long, required_unless_present = "write_targets")]
    pub steps: Option<u64>,
    /// Learn from this file of teacher targets instead of text and a teacher
    #[arg(long, value_name = "FILE", conflicts_with_all = ["text", "examples", "write_targets", "loss_top_k"])]
    pub targets: Option<PathBuf>,
    /// Only write the teacher's targets for text or examples to this file; learn nothing
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "student", "output", "steps", "resume", "mode", "lmbda", "beta", "temperature", "loss_top_k", "loss_add_tail",
        "max_completion_length", "prompt_tokens",
    ])]
    pub write_targets: Option<PathBuf>,
    /// Replace the file of --write-targets if it exists
    #[arg(long)]
    pub force: bool,
    /// With --write-targets, number of entries to write for each token [default: 64]
    #[arg(long)]
    pub targets_k: Option<usize>,
    /// With --write-targets, which entries to write [default: top-k]
    #[arg(long, value_enum)]
    pub targets_rule: Option<TargetsArg>,
    /// Train on rows of the source, or on the student's samples as well
    #[arg(long, value_enum, default_value_t = ModeArg::Offline)]
    pub mode: ModeArg,
    /// With --mode on-policy, the share of steps on the student's own samples [default: 1]
    #[arg(long)]
    pub lmbda: Option<f64>,
    /// The divergence: 0 is forward, KL(teacher‖student), 1 is reverse, a value in between is generalised Jensen-Shannon
    /// [default: 0 offline, 1 on-policy]
    #[arg(long)]
    pub beta: Option<f64>,
    /// Temperature: divides both models' logits in the loss, and the student's logits when it samples
    #[arg(long, default_value_t = 1.0)]
    pub temperature: f64,
    /// Compare only this many most likely tokens: the teacher's at beta 0, the student's at beta 1, both models' in between;
    /// 0 is all
    #[arg(long, default_value_t = 0)]
    pub loss_top_k: usize,
    /// Compare all other tokens together, as one more token, instead of renormalising
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub loss_add_tail: bool,
    /// With --mode on-policy, maximum number of tokens in a sample [default: 128, or the context, if that is less]
    #[arg(long)]
    pub max_completion_length: Option<usize>,
    /// With --mode on-policy, number of tokens of a text's row that serve as the prompt of a sample; examples have prompts
    /// [default: 32, or the context, if that is less]
    #[arg(long)]
    pub prompt_tokens: Option<usize>,
    #[command(flatten)]
    pub run: RunArgs,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ModeArg {
    /// Rows of the source
    Offline,
    /// Prompts of the source, continued by the student
    OnPolicy,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum TargetsArg {
    /// The most likely tokens
    TopK,
    /// Tokens sampled by the teacher's probability, as for Gemma 3
    Sampled,
}

#[derive(Args, Debug)]
pub(crate) struct QuantizeArgs {
    /// A Hugging Face directory with config.json, safetensors and tokenizer.json
    pub model: String,
    /// The GGUF file to write
    pub output: PathBuf,
    /// Replace the GGUF file if it exists
    #[arg(long)]
    pub force: bool,
    /// How to store matrices; norms stay in f32, and a tied embedding gets at least 6 bits
    #[arg(long = "type", value_enum, default_value_t = FormatArg::Q8_0)]
    pub format: FormatArg,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum FormatArg {
    /// 32-bit floats, as trained
    F32,
    /// 16-bit floats
    F16,
    /// 16-bit brain floats
    Bf16,
    /// 8.5 bits a number
    #[value(name = "q8_0")]
    Q8_0,
    /// 6.6 bits a number
    #[value(name = "q6_k")]
    Q6K,
    /// 5.5 bits a number
    #[value(name = "q5_k")]
    Q5K,
    /// 4.5 bits a number, and 6.6 in half of the layers' values and down projections, as in llama.cpp
    #[value(name = "q4_k_m")]
    Q4KM,
    /// 4.5 bits a number
    #[value(name = "q4_k")]
    Q4K,
    /// 3.4 bits a number
    #[value(name = "q3_k")]
    Q3K,
    /// 2.6 bits a number
    #[value(name = "q2_k")]
    Q2K,
    /// 6 bits a number
    #[value(name = "q5_1")]
    Q5_1,
    /// 5.5 bits a number, in blocks of 32
    #[value(name = "q5_0")]
    Q5_0,
    /// 5 bits a number
    #[value(name = "q4_1")]
    Q4_1,
    /// 4.5 bits a number, in blocks of 32
    #[value(name = "q4_0")]
    Q4_0,
}
