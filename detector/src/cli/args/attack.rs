//! The arguments of `wmdetect attack`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use wmdetect::attack::{Edit, Kind};
use wmdetect::shell::rate;

use super::{DetectorArgs, KeysArgs, MethodArgs};

#[derive(Args, Debug)]
pub(crate) struct AttackArgs {
    #[command(flatten)]
    pub detector: DetectorArgs<KeysArgs>,
    #[command(flatten)]
    pub method: MethodArgs,
    /// File of texts that people wrote, in the same form as the marked ones. Edits insert their words and passages.
    /// These texts are also edited and scored, to show how many of them are taken for marked
    #[arg(long, required = true, value_name = "FILE")]
    pub human: Vec<PathBuf>,
    /// Field of a JSON line of --human that holds the text [default: that of the marked texts]
    #[arg(long, requires = "jsonl", value_name = "NAME")]
    pub human_field: Option<String>,
    /// Edit and its rates, such as delete=0.1,0.3, or program=NAME. Edits: delete, replace, insert, synonyms,
    /// sentences, case, typography, homoglyphs, dilution, crop. May be repeated; the unedited texts are always scored
    /// [default: a standard set, with synonyms if there is a table]
    #[arg(long, value_name = "NAME=RATES")]
    pub edit: Vec<Edits>,
    /// Table for --edit synonyms: each line has a word, a tab and its synonyms with commas between them
    #[arg(long, value_name = "FILE")]
    pub synonyms: Option<PathBuf>,
    /// Program that edits: it reads a text on standard input and writes the edited text to standard output. It is run
    /// once for each text and length, without a shell: the command is split at spaces. May be repeated; all programs
    /// are run
    #[arg(long, value_name = "NAME=COMMAND")]
    pub program: Vec<ProgramArg>,
    /// Seconds that a program may take for one text
    #[arg(long, value_name = "SECONDS", default_value_t = 120, requires = "program", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub program_timeout: u64,
    /// Lengths in tokens. Each text is cut to its first tokens before it is edited; shorter texts are left out
    #[arg(long, value_name = "TOKENS", value_delimiter = ',', default_value = "32,64,128,256,512", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub length: Vec<u64>,
    /// Rates at which a text is found: shares of unmarked texts that may be called watermarked
    #[arg(long, value_name = "RATES", value_delimiter = ',', default_value = "0.01,0.001,0.000001", value_parser = rate)]
    pub fpr: Vec<f64>,
    /// Field of a JSON line that texts of one prompt share, such as prompt. The intervals then allow for the likeness
    /// of these texts [default: each text stands alone]
    #[arg(long, requires = "jsonl", value_name = "NAME")]
    pub cluster: Option<String>,
    /// Seed of the edits' random numbers
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Store results in this file as they come, and reuse those that it has. An interrupted run continues from there,
    /// and may add edits, lengths and rates
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Print the report as a JSON object
    #[arg(long)]
    pub json: bool,
    /// Also write a page with curves to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Replace the file of --html even if it is not an earlier page
    #[arg(long, requires = "html")]
    pub force: bool,
}

/// One `--edit`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Edits(pub Vec<Edit>);

impl FromStr for Edits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!("expected an edit and its rates such as delete=0.1,0.3, or program=NAME, found {text:?}")
        };
        let (name, values) = text.split_once('=').ok_or_else(expected)?;
        if name == "program" {
            return if values.is_empty() {
                Err(expected())
            } else {
                Ok(Self(vec![Edit::Program { name: values.into() }]))
            };
        }
        let kind: Kind = name.parse().map_err(|error| format!("{error}; program=NAME is an edit, too"))?;
        let edit = |value: &str| Edit::share(kind, rate(value)?).map_err(|error| error.to_string());
        values.split(',').map(edit).collect::<Result<_, _>>().map(Self)
    }
}

/// One `--program`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ProgramArg {
    pub name: String,
    /// The program and its arguments, at least the first.
    pub command: Vec<String>,
}

impl FromStr for ProgramArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, command) = text.split_once('=').unwrap_or_default();
        let command: Vec<String> = command.split_whitespace().map(Into::into).collect();
        if name.is_empty() || command.is_empty() {
            return Err(format!("expected a name and a command such as mt=./there-and-back, found {text:?}"));
        }
        Ok(Self { name: name.into(), command })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_and_programs_are_read_and_mistakes_say_what_was_expected() {
        let share = |kind, rate| Edit::Share { kind, rate };
        let edits: Edits = "delete=0.1,20%".parse().unwrap();
        assert_eq!(edits.0, [share(Kind::Delete, 0.1), share(Kind::Delete, 0.2)]);
        assert_eq!("program=mt".parse::<Edits>().unwrap().0, [Edit::Program { name: "mt".into() }]);
        for (text, expected) in [
            ("delete", "expected an edit and its rates such as delete=0.1,0.3"),
            ("program=", "expected an edit and its rates"),
            ("remove=0.1", "expected one of delete, replace"),
            ("delete=", "expected a share such as 0.001"),
            ("delete=0", "expected a share above 0 and up to 1, found 0"),
        ] {
            let error = text.parse::<Edits>().unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let program: ProgramArg = "mt=./back --from a=b".parse().unwrap();
        assert_eq!((program.name.as_str(), program.command.len()), ("mt", 3));
        assert!(["mt", "mt= ", "=cat"].iter().all(|text| text.parse::<ProgramArg>().is_err()));
    }
}
