//! All arguments of `wmdetect` in one place. Help, completions and man pages are made from them.

mod attack;
mod keys;
mod schema;
mod services;

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use wmdetect::calibration::LEAST_KEYS;
use wmdetect::detect::DEFAULT_FPR;
use wmdetect::shell::{KeyCommand, SchemaArgs, TextArgs, rate};
use wmdetect::statistics::{Method, UnknownMethod};

pub(crate) use attack::AttackArgs;
pub(crate) use keys::{ChannelArgs, KeyArgs, KeysArgs, ManyKeysArgs};
pub(crate) use schema::SchemaOf;
#[cfg(feature = "serve")]
pub(crate) use services::ServeArgs;
pub(crate) use services::{AuditCommand, ReportCommand, VerifyArgs};

/// Finds the watermark that wmgen (or SynthID Text) put into a text
#[derive(Parser, Debug)]
#[command(
    name = "wmdetect",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done; 1 some input could not be scored; 2 wrong usage, key or tokenizer; 3 no \
                  watermark (with --exit-code), or a key that is worse than chance allows (calibrate); 130 \
                  calibrate or attack was interrupted."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Say whether each text carries the key's mark, and how sure that is
    Score(ScoreArgs),
    /// Find the marked passages inside texts
    Segments(SegmentsArgs),
    /// Say which of many keys marked a text, if any
    Attribute(AttributeArgs),
    /// Compare the key with random keys on your own unmarked texts
    Calibrate(CalibrateArgs),
    /// Edit marked texts, and report how many are still found
    Attack(Box<AttackArgs>),
    /// Print a text's g-values and scored positions, to compare this program with another
    Gvalues(GvaluesArgs),
    /// Fit a detector to marked texts of your own model
    Train(TrainArgs),
    /// Show, bind, derive, import and export keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Make keys that sign verdicts, and check signed verdicts
    #[command(subcommand)]
    Report(ReportCommand),
    /// Show or clear the cache of compiled vocabularies and counted laws
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Serve the detector over HTTP
    #[cfg(feature = "serve")]
    Serve(Box<ServeArgs>),
    /// Check the log that `wmdetect serve --audit` writes
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the JSON schema of what a command prints with --json
    Schema(SchemaArgs<SchemaOf>),
    /// Write man pages into a directory
    Man {
        /// Directory to write to; it must exist
        dir: PathBuf,
    },
}

