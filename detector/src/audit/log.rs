//! Writes a log.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use sha2::{Digest, Sha256};
use wmdetect::shell::Hinted;
use wmdetect::timestamp::Timestamp;
use wmdetect::{Verdict, hex};

use super::chain;

/// The record of a judged text.
#[derive(Serialize)]
pub(crate) struct Entry<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) credential: &'a str,
    pub(crate) role: &'a str,
    /// SHA-256 of the log's salt and the text, from [`AuditLog::hash`].
    pub(crate) text_sha256: String,
    pub(crate) tokens: u64,
    /// What the caller was told.
    pub(crate) verdict: Verdict,
    pub(crate) log10_p: Option<f64>,
    pub(crate) fpr: f64,
    pub(crate) key_id: &'a str,
    /// Whether the answer was given before.
    pub(crate) repeated: bool,
}

/// The other records.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Record<'a> {
    /// The first record.
    Log {
        version: u32,
        salt: String,
    },
    /// A server opened the log, and cut off this many bytes of a line that an earlier server had not finished.
    Start {
        program: &'a str,
        cut_bytes: u64,
    },
    Text(&'a Entry<'a>),
}

#[derive(Serialize)]
struct Line<'a> {
    time: Timestamp,
    #[serde(flatten)]
    record: Record<'a>,
    previous: String,
}

/// A log that is open for writing. The file is locked, so nothing else writes to it.
#[derive(Debug)]
pub(crate) struct AuditLog {
    salt: Vec<u8>,
    end: Mutex<End>,
}

#[derive(Debug)]
struct End {
    file: File,
    /// SHA-256 of the last line.
    last: [u8; 32],
    /// Number of bytes in the whole lines.
    len: u64,
    /// Whether a part of a line may stand behind them.
    torn: bool,
    /// Whether some lines may not be on the disk yet.
    dirty: bool,
}

impl End {
    /// Cuts off what stands behind the whole lines.
    ///
    /// # Errors
    /// Returns an error if the system does not cut the file, such as one that may only grow.
    fn cut(&mut self) -> std::io::Result<()> {
        if self.torn {
            if self.file.metadata()?.len() != self.len {
                self.file.set_len(self.len)?;
            }
            self.torn = false;
        }
        Ok(())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // Closing the file does not unlock it if a program that was just started still has it open.
        let _ = self.file.unlock();
    }
}

