//! Results that are kept as they come: the log of a run, and what it goes on from.
//!
//! The first line binds the file to what the results depend on. Each further line is a document in one run. How many documents
//! are asked for is not bound.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use serde::Serialize;
use serde_json::{Map, Value};
use wmdetect::atomic_file;
use wmdetect::shell::{Hinted, Json};
use wmgen::eval::judge::Scores;

/// Which result it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub task: String,
    pub marked: bool,
    pub run: usize,
    pub document: usize,
}

/// What reports are made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Kept {
    pub scores: Scores,
    pub truncated: bool,
    pub tokens: u64,
    pub marked_tokens: u64,
}

/// What a line tells besides, for who reads the log.
#[derive(Debug, Default, Serialize)]
pub(super) struct Told<'a> {
    pub prompt: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choices: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loglikelihoods: Option<Vec<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub greedy: Option<Vec<bool>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extracted: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

#[derive(Serialize)]
struct Line<'a> {
    task: &'a str,
    marked: bool,
    run: usize,
    document: usize,
    scores: &'a Scores,
    truncated: bool,
    tokens: u64,
    marked_tokens: u64,
    #[serde(flatten)]
    told: Told<'a>,
}

/// Results of this run and of the one that it goes on with.
pub(super) struct Samples {
    known: HashMap<Place, Kept>,
    /// None without `--samples`.
    file: Option<(PathBuf, File)>,
}

impl Samples {
    /// Opens the file of an earlier run with the same header, or makes one. What was half-written at its end goes.
    pub(super) fn open(path: Option<&Path>, header: &Map<String, Value>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self { known: HashMap::new(), file: None }) };
        let what = || format!("cannot use the samples {}", path.display());
        if path.metadata().map_or(true, |file| file.is_file() && file.len() == 0) {
            let line = format!("{{\"schema_version\":1,\"eval\":{}}}\n", serde_json::to_string(header)?);
            atomic_file::write(path, line.as_bytes()).with_context(what)?;
        }
        let mut file = OpenOptions::new().read(true).write(true).open(path).with_context(what)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            bail!("{}: expected it for this run alone, found that another run has it open", what());
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).with_context(what)?;
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        let not_ours = || {
            Hinted::new(
                format!("{}: expected samples of `wmgen eval`, found another file", what()),
                "--samples with the name of a new file makes one",
            )
        };
        let text = std::str::from_utf8(&text[..whole]).map_err(|_| not_ours())?;
        let (first, results) = text.split_once('\n').ok_or_else(not_ours)?;
        let earlier: Value = serde_json::from_str(first).map_err(|_| not_ours())?;
        let earlier = earlier["eval"].as_object().ok_or_else(not_ours)?;
        // Through text, as the earlier one was.
        let here: Map<String, Value> = serde_json::from_str(&serde_json::to_string(header)?)?;
        if let Some((name, expected)) = here.iter().find(|(name, value)| earlier.get(*name) != Some(value)) {
            let found = earlier.get(name).unwrap_or(&Value::Null);
            bail!(Hinted::new(
                format!("{}: it is of another run; {name}: expected {expected}, found {found}", what()),
                "name another file with --samples, or give the options, tasks and data of the earlier run",
            ));
        }
        let mut known = HashMap::new();
        for (number, line) in results.lines().enumerate() {
            let (place, kept) = result(line).ok_or_else(|| {
                anyhow!("{}: expected a result in line {}, found another line", what(), number + 2)
            })?;
            known.insert(place, kept);
        }
        file.set_len(whole as u64).and_then(|()| file.seek(SeekFrom::End(0))).with_context(what)?;
        Ok(Self { known, file: Some((path.to_owned(), file)) })
    }

    /// Returns a result.
    pub(super) fn get(&self, place: &Place) -> Option<&Kept> {
        self.known.get(place)
    }

    /// Keeps a result.
    pub(super) fn keep(&mut self, place: Place, kept: Kept, told: Told<'_>) -> Result<()> {
        if let Some((path, file)) = &mut self.file {
            let line = Line {
                task: &place.task,
                marked: place.marked,
                run: place.run,
                document: place.document,
                scores: &kept.scores,
                truncated: kept.truncated,
                tokens: kept.tokens,
                marked_tokens: kept.marked_tokens,
                told,
            };
            let mut line = serde_json::to_vec(&line)?;
            line.push(b'\n');
            file.write_all(&line).with_context(|| format!("cannot write the samples {}", path.display()))?;
        }
        self.known.insert(place, kept);
        Ok(())
    }
}

/// Reads a line. Numbers are read digit by digit, so that a result is the same as when it was written.
fn result(line: &str) -> Option<(Place, Kept)> {
    let line = Json::parse(line).ok()?;
    let number = |name: &str| line.get(name)?.as_written().parse::<u64>().ok();
    let truth = |name: &str| line.get(name)?.as_written().parse::<bool>().ok();
    let place = Place {
        task: line.get("task")?.string()?.into_owned(),
        marked: truth("marked")?,
        run: number("run")? as usize,
        document: number("document")? as usize,
    };
    let scores: Option<Scores> = line
        .get("scores")
        .filter(|scores| scores.is_object())?
        .members()
        .map(|(name, value)| Some((name.into_owned(), value.as_written().parse().ok()?)))
        .collect();
    let kept = Kept {
        scores: scores?,
        truncated: truth("truncated")?,
        tokens: number("tokens")?,
        marked_tokens: number("marked_tokens")?,
    };
    Some((place, kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_as_they_were_written_and_other_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("samples");
        let header = |seed: u64| Map::from_iter([("seed".to_owned(), seed.into())]);
        let place = |document| Place { task: "t".into(), marked: true, run: 1, document };
        let kept = |document: usize| Kept {
            scores: [("nll".to_owned(), 1.0 / (document as f64 + 3.0))].into(),
            ..Kept::default()
        };
        let mut first = Samples::open(Some(&path), &header(1)).unwrap();
        for document in 0..100 {
            let told = Told { prompt: "a \"b\"\n", answer: Some("{}"), ..Told::default() };
            first.keep(place(document), kept(document), told).unwrap();
        }
        let error = Samples::open(Some(&path), &header(1)).err().unwrap().to_string();
        assert!(error.ends_with("found that another run has it open"), "{error}");
        drop(first);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"{\"task\":\"t\",\"mar"].concat()).unwrap();
        let again = Samples::open(Some(&path), &header(1)).unwrap();
        assert!((0..100).all(|document| again.get(&place(document)) == Some(&kept(document))));
        drop(again);
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        let error = Samples::open(Some(&path), &header(2)).err().unwrap().to_string();
        assert!(error.contains("it is of another run; seed: expected 2, found 1"), "{error}");
        std::fs::write(&path, "text").unwrap();
        let error = Samples::open(Some(&path), &header(1)).err().unwrap().to_string();
        assert!(error.contains("found another file"), "{error}");
    }
}
