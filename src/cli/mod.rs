//! The program: one file a command. Results go to standard output, everything else to standard error.

mod args;
mod bench;
mod demo;
mod generate;
mod inspect;
mod keys;
mod model;
mod perplexity;
mod quantize;
mod receipts;
mod train;
mod verify;

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};

use args::{Cli, Command};

/// Runs the program on the process's arguments.
///
/// Exit codes: 0 done, 1 some input failed, 2 usage, key or model error; a broken pipe is a quiet 0.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse(); // exits with 2 on a usage error
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Demo(args) => demo::run(&args)?,
        Command::Keygen(args) => keys::keygen(&args)?,
        Command::Key(command) => keys::key(&command)?,
        Command::Generate(args) => return generate::run(&args),
        Command::Verify(args) => return verify::run(&args),
        Command::Perplexity(args) => perplexity::run(&args)?,
        Command::Inspect(args) => inspect::run(&args)?,
        Command::Quantize(args) => quantize::run(&args)?,
        Command::Train(args) => train::run(&args)?,
        Command::Bench(args) => bench::run(&args)?,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "wmgen", &mut script);
            print(&script)?;
        }
        Command::Man { dir } => {
            clap_mangen::generate_to(Cli::command(), &dir)
                .with_context(|| format!("cannot write man pages into {}", dir.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A line on standard error.
fn say(line: &str) {
    // Where standard error is gone there is nobody to tell.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Bytes on standard output, at once.
fn print(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(print(&line)?)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe))
}

/// A text file, or standard input for `-`. Refuses what is not UTF-8.
fn read_text(path: &Path) -> Result<String> {
    let (bytes, name) = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::stdin().lock(), &mut bytes).context("cannot read standard input")?;
        (bytes, "standard input".to_owned())
    } else {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        (bytes, path.display().to_string())
    };
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        anyhow::anyhow!(
            "{name} is not UTF-8 text (first bad byte at {at}); convert it, for instance with iconv"
        )
    })
}

/// The path of a hub model in the local hub cache (`HF_HUB_CACHE`, `HF_HOME` or `~/.cache/huggingface`).
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
