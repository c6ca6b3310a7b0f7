//! The audit log of `wmdetect serve`: JSON lines, each with the SHA-256 of the line before it.
//!
//! | file | what |
//! |---|---|
//! | `chain` | reads a log and checks that its lines follow each other |
//! | `log` | writes a log |
//!
//! The first line has the salt of the hashes of the texts. A line that was changed, removed or added in the middle breaks
//! the chain at the next line. Lines that were cut off at the end do not: keep the hash of the last line, which
//! `wmdetect audit verify` prints, in another place to see that too.

mod chain;
#[cfg(feature = "serve")]
mod log;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use schemars::JsonSchema;
use serde::Serialize;
use wmdetect::counted::counted;
use wmdetect::report::SCHEMA_VERSION;
use wmdetect::shell::{OneLine, print, print_json};

#[cfg(feature = "serve")]
pub(crate) use log::{AuditLog, Entry};

/// Runs `wmdetect audit verify`.
pub(crate) fn run(file: &Path, json: bool) -> Result<ExitCode> {
    let path = file.display().to_string();
    let verified = verify(file).with_context(|| format!("cannot read the audit log {path}"))?;
    if json {
        print_json(&verified)?;
    } else {
        print(people(&path, &verified).as_bytes())?;
    }
    Ok(if verified.broken.is_none() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The output of `wmdetect audit verify --json`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Verified {
    /// Version of this object, 1.
    schema_version: u32,
    /// Lines.
    records: u64,
    /// Lines about texts.
    texts: u64,
    /// Time of the first line; null without one.
    first_time: Option<String>,
    /// Time of the last line; null without one.
    last_time: Option<String>,
    /// SHA-256 of the last line; null without one.
    last_sha256: Option<String>,
    /// Bytes after the last line end.
    incomplete_bytes: u64,
    /// First line that does not fit; null if all do.
    broken: Option<chain::Broken>,
}

fn verify(file: &Path) -> std::io::Result<Verified> {
    let chain::Read { records, texts, first_time, last_time, last, incomplete, broken, .. } =
        chain::read(BufReader::new(File::open(file)?))?;
    Ok(Verified {
        schema_version: SCHEMA_VERSION,
        records,
        texts,
        first_time,
        last_time,
        last_sha256: (records > 0).then(|| wmdetect::hex::encode(&last)),
        incomplete_bytes: incomplete,
        broken,
    })
}

fn people(path: &str, verified: &Verified) -> String {
    let path = OneLine(path);
    let mut text = match (&verified.first_time, &verified.last_time) {
        (Some(first), Some(last)) => format!(
            "{path}: {} ({}) from {first} to {last}\n  the last record's SHA-256 is {}\n",
            counted(verified.records, "record"),
            counted(verified.texts, "text"),
            verified.last_sha256.as_deref().unwrap_or_default()
        ),
        _ => format!("{path}: no records\n"),
    };
    if let Some(broken) = &verified.broken {
        let chain::Broken { line, reason } = broken;
        text = format!("{path}: broken at line {line}: {reason}\n  before it: {text}");
    } else if verified.incomplete_bytes > 0 {
        let bytes = counted(verified.incomplete_bytes, "byte");
        text = format!(
            "{text}  {bytes} at the end are not a whole line: the writer was killed, or is writing\n"
        );
    }
    text
}
