//! A log of results, one JSON line each, from which a later run resumes.
//!
//! Its first line binds it to what the results depend on: `{"schema_version": 1, NAME: {...}}`.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use serde_json::{Map, Value};
use wmdetect::shell::{self, Hinted};

/// What a log holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// What its lines are called.
    pub what: &'static str,
    /// The command that writes it, which is also the member name in its first line.
    pub command: &'static str,
    /// The option that names it.
    pub option: &'static str,
}

/// A log that only this run writes.
#[derive(Debug)]
pub(super) struct LineLog {
    kind: Kind,
    path: PathBuf,
    file: File,
}

/// What an earlier run wrote, without a half-written last line.
pub(super) struct Earlier {
    pub header: Map<String, Value>,
    /// The lines after the first. The first of them is line 2 of the file.
    pub lines: String,
}

impl Kind {
    fn cannot(self, path: &Path) -> String {
        format!("cannot use the {} {}", self.what, path.display())
    }

    fn hint(self) -> String {
        format!("{} with the name of a new file makes one", self.option)
    }

    /// Checks that what is at this path, if anything, can be a log. Whether a file can be created shows when it is
    /// created.
    pub(super) fn check(self, path: &Path) -> Result<()> {
        let Some(found) = shell::other_than_a_file(path) else { return Ok(()) };
        let message = format!("{}: expected a regular file, found {found}", self.cannot(path));
        bail!(Hinted::new(message, self.hint()))
    }

    /// Opens the log of an earlier run, or creates one with this header. A half-written last line is removed. The caller must
    /// check that the earlier header matches this run.
    pub(super) fn open(self, path: &Path, header: &Map<String, Value>) -> Result<(LineLog, Earlier)> {
        self.check(path)?;
        let what = || self.cannot(path);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).with_context(what)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            bail!("{}: expected it for this run alone, found that another run has it open", what());
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).with_context(what)?;
        // A new file is empty, and one of a run that was killed at its start has a part of this line. It is written under the
        // lock, so that two runs cannot both begin the file.
        let line =
            format!("{{\"schema_version\":1,\"{}\":{}}}\n", self.command, serde_json::to_string(header)?);
        if let Some(rest) = line.as_bytes().strip_prefix(text.as_slice()).filter(|rest| !rest.is_empty()) {
            file.write_all(rest).and_then(|()| file.sync_all()).with_context(what)?;
            text.extend_from_slice(rest);
        }
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        let not_ours = || {
            Hinted::new(
                format!("{}: expected {} of `wmgen {}`, found another file", what(), self.what, self.command),
                self.hint(),
            )
        };
        let text = std::str::from_utf8(&text[..whole]).map_err(|_| not_ours())?;
        let (first, lines) = text.split_once('\n').ok_or_else(not_ours)?;
        let earlier: Value = serde_json::from_str(first).map_err(|_| not_ours())?;
        if earlier["schema_version"] != 1 {
            let found = &earlier["schema_version"];
            bail!(Hinted::new(
                format!("{}: line 1: expected 1 as schema_version, found {found}", what()),
                self.hint(),
            ));
        }
        let earlier = earlier[self.command].as_object().ok_or_else(not_ours)?.clone();
        file.set_len(whole as u64).and_then(|()| file.seek(SeekFrom::End(0))).with_context(what)?;
        let lines = lines.to_owned();
        Ok((LineLog { kind: self, path: path.to_owned(), file }, Earlier { header: earlier, lines }))
    }
}

impl LineLog {
    /// Appends a result.
    pub(super) fn append(&mut self, line: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(line)?;
        line.push(b'\n');
        let written = self.file.write_all(&line);
        written.with_context(|| format!("cannot write the {} {}", self.kind.what, self.path.display()))
    }
}

/// Returns a header in the form in which it is read again, for comparison with an earlier one.
pub(super) fn as_read(header: &Map<String, Value>) -> Result<Map<String, Value>> {
    Ok(serde_json::from_str(&serde_json::to_string(header)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_written_by_the_run_that_holds_the_lock() {
        let kind = Kind { what: "samples", command: "eval", option: "--samples" };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let header = Map::from_iter([("seed".to_owned(), 1.into())]);
        let open = || kind.open(&path, &header);
        let read = || std::fs::read_to_string(&path).unwrap();
        // Another run has made the file and not yet written to it.
        let other = File::create(&path).unwrap();
        other.try_lock().unwrap();
        let error = open().err().unwrap().to_string();
        assert!(error.ends_with("found that another run has it open"), "{error}");
        assert_eq!(read(), "");
        // A program that another test is starting may hold the file open for a moment longer.
        other.unlock().unwrap();
        // It was killed before it wrote the line, or in the middle of it.
        let first = "{\"schema_version\":1,\"eval\":{\"seed\":1}}\n";
        for part in ["", &first[..9], first] {
            std::fs::write(&path, part).unwrap();
            let (mut log, earlier) = open().unwrap();
            assert_eq!((earlier.header, earlier.lines.as_str()), (header.clone(), ""));
            log.append(&1).unwrap();
            assert_eq!(read(), format!("{first}1\n"));
            log.file.unlock().unwrap();
        }
        assert_eq!(open().unwrap().1.lines, "1\n");
    }
}
