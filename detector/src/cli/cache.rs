//! `wmdetect cache`.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use schemars::JsonSchema;
use serde::Serialize;
use wmdetect::Cache;
use wmdetect::counted::counted;
use wmdetect::report::SCHEMA_VERSION;
use wmdetect::shell::OneLine;

use super::args::CacheCommand;
use super::{print, print_json};

/// The output of `wmdetect cache show --json`.
#[derive(Serialize, JsonSchema)]
pub(super) struct CacheReport {
    /// [`SCHEMA_VERSION`].
    schema_version: u32,
    /// The directory; it need not exist.
    directory: String,
    /// Why the cache is not used; null if it is used.
    not_used: Option<String>,
    /// Number of bytes of all entries.
    bytes: u64,
    /// The entries, the last used first.
    entries: Vec<EntryReport>,
}

#[derive(Serialize, JsonSchema)]
struct EntryReport {
    name: String,
    /// `vocabulary` or `law`.
    kind: &'static str,
    bytes: u64,
    /// Whole days since it was last used.
    unused_days: u64,
}

pub(super) fn run(command: &CacheCommand) -> Result<ExitCode> {
    let Some(cache) = Cache::of_user() else {
        bail!(
            "there is no cache: WMDETECT_CACHE is empty, or the user has no cache directory; expected the variable to name a \
             directory"
        )
    };
    let dir = cache.dir().display().to_string();
    match command {
        CacheCommand::Show { json } => {
            let report = show(&cache, dir)?;
            if *json {
                print_json(&report)?;
            } else {
                print(for_people(&report).as_bytes())?;
            }
        }
        CacheCommand::Clear => {
            let removed = cache.clear().with_context(|| format!("cannot clear {dir}"))?;
            let bytes: u64 = removed.iter().map(|entry| entry.bytes).sum();
            let files = counted(removed.len() as u64, "file");
            let line = format!("{files}, {}, removed from {}\n", size(bytes), OneLine(&dir));
            print(line.as_bytes())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(cache: &Cache, directory: String) -> Result<CacheReport> {
    let entries = cache.entries().with_context(|| format!("cannot read {directory}"))?;
    let now = SystemTime::now();
    let days = |used| now.duration_since(used).map_or(0, |age| age.as_secs() / (24 * 60 * 60));
    Ok(CacheReport {
        schema_version: SCHEMA_VERSION,
        directory,
        not_used: cache.distrust(),
        bytes: entries.iter().map(|entry| entry.bytes).sum(),
        entries: entries
            .into_iter()
            .map(|entry| EntryReport {
                name: entry.name,
                kind: entry.kind.name(),
                bytes: entry.bytes,
                unused_days: days(entry.used),
            })
            .collect(),
    })
}

fn for_people(report: &CacheReport) -> String {
    let files = counted(report.entries.len() as u64, "file");
    let mut text = format!("{}: {files}, {}\n", OneLine(&report.directory), size(report.bytes));
    if let Some(why) = &report.not_used {
        let _ = writeln!(text, "nothing in it is used: {}", OneLine(why));
    }
    for entry in &report.entries {
        // We made the name: a kind and 64 digits.
        let name = &entry.name[..entry.kind.len() + 9];
        let (size, days) = (size(entry.bytes), counted(entry.unused_days, "day"));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<20} {size:>10}  unused for {days}");
    }
    text
}

fn size(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
