//! Results that are stored as they come, so that an interrupted run continues from there.
//!
//! The file has JSON lines. The first binds the file to what the results depend on: seed, keys, texts and the like.
//! Each further line is the result of one text, one edit and one length. The edits, lengths and rates of a run are not
//! bound, since a result does not depend on the others. Errors are not stored: what failed is tried again.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, anyhow, bail};
use serde::Serialize;
use serde_json::{Map, Value};
use wmdetect::atomic_file;
use wmdetect::shell::{Hinted, Json};

use super::texts::Side;

/// The result of one edited text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Judged {
    pub log10_p: Option<f64>,
    pub words_kept: Option<f64>,
}

/// The text, edit and length of a result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub side: Side,
    /// The number of the text on its side.
    pub text: usize,
    /// The edit with its rate; for a program, also the command.
    pub edit: String,
    /// The length in tokens.
    pub length: u64,
}

/// A line of the file.
#[derive(Serialize)]
struct Line<'a> {
    side: &'a str,
    text: usize,
    edit: &'a str,
    length: u64,
    log10_p: Option<f64>,
    words_kept: Option<f64>,
}

/// A file of results, open for more of them.
#[derive(Debug)]
pub(super) struct Checkpoint {
    known: HashMap<Place, Judged>,
    file: Mutex<Locked>,
}

/// A file that only this run uses. Its lock is released even if a program that an edit has just started still has the
/// file open.
#[derive(Debug)]
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        // If that fails, closing the file releases the lock.
        let _ = self.0.unlock();
    }
}

impl Checkpoint {
    /// Opens the file of an earlier run with the same header, or makes one. A half-written line at its end is removed.
    pub(super) fn open(path: &Path, header: &Map<String, Value>) -> Result<Self> {
        let what = || format!("cannot use the checkpoint {}", path.display());
        if path.metadata().map_or(true, |file| file.is_file() && file.len() == 0) {
            let line = format!("{{\"schema_version\":1,\"attack\":{}}}\n", serde_json::to_string(header)?);
            atomic_file::write(path, line.as_bytes()).with_context(what)?;
        }
        let file = OpenOptions::new().read(true).write(true).open(path).with_context(what)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            bail!("{}: expected it for this run alone, found that another run has it open", what());
        }
        let mut locked = Locked(file);
        let file = &mut locked.0;
        let mut text = Vec::new();
        file.read_to_end(&mut text).with_context(what)?;
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        let not_ours = || {
            Hinted::new(
                format!("{}: expected a checkpoint of `wmdetect attack`, found another file", what()),
                "--checkpoint with the name of a new file makes one",
            )
        };
        let text = std::str::from_utf8(&text[..whole]).map_err(|_| not_ours())?;
        let (first, results) = text.split_once('\n').ok_or_else(not_ours)?;
        let earlier: Value = serde_json::from_str(first).map_err(|_| not_ours())?;
        let earlier = earlier["attack"].as_object().ok_or_else(not_ours)?;
        if let Some(difference) = difference(header, earlier) {
            bail!(Hinted::new(
                format!("{}: {difference}", what()),
                "name another file with --checkpoint, or give the options and the texts of the earlier run",
            ));
        }
        let mut known = HashMap::new();
        for (number, line) in results.lines().enumerate() {
            let (place, judged) = result(line).ok_or_else(|| {
                anyhow!("{}: expected a result in line {}, found {line:?}", what(), number + 2)
            })?;
            known.insert(place, judged);
        }
        file.set_len(whole as u64).and_then(|()| file.seek(SeekFrom::End(0))).with_context(what)?;
        Ok(Self { known, file: Mutex::new(locked) })
    }

    /// Returns the result of an earlier run.
    pub(super) fn get(&self, place: &Place) -> Option<Judged> {
        self.known.get(place).copied()
    }

    /// Stores a result.
    pub(super) fn keep(&self, place: &Place, judged: Judged) -> io::Result<()> {
        let line = Line {
            side: place.side.name(),
            text: place.text,
            edit: &place.edit,
            length: place.length,
            log10_p: judged.log10_p,
            words_kept: judged.words_kept,
        };
        let mut line = serde_json::to_vec(&line)?;
        line.push(b'\n');
        self.file.lock().unwrap_or_else(PoisonError::into_inner).0.write_all(&line)
    }
}

