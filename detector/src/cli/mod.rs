//! The program: one file a command. Results go to standard output, everything else to standard error.

mod args;
mod attack;
mod attribute;
mod cache;
mod calibrate;
mod detector;
mod gvalues;
mod inputs;
mod marked_texts;
mod parallel;
mod report;
mod schema;
mod score;
mod segments;
#[cfg(feature = "serve")]
mod serve;
mod train;
mod train_bayesian;
mod trials;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue};
use wmdetect::report::{Failure, Row};
use wmdetect::shell::{
    Batch, InputError, arguments, exit_code, man_pages, print, print_json, run_key_command, say, verdict_code,
};

use args::{AuditCommand, Cli, Command};

/// Runs the program on the process's arguments.
///
/// Exit codes: 0 done; 1 some input failed; 2 usage, key or tokenizer error; 3 only with `--exit-code` or from
/// `calibrate`; 130 from an interrupted `calibrate` or `attack`. A broken pipe is a quiet 0.
pub(crate) fn run() -> ExitCode {
    match arguments::<Cli>() {
        Ok(cli) => exit_code(dispatch(cli.command)),
        Err(error) => {
            // If standard error is gone, there is nobody to tell.
            let _ = error.print();
            if let Some(file) = file_as_command(&error) {
                say(&format!("hint: `wmdetect score {file}` scores the file"));
            }
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}

/// Returns a file name that was given in the place of a command.
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
        Command::Attack(args) => attack::run(&args),
        Command::Gvalues(args) => gvalues::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Key(command) => run_key_command(&command).map(|()| ExitCode::SUCCESS),
        Command::Report(command) => report::run(&command),
        Command::Cache(command) => cache::run(&command),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(&args),
        Command::Audit(AuditCommand::Verify { file, json }) => crate::audit::run(&file, json),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "wmdetect", &mut script);
            print(&script)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Schema(args) => schema::run(args).map(|()| ExitCode::SUCCESS),
        Command::Man { dir } => {
            man_pages(Cli::command(), &dir)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Writes that an input could not be scored: a row among the results, or a line on standard error.
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

/// Returns what is wrong with an input, and the flag that helps.
fn message(error: &InputError) -> String {
    error.advice().map_or_else(|| error.to_string(), |advice| format!("{error}; {advice}"))
}
