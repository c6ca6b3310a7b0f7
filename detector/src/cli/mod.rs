//! The program: one file a command. Results go to standard output, everything else to standard error.

mod args;
mod attribute;
mod cache;
mod calibrate;
mod detector;
mod gvalues;
mod inputs;
mod marked_texts;
mod parallel;
mod score;
mod segments;
mod train;
mod train_bayesian;
mod trials;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue};
use wmdetect::report::{Failure, Row};
use wmdetect::shell::{Batch, InputError, Source, arguments, exit_code, print, print_json, say};
use wmdetect::{DetectError, Input, atomic_file};

use args::{Cli, Command, InputArgs};

/// Runs the program on the process's arguments.
///
/// Exit codes: 0 done, 1 some input failed, 2 usage, key or tokenizer error, 3 only with `--exit-code` or from `calibrate`, 130 from
/// a `calibrate` that was interrupted; a broken pipe is a quiet 0.
pub(crate) fn run() -> ExitCode {
    match arguments::<Cli>() {
        Ok(cli) => exit_code(dispatch(cli.command)),
        Err(error) => {
            // Nobody is left to tell where standard error is gone.
            let _ = error.print();
            if let Some(file) = file_as_command(&error) {
                say(&format!("hint: `wmdetect score {file}` scores the file"));
            }
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}

/// The file that stands where a command should.
fn file_as_command(error: &clap::Error) -> Option<&str> {
    match error.get(ContextKind::InvalidSubcommand)? {
        ContextValue::String(name) if name == "-" || Path::new(name).exists() => Some(name),
        _ => None,
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Score(args) => score::run(&args),
        Command::Segments(args) => segments::run(&args),
        Command::Attribute(args) => attribute::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Gvalues(args) => gvalues::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Cache(command) => cache::run(&command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "wmdetect", &mut script);
            print(&script)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { dir } => {
            let mut command = Cli::command().disable_help_subcommand(true);
            command.build();
            man_pages(&command, &dir)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Writes the man page of a command and those of its subcommands, each whole.
fn man_pages(command: &clap::Command, dir: &Path) -> Result<()> {
    for subcommand in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        man_pages(subcommand, dir)?;
    }
    let page = clap_mangen::Man::new(command.clone());
    let (path, mut roff) = (dir.join(page.get_filename()), Vec::new());
    page.render(&mut roff)?;
    atomic_file::write(&path, &roff).with_context(|| format!("cannot write {}", path.display()))
}

/// An input that could not be scored: a row among the results, or a line on standard error.
fn print_error(batch: &mut Batch, input: &str, error: &InputError, json: bool) -> Result<()> {
    let error = message(error);
    let line = batch.failed(input, &error);
    if json {
        return print_json(&Row::new(input, Failure::new(error)));
    }
    if let Some(line) = line {
        batch.clear();
        say(&line);
    }
    Ok(())
}

/// What is wrong with an input, and the flag that helps.
fn message(error: &InputError) -> String {
    error.advice().map_or_else(|| error.to_string(), |advice| format!("{error}; {advice}"))
}

/// Prints what `judge` says of each text as soon as it and those before are judged, as JSON or `for_people`; a text
/// that fails is a row of its own. `found` tells for the exit code and the summary whether a report found something, and
/// `rate` how often chance alone does.
fn print_each<R: serde::Serialize + Send>(
    input: &InputArgs,
    json: bool,
    exit_code: bool,
    rate: f64,
    judge: impl Fn(Input<'_>) -> Result<R, DetectError> + Sync,
    found: impl Fn(&R) -> bool + Sync,
    for_people: impl Fn(&str, &R) -> String + Sync,
) -> Result<ExitCode> {
    let (mut batch, mut any) = (Batch::new("reading"), false);
    let judge = |_: &str, source: Result<Source<'_>, InputError>| {
        Ok(judge(source.and_then(Source::in_memory)?.input())?)
    };
    parallel::judge_each(input, judge, |name, result: Result<R, InputError>| match result {
        Ok(report) => {
            let found = found(&report);
            any |= found;
            if json {
                print_json(&Row::new(name, &report))?;
            } else {
                print(for_people(name, &report).as_bytes())?;
            }
            batch.found(if found { "with a finding" } else { "without" });
            Ok(())
        }
        Err(error) => print_error(&mut batch, name, &error, json),
    })?;
    let failed = batch.failures() > 0;
    batch.finish(Some(rate), !json);
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
