//! Results that are kept as they come: the log of a run, and what it goes on from.
//!
//! The first line binds the file to what the results depend on. Each further line is a document in one run. How many documents
//! are asked for is not bound.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use serde_json::{Map, Value};
use wmdetect::atomic_file;
use wmdetect::shell::Hinted;
use wmgen::eval::judge::Scores;

use super::shape::{self, Kept, Place, Shape};

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
    pub(super) fn open(path: Option<&Path>, header: &Map<String, Value>, shapes: &[Shape]) -> Result<Self> {
        let Some(path) = path else { return Ok(Self { known: HashMap::new(), file: None }) };
        check(path)?;
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
        if earlier["schema_version"] != 1 {
            let found = &earlier["schema_version"];
            bail!(Hinted::new(
                format!("{}: line 1: expected 1 as schema_version, found {found}", what()),
                "--samples with the name of a new file makes one",
            ));
        }
        let earlier = earlier["eval"].as_object().ok_or_else(not_ours)?;
        // Through text, as the earlier one was.
        let here: Map<String, Value> = serde_json::from_str(&serde_json::to_string(header)?)?;
        if let Some(difference) = shape::difference(&here, earlier) {
            bail!(Hinted::new(
                format!("{}: it is of another run; {difference}", what()),
                "name another file with --samples, or give the options, tasks and data of the earlier run",
            ));
        }
        let mut known = HashMap::new();
        for (number, line) in results.lines().enumerate() {
            let wrong = |problem: &str| {
                Hinted::new(
                    format!("{}: line {}: {problem}", what(), number + 2),
                    "without the line its document is done again; --samples with the name of a new file begins anew",
                )
            };
            let (place, kept) = shape::result(line, shapes).map_err(|problem| wrong(&problem))?;
            if known.insert(place, kept).is_some() {
                bail!(wrong("expected one line for a document in a run, found a second one"));
            }
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

/// Checks that samples can be in a file of this name: a device or a pipe may have no end.
pub(super) fn check(path: &Path) -> Result<()> {
    let found = match path.metadata() {
        Ok(file) if file.is_file() => return Ok(()),
        // Whether one can be made is told when it is made.
        Err(_) => return Ok(()),
        Ok(file) if file.is_dir() => "a directory",
        #[cfg(unix)]
        Ok(file) if std::os::unix::fs::FileTypeExt::is_fifo(&file.file_type()) => "a pipe",
        #[cfg(unix)]
        Ok(file) if std::os::unix::fs::FileTypeExt::is_socket(&file.file_type()) => "a socket",
        Ok(_) => "a device",
    };
    bail!(Hinted::new(
        format!("cannot use the samples {}: expected a regular file, found {found}", path.display()),
        "--samples with the name of a new file makes one",
    ))
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
        let scores = [("nll".to_owned(), (0.0, 1.0, true))].into();
        let shapes = [Shape { task: "t".into(), scores, documents: 100, runs: [0, 2] }];
        let open = |seed| Samples::open(Some(&path), &header(seed), &shapes);
        let mut first = open(1).unwrap();
        for document in 0..100 {
            let told = Told { prompt: "a \"b\"\n", answer: Some("{}"), ..Told::default() };
            first.keep(place(document), kept(document), told).unwrap();
        }
        let error = open(1).err().unwrap().to_string();
        assert!(error.ends_with("found that another run has it open"), "{error}");
        drop(first);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"{\"task\":\"t\",\"mar"].concat()).unwrap();
        let again = open(1).unwrap();
        assert!((0..100).all(|document| again.get(&place(document)) == Some(&kept(document))));
        drop(again);
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        let error = open(2).err().unwrap().to_string();
        assert!(error.contains("it is of another run; --seed: expected 2, found 1"), "{error}");
        let text = std::str::from_utf8(&whole).unwrap();
        for (of, to, expected) in [
            (
                "\"nll\":0.3333333333333333",
                "\"nll\":2",
                "line 2: expected a number from 0 to 1 as the score nll, found 2",
            ),
            ("\"nll\":0.3333333333333333", "\"nll\":1e999", "found 1e999"),
            ("\"nll\":0.3333333333333333", "\"other\":1", "expected scores of t (nll), found \"other\""),
            ("\"nll\":0.3333333333333333", "", "expected the score nll, found no such score"),
            (
                "\"document\":0",
                "\"document\":100",
                "expected a whole number below 100 in document, found 100",
            ),
            ("\"document\":0", "\"document\":1", "line 3: expected one line for a document in a run"),
            ("\"run\":1", "\"run\":2", "expected a whole number below 2 in run, found 2"),
            ("\"schema_version\":1", "\"schema_version\":2", "expected 1 as schema_version, found 2"),
        ] {
            std::fs::write(&path, text.replacen(of, to, 1)).unwrap();
            let error = open(1).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let error = check(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("expected a regular file, found a directory"), "{error}");
        std::fs::write(&path, "text").unwrap();
        let error = open(1).err().unwrap().to_string();
        assert!(error.contains("found another file"), "{error}");
    }
}
