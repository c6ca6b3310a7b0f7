//! The program: one file a command. Results go to standard output, everything else to standard error.

mod args;
mod bench;
mod compare;
mod demo;
mod directory_lock;
mod distill;
mod eval;
mod generate;
mod hints;
mod inspect;
mod keys;
mod line_log;
mod model;
mod perplexity;
mod prompts;
mod quantize;
mod radioactive;
mod receipts;
mod schema;
#[cfg(feature = "serve")]
mod serve;
mod train;
mod training_run;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;
use wmdetect::shell::{arguments, exit_code, man_pages, print, print_json, read_text, run_key_command, say};

use args::{Cli, Command};

/// Runs the program on the process's arguments.
///
/// Exit codes: 0 for done, 1 if some input failed, 2 for a usage, key or model error. An interrupted `generate`, `eval`, `compare` or
/// `radioactive` exits with 130. A broken pipe is a quiet 0.
pub(crate) fn run() -> ExitCode {
    let cli: Cli = arguments().unwrap_or_else(|error| error.exit()); // with 2 on a usage error
    let result = dispatch(cli.command);
    let hint = result.as_ref().err().and_then(hints::of);
    let code = exit_code(result);
    if let Some(hint) = hint {
        say(&format!("hint: {hint}"));
    }
    code
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Demo(args) => demo::run(&args)?,
        Command::Keygen(args) => keys::keygen(&args)?,
        Command::Key(command) => run_key_command(&command)?,
        Command::Generate(args) => return generate::run(&args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => return serve::run(&args),
        Command::Verify(args) => return verify::run(&args),
        Command::Perplexity(args) => perplexity::run(&args)?,
        Command::Eval(args) => return eval::run(&args),
        Command::Compare(args) => return compare::run(&args),
        Command::Radioactive(args) => return radioactive::run(&args),
        Command::Inspect(args) => inspect::run(&args)?,
        Command::Quantize(args) => quantize::run(&args)?,
        Command::Train(args) => train::run(&args)?,
        Command::Distill(args) => distill::run(&args)?,
        Command::Bench(args) => bench::run(&args)?,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "wmgen", &mut script);
            print(&script)?;
        }
        Command::Schema(args) => schema::run(args)?,
        Command::Man { dir } => man_pages(Cli::command(), &dir)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the path of a hub model in the local hub cache (`HF_HUB_CACHE`, `HF_HOME` or `~/.cache/huggingface`).
fn hub_cache(id: &str) -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/huggingface"));
    let hub = match std::env::var_os("HF_HUB_CACHE") {
        Some(path) => PathBuf::from(path),
        None => std::env::var_os("HF_HOME").map(PathBuf::from).or_else(home)?.join("hub"),
    };
    let repo = hub.join(format!("models--{}", id.replace('/', "--")));
    let revision = std::fs::read_to_string(repo.join("refs/main")).ok()?;
    let snapshot = repo.join("snapshots").join(revision.trim());
    snapshot.join("config.json").exists().then_some(snapshot)
}
