//! What the programs `wmdetect` and `wmgen` share at their edges: exit codes, standard output and error, input texts,
//! and the cache of vocabularies.
//!
//! Not part of the library's promise: the feature `shell` is for these two programs.

mod arguments;
mod batch;
mod content;
mod interrupt;
mod json;
mod json_lines;
mod key_command;
mod keys;
mod open;
pub mod outputs;
mod progress;
mod schema;
mod text_args;
mod texts;

use std::error::Error;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::cache::Cache;
use crate::detect::DetectError;
use crate::key_directory::KeyDirectoryError;
use crate::scheme::KeyError;
#[cfg(feature = "sign")]
use crate::signed::JwkError;
use crate::text::{TextError, Tokenizer};

pub use arguments::{arguments, man_pages};
pub use batch::Batch;
pub use progress::{ProgressLine, about};

pub use crate::one_line::OneLine;
pub use content::{Content, InputError, Label, Source};
pub use interrupt::{INTERRUPTED, stop_when_asked};
pub use json::Json;
pub use json_lines::Lines;
pub use key_command::{CompatScheme, KeyCommand, ShownKey, run_key_command};
#[cfg(feature = "sign")]
pub use keys::read_signing_key;
pub use keys::{read_key, read_key_directory, read_keyring};
pub use open::NotText;
use outputs::OutputError;
pub use schema::{SchemaArgs, print_schema};
pub use text_args::TextArgs;
pub use texts::{Layout, for_each, for_each_object, read_text};

/// Returns the exit code of a program that ended with `result`. An error is written to standard error and gives code 2.
/// It is not an error if the reader of standard output has left.
pub fn exit_code(result: Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {}", message(&error)));
            if let Some(hint) = error.chain().find_map(hint) {
                say(&format!("hint: {hint}"));
            }
            ExitCode::from(2)
        }
    }
}

/// Returns 1 if an input failed, else 3 if `absent`: no text has what was looked for, and the caller asked to be told.
pub fn verdict_code(failed: bool, absent: bool) -> ExitCode {
    ExitCode::from(match (failed, absent) {
        (true, _) => 1,
        (false, true) => 3,
        (false, false) => 0,
    })
}

/// An error with a hint, which is written on the next line.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Hinted {
    message: String,
    hint: String,
}

impl Hinted {
    /// Makes an error from what failed and what to do about it.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

/// Returns an error with its causes, each only once: many errors name their cause in their own sentence.
pub fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if message.is_empty() {
            message = cause;
        } else if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

/// Reads a rate: a share such as `0.001`, or a percentage such as `0.1%`.
///
/// # Errors
/// Returns an error if the text is neither: a sentence.
pub fn rate(text: &str) -> Result<f64, String> {
    let (number, percent) = match text.strip_suffix('%') {
        Some(number) => (number.trim_end(), true),
        None => (text, false),
    };
    match number.parse::<f64>() {
        Ok(rate) if percent => Ok(rate / 100.0),
        Ok(rate) => Ok(rate),
        Err(_) => Err("expected a share such as 0.001 or a percentage such as 0.1%".into()),
    }
}

/// Returns what a user of the programs can do about an error.
fn hint<'e>(cause: &'e (dyn Error + 'static)) -> Option<&'e str> {
    if let Some(Hinted { hint, .. }) = cause.downcast_ref() {
        return Some(hint);
    }
    if let Some(OutputError::Foreign { .. } | OutputError::Exists { .. }) = cause.downcast_ref() {
        return Some("--force replaces the file");
    }
    if let Some(OutputError::Dash { .. }) = cause.downcast_ref() {
        return Some("./- is a file of that name, and /dev/stdout is standard output");
    }
    #[cfg(feature = "sign")]
    match cause.downcast_ref::<JwkError>() {
        Some(JwkError::Key(KeyError::Exists { .. })) => return Some("--force overwrites the file"),
        Some(JwkError::Unreadable { .. } | JwkError::Other { .. }) => {
            return Some(
                "`wmdetect report keygen FILE` makes a key that signs, and `wmdetect report key FILE` prints its public key",
            );
        }
        _ => {}
    }
    let key = match cause.downcast_ref::<DetectError>() {
        Some(DetectError::EmptyKeyring { .. }) => return Some("`wmgen keygen DIR/k.bin` puts a key into it"),
        Some(DetectError::Key(error)) => Some(error),
        Some(DetectError::KeyDirectory(error)) => return directory_hint(error),
        _ => match cause.downcast_ref::<KeyDirectoryError>() {
            Some(KeyDirectoryError::Key(error)) => Some(error),
            Some(error) => return directory_hint(error),
            None => cause.downcast_ref::<KeyError>(),
        },
    };
    match key? {
        KeyError::Missing { .. } | KeyError::NotAKey { .. } => Some(
            "a text is found only with the key that marked it; to mark new texts, `wmgen keygen FILE` makes a key",
        ),
        KeyError::Directory { .. } => Some(
            "name a key file; --keyring of wmdetect and wmgen verify, and --key of wmgen serve, take a directory",
        ),
        KeyError::RawInKeyring { .. } => {
            Some("name the file KEY.bin if it is a key, else move it out of the directory")
        }
        KeyError::Exists { .. } => Some("--force overwrites the file"),
        KeyError::NotDerivable { .. } => Some("`wmgen keygen FILE` makes a master"),
        _ => None,
    }
}

/// Returns what a user can do about a directory of keys.
fn directory_hint(error: &KeyDirectoryError) -> Option<&'static str> {
    match error {
        KeyDirectoryError::Empty { .. } => Some("`wmgen keygen DIR/k.bin` puts a key into it"),
        KeyDirectoryError::NotAFile { .. } => Some(
            "put all key files into the one directory, under names such as acme-2026-12.bin, or list in keys.toml those that count",
        ),
        KeyDirectoryError::Unlisted { .. } => {
            Some("add the file to the list, with the status retired if it marks no texts, or move it away")
        }
        KeyDirectoryError::OtherId { .. } => {
            Some("`wmgen key show FILE`, or `wmdetect key show FILE`, says a key's id")
        }
        KeyDirectoryError::NoneActive { .. } => {
            Some("make a key for now, add it to keys.toml, or correct the dates there")
        }
        KeyDirectoryError::SeveralActive { .. } => {
            Some("give each a not_before in keys.toml, or the status retired to all but one")
        }
        _ => None,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_it = |error: &io::Error| error.kind() == ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(is_it))
}

/// Writes a line to standard error. Nothing in it controls the terminal, even if others chose the names in it.
pub fn say(line: &str) {
    // If standard error is gone, there is nobody to tell.
    let _ = writeln!(io::stderr(), "{}", OneLine(line));
}

/// Writes bytes to standard output and flushes it, so that a reader of the pipe need not wait for the next text.
///
/// # Errors
/// Returns an error if the system does; it says that standard output was meant.
pub fn print(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|error| io::Error::new(error.kind(), format!("cannot write to standard output: {error}")))
}

