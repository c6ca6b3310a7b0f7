//! Reads a log and checks that its lines follow each other.

use std::io::{self, BufRead, Read as _};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wmdetect::hex;

/// The hash that stands for a line before the first.
pub(super) const START: [u8; 32] = [0; 32];
/// Length of the longest line, including its end.
pub(super) const LONGEST: u64 = 64 << 10;

/// The fields that every record has.
#[derive(Deserialize)]
struct Head {
    kind: String,
    time: String,
    previous: String,
    salt: Option<String>,
}

/// A line that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Broken {
    /// Its number, from 1.
    pub line: u64,
    /// What was expected and found.
    pub reason: String,
}

/// The part of a log that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// Number of lines that follow each other.
    pub records: u64,
    /// Records that are about a text.
    pub texts: u64,
    pub first_time: Option<String>,
    pub last_time: Option<String>,
    /// The salt of the first line.
    pub salt: Option<Vec<u8>>,
    /// SHA-256 of the last line.
    pub last: [u8; 32],
    /// Number of bytes in all these lines.
    pub len: u64,
    /// Number of bytes after them without a line end: a line that was being written.
    pub incomplete: u64,
    /// The first line that does not fit; nothing after it was read.
    pub broken: Option<Broken>,
}

/// Reads a log to its end, or to the first line that does not fit.
///
/// # Errors
/// Returns an error if the file cannot be read.
pub(super) fn read(mut log: impl BufRead) -> io::Result<Read> {
    let mut read = Read { last: START, ..Read::default() };
    let mut line = Vec::new();
    loop {
        line.clear();
        let len = log.by_ref().take(LONGEST).read_until(b'\n', &mut line)? as u64;
        if len == 0 {
            return Ok(read);
        }
        if line.last() != Some(&b'\n') && len < LONGEST {
            read.incomplete = len;
            return Ok(read);
        }
        line.pop();
        match check(&line, &read) {
            Ok(head) => {
                read.texts += u64::from(head.kind == "text");
                read.first_time.get_or_insert_with(|| head.time.clone());
                read.last_time = Some(head.time);
                if read.records == 0 {
                    read.salt = head.salt.as_deref().and_then(hex::decode);
                }
                read.records += 1;
                read.last = Sha256::digest(&line).into();
                read.len += len;
            }
            Err(reason) => {
                read.broken = Some(Broken { line: read.records + 1, reason });
                return Ok(read);
            }
        }
    }
}

/// Returns the head of a record that follows what was `read`.
fn check(line: &[u8], read: &Read) -> Result<Head, String> {
    if line.len() as u64 >= LONGEST - 1 {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    let head: Head = serde_json::from_slice(line).map_err(|error| format!("expected a record: {error}"))?;
    let expected = hex::encode(&read.last);
    if head.previous != expected {
        let before = if read.records == 0 { "the start of a log" } else { "the line before it" };
        return Err(format!(
            "it does not follow {before}: expected the hash {expected}, found {}",
            head.previous
        ));
    }
    if read.records == 0 && (head.kind != "log" || head.salt.is_none()) {
        return Err("expected the record that begins a log, of kind \"log\" with a salt".into());
    }
    Ok(head)
}
