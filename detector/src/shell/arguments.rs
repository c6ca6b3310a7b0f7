//! Reads the process's arguments, and writes the pages about the commands.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Context as _;
use clap::{Command, Error, Parser};

use crate::atomic_file;
use crate::one_line::OneLine;

/// Reads the process's arguments.
///
/// # Errors
/// Returns an error if clap does, which is also how it answers `--help` and `--version`. Nothing in the error controls
/// a terminal.
pub fn arguments<P: Parser>() -> Result<P, Error> {
    let parsed = |arguments: Vec<OsString>| {
        let mut matches = negative_values(P::command()).try_get_matches_from(arguments)?;
        P::from_arg_matches_mut(&mut matches)
    };
    parsed(std::env::args_os().collect()).map_err(|error| {
        // The same error, about arguments that are safe to show.
        let shown =
            std::env::args_os().map(|argument| OneLine(&argument.to_string_lossy()).to_string().into());
        parsed(shown.collect()).err().unwrap_or(error)
    })
}

/// Lets `-1` be the value of any option. Clap would take it for a flag, but the option's message says what it expects.
fn negative_values(command: Command) -> Command {
    let options = command.mut_args(|arg| {
        let takes_number = !arg.is_positional() && arg.get_action().takes_values();
        if takes_number { arg.allow_negative_numbers(true) } else { arg }
    });
    options.mut_subcommands(negative_values)
}

/// Writes the man pages of a program and of its commands into a directory, each whole.
///
/// # Errors
/// Returns an error if a page cannot be written.
pub fn man_pages(program: Command, dir: &Path) -> anyhow::Result<()> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    pages(&program, dir)
}

fn pages(command: &Command, dir: &Path) -> anyhow::Result<()> {
    for subcommand in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        pages(subcommand, dir)?;
    }
    let page = clap_mangen::Man::new(command.clone());
    let (path, mut roff) = (dir.join(page.get_filename()), Vec::new());
    page.render(&mut roff)?;
    atomic_file::write(&path, &roff).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, CommandFactory, FromArgMatches, Subcommand};

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        command: Commands,
    }

    #[derive(Subcommand)]
    enum Commands {
        Draw(Draw),
    }

    #[derive(Args)]
    struct Draw {
        #[arg(long)]
        temperature: f64,
        #[arg(short)]
        n: usize,
    }

    #[test]
    fn a_negative_number_is_a_value_and_no_flag() {
        let parse = |n: &str| {
            let arguments = ["wm", "draw", "--temperature", "-0.5", "-n", n];
            let mut matches = negative_values(Cli::command()).try_get_matches_from(arguments)?;
            Cli::from_arg_matches_mut(&mut matches)
        };
        let Commands::Draw(draw) = parse("2").unwrap().command;
        assert_eq!((draw.temperature, draw.n), (-0.5, 2));
        let message = parse("-2").err().unwrap().to_string();
        assert!(message.starts_with("error: invalid value '-2' for '-n <N>'"), "{message}");
    }
}