/// Prints a value as a line of JSON.
///
/// # Errors
/// Returns an error if [`print`] would.
pub fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(print(&line)?)
}

/// Returns what is at `path` if it is there and is not a regular file. A pipe or a device may have no end.
pub fn other_than_a_file(path: &Path) -> Option<&'static str> {
    let file = path.metadata().ok().filter(|file| !file.is_file())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        if file.file_type().is_fifo() {
            return Some("a pipe");
        }
        if file.file_type().is_socket() {
            return Some("a socket");
        }
    }
    Some(if file.is_dir() { "a directory" } else { "a device" })
}

/// Returns whether a path is the name `default`, which stands for the model that ships with wmgen. A file or directory
/// of that name is `./default`.
pub fn is_default(path: &Path) -> bool {
    // As a path it would equal `default/`, which is a directory.
    path.as_os_str() == "default"
}

/// Opens a tokenizer with the user's cache of vocabularies. `default` is that of the model that ships with wmgen; see
/// [`is_default`].
///
/// # Errors
/// Returns an error if [`Tokenizer::open`] would.
pub fn open_tokenizer(path: impl AsRef<Path>) -> Result<Tokenizer, TextError> {
    if is_default(path.as_ref()) {
        return Ok(Tokenizer::of_default_model());
    }
    Tokenizer::open_with_cache(path, Cache::of_user().as_ref())
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn rates_are_shares_or_percentages() {
        assert_eq!(
            ["0.05", "5%", "5 %", "1e-3", "0.1%"].map(|text| rate(text).unwrap()),
            [0.05, 0.05, 0.05, 1e-3, 0.001]
        );
        for text in ["", "%", "five", "5%%", "1/100"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_cause_is_said_once() {
        let cause = || io::Error::from(ErrorKind::NotFound);
        let within = KeyError::Read { path: "k.bin".into(), source: cause() };
        assert_eq!(message(&within.into()), format!("cannot read k.bin: {}", cause()));
        let outside = anyhow::Error::new(cause()).context("cannot read k.bin");
        assert_eq!(message(&outside), format!("cannot read k.bin: {}", cause()));
    }

    #[test]
    fn a_reader_that_left_is_not_an_error() {
        let broken = io::Error::from(ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&anyhow::Error::new(broken).context("cannot print")));
        assert!(!is_broken_pipe(&io::Error::from(ErrorKind::NotFound).into()));
        assert!(!is_broken_pipe(&anyhow!("BrokenPipe")));
    }
}