/// The directory is the one in the variable WMDETECT_CACHE, else wmdetect in the user's cache directory.
#[derive(Subcommand, Debug)]
pub(crate) enum CacheCommand {
    /// Show where the cache is, what it holds, and whether it is used
    Show {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Remove everything in the cache
    Clear,
}

/// The parts of a detector. `K` names the keys that the command tries.
#[derive(Args, Debug)]
pub(crate) struct DetectorArgs<K: Args> {
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub keys: K,
    /// File of known boilerplate that does not count: plain text with one passage per line, or the output of `wmdetect
    /// calibrate --write-ignore`
    #[arg(long, value_name = "FILE")]
    pub ignore: Option<PathBuf>,
}

/// The statistic that decides.
#[derive(Args, Debug)]
pub(crate) struct MethodArgs {
    /// Statistic that decides [default: the usual one of the key's scheme: weighted-mean for wmgen's marks, gumbel and
    /// green-list for those of other engines]
    #[arg(long, value_parser = detector_kind())]
    pub detector: Option<Method>,
    /// Profile of marked text for llr: a file that `wmdetect train` wrote, or one of pooled, t1.0, t0.7, t0.5, t0.35
    /// [default: pooled]; implies --detector llr
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// Directory of a Bayesian detector, from transformers or from `wmdetect train` [default: the one that comes with
    /// wmdetect]; implies --detector bayesian
    #[arg(long, value_name = "DIR", conflicts_with = "profile")]
    pub bayesian: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct ScoreArgs {
    #[command(flatten)]
    pub detector: DetectorArgs<KeysArgs>,
    #[command(flatten)]
    pub channel: ChannelArgs,
    #[command(flatten)]
    pub method: MethodArgs,
    /// Share of unmarked texts that may be called watermarked
    #[arg(long, default_value_t = DEFAULT_FPR, value_name = "RATE", value_parser = rate)]
    pub fpr: f64,
    /// Print one JSON object per text
    #[arg(long)]
    pub json: bool,
    /// Sign each verdict with this key from `wmdetect report keygen`; the signature is in the field `signature`
    #[arg(long, value_name = "KEY", requires = "json", conflicts_with = "tokens")]
    pub sign: Option<PathBuf>,
    /// Also write a page to this file, with the verdicts, the texts and their evidence
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Replace the file of --html even if it is not an earlier page
    #[arg(long, requires = "html")]
    pub force: bool,
    /// Also show the text, coloured by the evidence
    #[arg(long, conflicts_with = "json")]
    pub view: bool,
    /// When to colour --view; auto: on a terminal, unless the variable NO_COLOR is set
    #[arg(long, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN", requires = "view")]
    pub color: ColorChoice,
    /// Exit with 0 if a text is watermarked, and with 3 if none is
    #[arg(long)]
    pub exit_code: bool,
}

/// When to write colours.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    Auto,
    Always,
    Never,
}

#[derive(Args, Debug)]
pub(crate) struct CalibrateArgs {
    #[command(flatten)]
    pub detector: DetectorArgs<KeyArgs>,
    #[command(flatten)]
    pub method: MethodArgs,
    /// Share of unmarked texts that may be called watermarked
    #[arg(long, default_value_t = 0.01, value_name = "RATE", value_parser = rate)]
    pub fpr: f64,
    /// Number of random keys to rank the key among
    #[arg(long, default_value_t = LEAST_KEYS, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub keys: u64,
    /// Seed of the random keys [default: the system's randomness]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Number of documents from which on an n-gram is listed as shared [default: 1 in 100, but at least 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..))]
    pub shared: Option<u64>,
    /// Write the shared passages to this file, for --ignore; read it before you use it
    #[arg(long, value_name = "FILE")]
    pub write_ignore: Option<PathBuf>,
    /// Print the report as a JSON object
    #[arg(long)]
    pub json: bool,
    /// Also write the report as a page to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Replace the files of --write-ignore and --html even if they are not earlier outputs
    #[arg(long)]
    pub force: bool,
}

#[derive(Args, Debug)]
pub(crate) struct SegmentsArgs {
    #[command(flatten)]
    pub detector: DetectorArgs<KeysArgs>,
    #[command(flatten)]
    pub channel: ChannelArgs,
    /// Share of unmarked texts in which any passage may be found
    #[arg(long, default_value_t = DEFAULT_FPR, value_name = "RATE", value_parser = rate)]
    pub fpr: f64,
    /// Print one JSON object per text
    #[arg(long)]
    pub json: bool,
    /// Also write a page to this file, with the texts and their passages
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Replace the file of --html even if it is not an earlier page
    #[arg(long, requires = "html")]
    pub force: bool,
    /// Exit with 0 if a passage is found, and with 3 if none is
    #[arg(long)]
    pub exit_code: bool,
}

#[derive(Args, Debug)]
pub(crate) struct AttributeArgs {
    #[command(flatten)]
    pub detector: DetectorArgs<ManyKeysArgs>,
    #[command(flatten)]
    pub channel: ChannelArgs,
    /// Largest probability of naming a key that did not mark the text
    #[arg(long, default_value_t = DEFAULT_FPR, value_name = "RATE", value_parser = rate)]
    pub fpr: f64,
    /// Print one JSON object per text
    #[arg(long)]
    pub json: bool,
    /// Exit with 0 if a key is named, and with 3 if none is
    #[arg(long)]
    pub exit_code: bool,
}

#[derive(Args, Debug)]
pub(crate) struct GvaluesArgs {
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub key: KeyArgs,
    /// Channel of a key that has several [default: 0]
    #[arg(long, value_name = "N")]
    pub channel: Option<u16>,
    /// Print one JSON object per text, instead of one line per position
    #[arg(long)]
    pub json: bool,
}

/// The tokenizer that splits texts.
#[derive(Args, Debug)]
pub(crate) struct TokenizerArgs {
    /// Tokenizer of the texts: a tokenizer.json, a directory that holds one, a GGUF file, or `default`, that of the model
    /// that ships with wmgen [default: the path in the variable WMDETECT_TOKENIZER, or ./tokenizer.json, or `default`]
    #[arg(long, value_name = "PATH")]
    pub tokenizer: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct InputArgs {
    /// Input files; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub tokenizer: TokenizerArgs,
    /// Read token ids instead of text: a JSON array, or one array per line
    #[arg(long)]
    pub tokens: bool,
    /// Read JSON lines, each an object with a text
    #[arg(long)]
    pub jsonl: bool,
    /// Field of a JSON line that holds the text, or with --tokens the token ids [default: text, or tokens]
    #[arg(long, requires = "jsonl", value_name = "NAME")]
    pub field: Option<String>,
    /// Field of a JSON line that names the text in the output
    #[arg(long, requires = "jsonl", default_value = "id", value_name = "NAME")]
    pub id_field: String,
    /// Longest JSON line to read, in MiB
    #[arg(long, requires = "jsonl", default_value_t = 64, value_name = "MIB")]
    pub max_line: u64,
    #[command(flatten)]
    pub text: TextArgs,
}

#[derive(Args, Debug)]
pub(crate) struct TrainArgs {
    /// Marked texts: JSON lines with a text each, or with --tokens, token ids. A line with a key_label is marked with
    /// the key that `wmdetect key derive --label` makes from the key. A line may have the prompt's token ids in
    /// prompt_tokens
    #[arg(required = true, value_name = "MARKED.jsonl")]
    pub files: Vec<PathBuf>,
    /// File to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    #[command(flatten)]
    pub key: KeyArgs,
    #[command(flatten)]
    pub tokenizer: TokenizerArgs,
    /// Read token ids from the field tokens, instead of text
    #[arg(long)]
    pub tokens: bool,
    /// Detector to fit
    #[arg(long, default_value = "llr", value_name = "DETECTOR")]
    pub detector: Trainable,
    /// Name of the profile
    #[arg(long, default_value = "custom")]
    pub name: String,
    /// Description of the profile's texts: model, sampling, prompts
    #[arg(long, default_value = "")]
    pub description: String,
    /// Number of kinds of token to tell apart, 1 to 8 [default: the number that fits held-out texts best, up to 6]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=8))]
    pub classes: Option<u8>,
    /// Profile whose texts decide from which length on a text without a finding is called unmarked [default: the given
    /// texts]
    #[arg(long, value_name = "PROFILE")]
    pub reference: Option<String>,
    /// Replace an existing file
    #[arg(long)]
    pub force: bool,
    /// Print the result of the fit as a JSON object
    #[arg(long)]
    pub json: bool,
}

/// The detectors that `train` can fit.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Trainable {
    /// The likelihood ratio
    Llr,
    /// A Bayesian detector that transformers can load; -o names a directory
    Bayesian,
}

fn detector_kind() -> impl TypedValueParser<Value = Method> {
    // The command line's spelling, and the one in JSON.
    let names = [
        PossibleValue::new("weighted-mean").alias("weighted_mean"),
        PossibleValue::new("mean"),
        PossibleValue::new("llr"),
        PossibleValue::new("bayesian"),
        PossibleValue::new("gumbel"),
        PossibleValue::new("green-list").alias("green_list"),
    ];
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Method>().map_err(|e: UnknownMethod| e))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn definition_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
