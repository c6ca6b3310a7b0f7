//! The program: one file a command. Results go to standard output, everything else to standard error.

mod args;
mod attribute;
mod calibrate;
mod gvalues;
mod inputs;
mod marked_texts;
mod parallel;
mod score;
mod segments;
mod train;
mod train_bayesian;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use wmdetect::detect::{DetectError, Detector, Keyring};
use wmdetect::ignore::IgnoreList;
use wmdetect::report::{ErrorRow, SCHEMA_VERSION};
use wmdetect::scheme::{Key, key};
use wmdetect::shell::{self, exit_code, print, print_json, say};
use wmdetect::statistics::{Bayesian, Decider, Method, Profile};
use wmdetect::text::Tokenizer;

use args::{Cli, Command, InputArgs};
use inputs::{Content, Source};

/// Runs the program on the process's arguments.
///
/// Exit codes: 0 done, 1 some input failed, 2 usage, key or tokenizer error, 3 only with `--exit-code` or from `calibrate`; a broken pipe
/// is a quiet 0.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse(); // exits with 2 on a usage error
    exit_code(dispatch(cli.command))
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Score(args) => score::run(&args),
        Command::Segments(args) => segments::run(&args),
        Command::Attribute(args) => attribute::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Gvalues(args) => gvalues::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "wmdetect", &mut script);
            print(&script)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { dir } => {
            clap_mangen::generate_to(Cli::command(), &dir)
                .with_context(|| format!("cannot write man pages into {}", dir.display()))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// An input that could not be scored: a row among the results, or a line on standard error.
fn print_error(input: &str, error: String, json: bool) -> Result<()> {
    if json {
        return print_json(&ErrorRow { schema_version: SCHEMA_VERSION, input: input.into(), error });
    }
    say(&format!("error: {input}: {error}"));
    Ok(())
}

/// The detector for the texts of `input`: with their tokenizer and normaliser, and without the boilerplate of `ignore`.
fn for_input(mut detector: Detector, input: &InputArgs, ignore: Option<&PathBuf>) -> Result<Detector> {
    if let Some(tokenizer) = input.open_tokenizer()? {
        detector = detector.with_tokenizer(tokenizer)?.normaliser(input.text.normaliser());
    }
    match ignore {
        Some(path) => ignoring(detector, path),
        None => Ok(detector),
    }
}

/// Prints what `judge` says of each text as soon as it and those before are judged, as JSON or `for_people`; a text
/// that fails is a row of its own. `found` tells for the exit code whether a report found something.
fn print_each<R: serde::Serialize + Send>(
    input: &InputArgs,
    json: bool,
    exit_code: bool,
    judge: impl Fn(&str, Content) -> Result<R, DetectError> + Sync,
    found: impl Fn(&R) -> bool + Sync,
    for_people: impl Fn(&R) -> String + Sync,
) -> Result<ExitCode> {
    let (mut failed, mut any) = (false, false);
    let judge = |name: &str, source: Result<Source<'_>, String>| {
        let content = source.and_then(inputs::in_memory)?;
        judge(name, content).map_err(|error| error.to_string())
    };
    parallel::judge_each(input, judge, |name, result| match result {
        Ok(report) => {
            any |= found(&report);
            if json { print_json(&report) } else { Ok(print(for_people(&report).as_bytes())?) }
        }
        Err(error) => {
            failed = true;
            print_error(name, error, json)
        }
    })?;
    Ok(verdict_code(failed, exit_code && !any))
}

/// 1 if an input failed, else 3 if `absent`: what was looked for is in no text, and the caller asked to be told.
fn verdict_code(failed: bool, absent: bool) -> ExitCode {
    ExitCode::from(match (failed, absent) {
        (true, _) => 1,
        (false, true) => 3,
        (false, false) => 0,
    })
}

/// The key of `--key`, of `WMDETECT_KEY` or in `./k.bin`, with a warning where others can read it.
fn read_key(path: Option<&PathBuf>) -> Result<Key> {
    let path = given_or_default(path, "WMDETECT_KEY", "k.bin").context(
        "no key: pass --key FILE, set WMDETECT_KEY to the path of a key file, or run in a directory with a k.bin \
         (`wmgen keygen k.bin` makes one)",
    )?;
    warn_of_permissions(&path);
    Ok(Key::read(path)?)
}

fn read_keyring(dir: &Path) -> Result<Keyring> {
    let ring = Keyring::open(dir)?;
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_file() && !entry.file_name().as_encoded_bytes().starts_with(b".") {
            warn_of_permissions(&entry.path());
        }
    }
    Ok(ring)
}

/// The detector without what an ignore file lists, and a warning where a passage in it does nothing.
fn ignoring(detector: Detector, path: &Path) -> Result<Detector> {
    let detector = detector.ignore_file(path)?;
    let short = detector.ignored().map_or(0, IgnoreList::short_passages);
    if short > 0 {
        say(&format!(
            "warning: {short} passages of {} are too short to hold an n-gram and change nothing",
            path.display()
        ));
    }
    Ok(detector)
}

/// A built-in profile by its name, or a file.
/// What decides: the profile or the Bayesian detector that was named, or else `method` with those of the crate.
fn decider(method: Method, profile: Option<&str>, bayesian: Option<&Path>) -> Result<Decider> {
    Ok(match (profile, bayesian) {
        (Some(profile), _) => open_profile(profile)?.into(),
        (None, Some(dir)) => Bayesian::open(dir, |text| say(&format!("note: {text}")))?.into(),
        (None, None) => method.into(),
    })
}

fn open_profile(name: &str) -> Result<Profile> {
    match Profile::named(name) {
        Some(profile) => Ok(profile.clone()),
        None => Ok(Profile::read(name)?),
    }
}

fn warn_of_permissions(key: &Path) {
    if let Some(warning) = key::permission_warning(key) {
        say(&format!("warning: {warning}"));
    }
}

impl InputArgs {
    /// The tokenizer that splits the texts. Token ids need none, but one that is given must belong to the key.
    fn open_tokenizer(&self) -> Result<Option<Tokenizer>> {
        if self.tokens && self.tokenizer.is_none() {
            return Ok(None);
        }
        open_tokenizer(self.tokenizer.as_ref()).map(Some)
    }
}

/// The tokenizer of `--tokenizer`, of `WMDETECT_TOKENIZER` or in `./tokenizer.json`, else the default model's.
fn open_tokenizer(given: Option<&PathBuf>) -> Result<Tokenizer> {
    match given_or_default(given, "WMDETECT_TOKENIZER", "tokenizer.json") {
        Some(path) => Ok(shell::open_tokenizer(path)?),
        None => Ok(Tokenizer::of_default_model()),
    }
}

/// The path that was given, else the one in `variable`, else `default` if there is such a file.
fn given_or_default(given: Option<&PathBuf>, variable: &str, default: &str) -> Option<PathBuf> {
    let from_variable = || std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let from_directory = || Some(PathBuf::from(default)).filter(|path| path.exists());
    given.cloned().or_else(from_variable).or_else(from_directory)
}
