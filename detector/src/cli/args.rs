//! All arguments of `wmdetect` in one place; help, completions and man pages are made from this.

mod attack;
mod services;

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use wmdetect::calibration::LEAST_KEYS;
use wmdetect::detect::DEFAULT_FPR;
use wmdetect::shell::{KeyCommand, rate};
use wmdetect::statistics::{Method, UnknownMethod};
use wmdetect::text::normalise::{Form, Markup, Normaliser};

pub(crate) use attack::AttackArgs;
#[cfg(feature = "serve")]
pub(crate) use services::ServeArgs;
pub(crate) use services::{AuditCommand, ReportCommand, VerifyArgs};

/// Finds the watermark that wmgen (or SynthID Text) put into a text
#[derive(Parser, Debug)]
#[command(
    name = "wmdetect",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done; 1 some input could not be scored; 2 wrong usage, key or tokenizer; 3, with \
                  --exit-code, no watermark, and from calibrate, a key that is worse than chance allows; \
                  130, calibrate or attack was interrupted."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Say of each text whether it carries the key's mark, and how sure that is
    Score(ScoreArgs),
    /// Find the marked passages inside texts
    Segments(SegmentsArgs),
    /// Say which of many keys marked a text, if any
    Attribute(AttributeArgs),
    /// Try the key on unmarked texts of your own, among random keys
    Calibrate(CalibrateArgs),
    /// Edit marked texts, and say how many of them are still found
    Attack(Box<AttackArgs>),
    /// Print a text's g-values and which positions count, to check this program against another
    Gvalues(GvaluesArgs),
    /// Fit a detector to marked texts of your own model
    Train(TrainArgs),
    /// Show, bind, derive, import and export keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Make keys for signed verdicts, and check such verdicts
    #[command(subcommand)]
    Report(ReportCommand),
    /// Look at the cache of compiled vocabularies and counted laws, or empty it
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Answer over HTTP whether texts are marked
    #[cfg(feature = "serve")]
    Serve(Box<ServeArgs>),
    /// Check the log that `wmdetect serve --audit` writes
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write man pages into a directory
    Man {
        /// The directory; it must exist
        dir: PathBuf,
    },
}