/// Returns what differs between this run and the earlier one.
fn difference(here: &Map<String, Value>, earlier: &Map<String, Value>) -> Option<String> {
    let (name, expected) = here.iter().find(|(name, value)| earlier.get(*name) != Some(value))?;
    let found = earlier.get(name).unwrap_or(&Value::Null);
    Some(format!("it is of another run; {name}: expected {expected}, found {found}"))
}

/// Reads a line. Numbers are read digit by digit, so that a result is the same as when it was written.
fn result(line: &str) -> Option<(Place, Judged)> {
    let line = Json::parse(line).ok()?;
    let number = |name: &str| {
        let value = line.get(name)?;
        if value.kind() == "null" { Some(None) } else { value.as_written().parse::<f64>().ok().map(Some) }
    };
    let name = line.get("side")?.string()?;
    let place = Place {
        side: Side::ALL.into_iter().find(|side| side.name() == name)?,
        text: line.get("text")?.as_written().parse().ok()?,
        edit: line.get("edit")?.string()?.into_owned(),
        length: line.get("length")?.as_written().parse().ok()?,
    };
    Some((place, Judged { log10_p: number("log10_p")?, words_kept: number("words_kept")? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(seed: u64) -> Map<String, Value> {
        let Value::Object(header) = serde_json::json!({ "seed": seed, "key_ids": ["ab"] }) else {
            panic!("object")
        };
        header
    }

    fn place(text: usize) -> Place {
        Place { side: Side::Human, text, edit: "program \"mt\": a b".into(), length: 64 }
    }

    #[test]
    fn results_are_read_as_they_were_written_and_a_torn_line_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let results: Vec<Judged> = (0..200)
            .map(|i| Judged { log10_p: Some(-1.0 / f64::from(i + 3)), words_kept: Some(f64::from(i) / 7.0) })
            .chain([Judged { log10_p: None, words_kept: None }])
            .collect();
        let first = Checkpoint::open(&path, &header(1)).unwrap();
        for (number, &judged) in results.iter().enumerate() {
            first.keep(&place(number), judged).unwrap();
        }
        assert_eq!(first.get(&place(0)), None);
        let error = Checkpoint::open(&path, &header(1)).unwrap_err().to_string();
        assert!(error.ends_with("found that another run has it open"), "{error}");
        drop(first);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"{\"side\":\"human\",\"te"].concat()).unwrap();
        let again = Checkpoint::open(&path, &header(1)).unwrap();
        for (number, &judged) in results.iter().enumerate() {
            assert_eq!(again.get(&place(number)), Some(judged));
        }
        again.keep(&place(999), results[0]).unwrap();
        drop(again);
        assert!(std::fs::read(&path).unwrap().starts_with(&whole));
        assert_eq!(Checkpoint::open(&path, &header(1)).unwrap().get(&place(999)), Some(results[0]));
    }

    #[test]
    fn another_run_and_another_file_are_refused_and_stay_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        drop(Checkpoint::open(&path, &header(1)).unwrap());
        let refused = |expected: &str| {
            let before = std::fs::read(&path).unwrap();
            let error = Checkpoint::open(&path, &header(2)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), before);
        };
        refused("it is of another run; seed: expected 2, found 1");
        for other in ["text", "text\n", "{}\n", "[1]\nx"] {
            std::fs::write(&path, other).unwrap();
            refused("expected a checkpoint of `wmdetect attack`, found another file");
        }
        std::fs::write(&path, "").unwrap();
        drop(Checkpoint::open(&path, &header(2)).unwrap());
        std::fs::write(&path, [std::fs::read(&path).unwrap(), b"{\"side\":\"dark\"}\n".to_vec()].concat())
            .unwrap();
        refused("expected a result in line 2, found \"{\\\"side");
    }
}