impl AuditLog {
    /// Opens a log, or begins one that only its owner may read. A line that was not finished because its writer was
    /// killed is cut off, and the next line says so.
    ///
    /// # Errors
    /// Returns an error if the file cannot be opened, is in use, or has a line that does not fit.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let name = path.display();
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("cannot open the audit log {name}"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("the audit log {name} is in use: expected one server a log, found another at work")
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock the audit log {name}"));
            }
        }
        let read = chain::read(BufReader::new(&file))
            .with_context(|| format!("cannot read the audit log {name}"))?;
        if let Some(chain::Broken { line, reason }) = read.broken {
            let message = format!("the audit log {name} is broken at line {line}: {reason}");
            let hint = "keep the file as it is, so that the cause can be found, and name a new one";
            return Err(Hinted::new(message, hint).into());
        }
        if read.incomplete > 0 {
            file.set_len(read.len).with_context(|| format!("cannot cut the audit log {name}"))?;
        }
        let begun = read.salt.is_some();
        let salt = match read.salt {
            Some(salt) => salt,
            None => new_salt()?,
        };
        let end = End { file, last: read.last, len: read.len, torn: false, dirty: false };
        let log = Self { salt, end: Mutex::new(end) };
        if !begun {
            log.write(Record::Log { version: 1, salt: hex::encode(&log.salt) })?;
        }
        let program = concat!("wmdetect ", env!("CARGO_PKG_VERSION"));
        log.write(Record::Start { program, cut_bytes: read.incomplete })?;
        log.sync().with_context(|| format!("cannot write the audit log {name}"))?;
        Ok(log)
    }

    /// Returns the hash that stands for a text: SHA-256 of the log's salt and the text.
    pub(crate) fn hash(&self, text: &[u8]) -> String {
        hex::encode(&Sha256::new().chain_update(&self.salt).chain_update(text).finalize())
    }

    /// Adds a judged text.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written. It then ends with the line before, or with a part of this line
    /// that cannot be cut off. Nothing is written behind such a part: each later call first tries to cut it off.
    pub(crate) fn add(&self, entry: &Entry<'_>) -> Result<()> {
        self.write(Record::Text(entry))
    }

    fn write(&self, record: Record<'_>) -> Result<()> {
        let mut end = self.lock();
        end.cut().context("cannot cut half a line off the audit log")?;
        let line = Line { time: Timestamp::now(), record, previous: hex::encode(&end.last) };
        let mut line = serde_json::to_vec(&line)?;
        let last = Sha256::digest(&line).into();
        line.push(b'\n');
        if let Err(error) = end.file.write_all(&line) {
            // The disk may be full. Half a line would break the chain. If it cannot be cut off now, the next write
            // tries again.
            end.torn = true;
            let _ = end.cut();
            return Err(error).context("cannot write to the audit log");
        }
        end.len += line.len() as u64;
        end.last = last;
        end.dirty = true;
        Ok(())
    }

    /// Waits until the disk has all lines.
    ///
    /// # Errors
    /// Returns an error if it cannot store them.
    pub(crate) fn sync(&self) -> std::io::Result<()> {
        let file = {
            let mut end = self.lock();
            if !std::mem::take(&mut end.dirty) {
                return Ok(());
            }
            end.file.try_clone().inspect_err(|_| end.dirty = true)?
        };
        // Lines that are not on the disk are tried again.
        file.sync_data().inspect_err(|_| self.lock().dirty = true)
    }

    fn lock(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_salt() -> Result<Vec<u8>> {
    let mut salt = vec![0; 32];
    getrandom::fill(&mut salt).context("the system has no randomness for the audit log's salt")?;
    Ok(salt)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(log: &AuditLog, text: &str) -> Entry<'static> {
        Entry {
            request_id: "1-0",
            credential: "desk",
            role: "expert",
            text_sha256: log.hash(text.as_bytes()),
            tokens: 3,
            verdict: Verdict::TooShort,
            log10_p: None,
            fpr: 0.001,
            key_id: "00",
            repeated: false,
        }
    }

    fn read(path: &Path) -> chain::Read {
        chain::read(BufReader::new(File::open(path).unwrap())).unwrap()
    }

    #[test]
    fn nothing_is_written_behind_half_a_line_that_cannot_be_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let log = AuditLog::open(&path).unwrap();
        // Such a file can neither be written nor cut, like one that may only grow on a full disk.
        let read_only = File::open(&path).unwrap();
        let file = std::mem::replace(&mut log.lock().file, read_only);
        let mut half = OpenOptions::new().append(true).open(&path).unwrap();
        half.write_all(b"{\"time\":\"2026").unwrap();
        for expected in ["cannot write to the audit log", "cannot cut half a line"] {
            let error = log.add(&entry(&log, "words")).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(read(&path).incomplete, 13);
        log.lock().file = file;
        log.add(&entry(&log, "words")).unwrap();
        drop(log);
        let whole = read(&path);
        assert_eq!((whole.records, whole.texts, whole.incomplete, &whole.broken), (3, 1, 0, &None));
    }

    #[test]
    fn a_log_goes_on_after_its_writer_was_killed_and_shows_every_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let log = AuditLog::open(&path).unwrap();
        log.add(&entry(&log, "secret words")).unwrap();
        assert!(AuditLog::open(&path).unwrap_err().to_string().contains("in use"));
        let hash = log.hash(b"a");
        drop(log);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"time\":\"2026").unwrap();
        let log = AuditLog::open(&path).unwrap();
        assert_eq!(log.hash(b"a"), hash);
        log.add(&entry(&log, "secret words")).unwrap();
        drop(log);
        let whole = read(&path);
        assert_eq!((whole.records, whole.texts, &whole.broken), (5, 2, &None));
        let content = std::fs::read_to_string(&path).unwrap();
        assert!(content.contains("\"cut_bytes\":13") && !content.contains("secret"));

        let lines: Vec<&str> = content.lines().collect();
        let with = |lines: &[&str]| {
            std::fs::write(&path, lines.join("\n") + "\n").unwrap();
            read(&path).broken.map(|broken| broken.line)
        };
        let changed = lines[2].replace("too_short", "watermarked");
        assert_eq!(with(&[lines[0], lines[1], &changed, lines[3], lines[4]]), Some(4));
        assert_eq!(with(&[lines[0], lines[2], lines[3], lines[4]]), Some(2));
        assert_eq!(with(&lines[1..]), Some(1));
        assert_eq!(with(&[lines[0], lines[1], "x"]), Some(3));
        assert!(AuditLog::open(&path).unwrap_err().to_string().contains("broken at line 3"));
    }
}