/// The directory is the one in the variable WMDETECT_CACHE, else wmdetect in the user's cache directory.
#[derive(Subcommand, Debug)]
pub(crate) enum CacheCommand {
    /// Say where the cache is, what is in it, and whether it is used
    Show {
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Remove all that is in it
    Clear,
}

/// What a detector is made of. `K` are the keys that the command tries.
#[derive(Args, Debug)]
pub(crate) struct DetectorArgs<K: Args> {
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub keys: K,
    /// Known boilerplate that does not count: plain text with one passage a line, or what `wmdetect calibrate
    /// --write-ignore` wrote
    #[arg(long, value_name = "FILE")]
    pub ignore: Option<PathBuf>,
}

/// The channel of a key that has several.
#[derive(Args, Debug)]
pub(crate) struct ChannelArgs {
    /// The channel of the texts, as their receipts name it; without it all channels of a key are tried, and p is
    /// corrected for their number
    #[arg(long, value_name = "N")]
    pub channel: Option<u16>,
}

/// One key.
#[derive(Args, Debug)]
pub(crate) struct KeyArgs {
    /// The key file [default: the path in the variable WMDETECT_KEY, or ./k.bin]
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
}

/// One key, or a directory of keys.
#[derive(Args, Debug)]
pub(crate) struct KeysArgs {
    #[command(flatten)]
    pub one: KeyArgs,
    /// Try every key file in this directory; p is corrected for their number
    #[arg(long, value_name = "DIR", conflicts_with = "key")]
    pub keyring: Option<PathBuf>,
}

/// Many keys: files, or derived from one.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("keys").required(true).args(["keyring", "master"]))]
#[command(group = ArgGroup::new("which").args(["label", "labels", "label_range"]))]
pub(crate) struct ManyKeysArgs {
    /// The keys are the files in this directory
    #[arg(long, value_name = "DIR")]
    pub keyring: Option<PathBuf>,
    /// The keys are derived from this one, with the labels that follow
    #[arg(long, value_name = "FILE", requires = "which")]
    pub master: Option<PathBuf>,
    /// A label; may be given several times. Name all that could have been used, since p is corrected for their number
    #[arg(long, value_name = "LABEL", requires = "master", conflicts_with = "keyring")]
    pub label: Vec<String>,
    /// The labels, one a line; name all that could have been used, since p is corrected for their number
    #[arg(long, value_name = "FILE", requires = "master", conflicts_with = "keyring")]
    pub labels: Option<PathBuf>,
    /// The labels are a prefix and a number, such as tenant-:0-9999; where the first number is written with
    /// leading zeros, as in tenant-:0000-9999, all have its width
    #[arg(long, value_name = "PREFIX:FROM-TO", requires = "master", conflicts_with = "keyring")]
    pub label_range: Option<String>,
}

/// The statistic that decides.
#[derive(Args, Debug)]
pub(crate) struct MethodArgs {
    /// The statistic that decides [default: the usual one of the key's scheme: weighted-mean for wmgen's marks, gumbel and
    /// green-list for those of other engines]
    #[arg(long, value_parser = detector_kind())]
    pub detector: Option<Method>,
    /// What marked text looks like to llr: a file that `wmdetect train` wrote, or one of pooled, t1.0, t0.7, t0.5,
    /// t0.35 [default: pooled]; chooses --detector llr
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// The directory of a Bayesian detector, from transformers or from `wmdetect train` [default: the one that comes
    /// with wmdetect]; chooses --detector bayesian
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
    /// The share of unmarked texts that may be called watermarked
    #[arg(long, default_value_t = DEFAULT_FPR, value_name = "RATE", value_parser = rate)]
    pub fpr: f64,
    /// One JSON object a text
    #[arg(long)]
    pub json: bool,
    /// Sign each verdict with this key, which `wmdetect report keygen` makes; the field is `signature`
    #[arg(long, value_name = "KEY", requires = "json", conflicts_with = "tokens")]
    pub sign: Option<PathBuf>,
    /// Write a page with the verdicts, the texts and where in them the evidence is to this file too
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Replace the file of --html even if it is not an earlier page
    #[arg(long, requires = "html")]
    pub force: bool,
    /// Show the text too, coloured by the evidence
    #[arg(long, conflicts_with = "json")]
    pub view: bool,
    /// When --view is coloured; auto: on a terminal, unless the variable NO_COLOR is set
    #[arg(long, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN", requires = "view")]
    pub color: ColorChoice,
    /// End with 0 if a text is watermarked and with 3 if none is
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
    /// The share of unmarked texts that may be called watermarked
    #[arg(long, default_value_t = 0.01, value_name = "RATE", value_parser = rate)]
    pub fpr: f64,
    /// How many random keys to rank the key among
    #[arg(long, default_value_t = LEAST_KEYS, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub keys: u64,
    /// What the random keys are drawn from [default: the system's randomness]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// From how many documents on an n-gram is listed as shared [default: 1 in 100, but at least 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..))]
    pub shared: Option<u64>,
    /// Write the shared passages to this file, for --ignore; read it first
    #[arg(long, value_name = "FILE")]
    pub write_ignore: Option<PathBuf>,
    /// The report as a JSON object
    #[arg(long)]
    pub json: bool,
    /// Write the report as a page to this file too
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
    /// The share of unmarked texts in which any passage may be found
    #[arg(long, default_value_t = DEFAULT_FPR, value_name = "RATE", value_parser = rate)]
    pub fpr: f64,
    /// One JSON object a text
    #[arg(long)]
    pub json: bool,
    /// Write a page with the passages, the texts and where in them the passages are to this file too
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Replace the file of --html even if it is not an earlier page
    #[arg(long, requires = "html")]
    pub force: bool,
    /// End with 0 if a passage is found and with 3 if none is
    #[arg(long)]
    pub exit_code: bool,
}

#[derive(Args, Debug)]
pub(crate) struct AttributeArgs {
    #[command(flatten)]
    pub detector: DetectorArgs<ManyKeysArgs>,
    #[command(flatten)]
    pub channel: ChannelArgs,
    /// The probability at most that a key is named which did not mark the text
    #[arg(long, default_value_t = DEFAULT_FPR, value_name = "RATE", value_parser = rate)]
    pub fpr: f64,
    /// One JSON object a text
    #[arg(long)]
    pub json: bool,
    /// End with 0 if a key is named and with 3 if none is
    #[arg(long)]
    pub exit_code: bool,
}

#[derive(Args, Debug)]
pub(crate) struct GvaluesArgs {
    #[command(flatten)]
    pub input: InputArgs,
    #[command(flatten)]
    pub key: KeyArgs,
    /// The channel, of a key that has several [default: 0]
    #[arg(long, value_name = "N")]
    pub channel: Option<u16>,
    /// One JSON object a text, instead of one line a position
    #[arg(long)]
    pub json: bool,
}

/// What splits texts.
#[derive(Args, Debug)]
pub(crate) struct TokenizerArgs {
    /// What splits the texts: a tokenizer.json, a directory that holds one, or a GGUF file
    /// [default: the path in the variable WMDETECT_TOKENIZER, or ./tokenizer.json, or the one of wmgen's default model]
    #[arg(long, value_name = "PATH")]
    pub tokenizer: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct InputArgs {
    /// The texts; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub tokenizer: TokenizerArgs,
    /// The input is not text but token ids: a JSON array, or one array a line
    #[arg(long)]
    pub tokens: bool,
    /// Each line of the input is a JSON object with a text
    #[arg(long)]
    pub jsonl: bool,
    /// The field of a JSON line that holds the text, or with --tokens the token ids
    /// [default: text, or tokens]
    #[arg(long, requires = "jsonl", value_name = "NAME")]
    pub field: Option<String>,
    /// The field of a JSON line that names it in the output
    #[arg(long, requires = "jsonl", default_value = "id", value_name = "NAME")]
    pub id_field: String,
    /// The longest JSON line that is read, in MiB
    #[arg(long, requires = "jsonl", default_value_t = 64, value_name = "MIB")]
    pub max_line: u64,
    #[command(flatten)]
    pub text: TextArgs,
}

/// What is done to a text before it is cut into tokens.
#[derive(Args, Debug)]
pub(crate) struct TextArgs {
    /// What to undo: invisible characters without a function and decomposed letters; nfc brings the
    /// text to NFC as well, none takes it as it is
    #[arg(long, value_enum, default_value_t = NormaliseArg::Default, value_name = "FORM")]
    pub normalise: NormaliseArg,
    /// Turn look-alikes from other scripts into Latin letters inside Latin words
    #[arg(long)]
    pub fold_confusables: bool,
    /// The text is HTML or Markdown: look at what a reader sees of it
    #[arg(long, value_enum, value_name = "MARKUP")]
    pub strip: Option<StripArg>,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum NormaliseArg {
    Default,
    Nfc,
    None,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum StripArg {
    Html,
    Markdown,
}

impl TextArgs {
    pub(crate) fn normaliser(&self) -> Normaliser {
        Normaliser {
            form: match self.normalise {
                NormaliseArg::Default => Form::Default,
                NormaliseArg::Nfc => Form::Nfc,
                NormaliseArg::None => Form::None,
            },
            fold_confusables: self.fold_confusables,
            strip: self.strip.map(|markup| match markup {
                StripArg::Html => Markup::Html,
                StripArg::Markdown => Markup::Markdown,
            }),
            ..Normaliser::default()
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct TrainArgs {
    /// The marked texts: JSON lines with a text (or with --tokens, token ids) each. A line may have a key_label, and
    /// is then marked with the key that `wmdetect key derive --label` makes of the key, and prompt_tokens, the prompt's
    /// token ids
    #[arg(required = true, value_name = "MARKED.jsonl")]
    pub files: Vec<PathBuf>,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    #[command(flatten)]
    pub key: KeyArgs,
    #[command(flatten)]
    pub tokenizer: TokenizerArgs,
    /// The lines hold no text but token ids, in the field tokens
    #[arg(long)]
    pub tokens: bool,
    /// The detector to fit
    #[arg(long, default_value = "llr", value_name = "DETECTOR")]
    pub detector: Trainable,
    /// The profile's name
    #[arg(long, default_value = "custom")]
    pub name: String,
    /// What the profile says of its texts: model, sampling, prompts
    #[arg(long, default_value = "")]
    pub description: String,
    /// How many kinds of token to tell apart, 1 to 8 [default: what fits held-out texts best, up to 6]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=8))]
    pub classes: Option<u8>,
    /// Another profile, whose texts decide from which length on a text without a finding is called unmarked
    /// [default: the texts given]
    #[arg(long, value_name = "PROFILE")]
    pub reference: Option<String>,
    /// Replace the file if there is one
    #[arg(long)]
    pub force: bool,
    /// Say what was fitted as a JSON object
    #[arg(long)]
    pub json: bool,
}

/// What `train` can fit.
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
