//! Results: the log that a run writes and resumes from.
//!
//! The first line binds the file to what the results depend on. Each further line is one document in one run. The number of
//! documents asked for is not bound.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::{Map, Value};
use wmdetect::shell::Hinted;
use wmgen::eval::judge::Scores;

use super::super::line_log::{self, Kind, LineLog};
use super::shape::{self, Kept, Place, Shape};

/// The log of samples.
const KIND: Kind = Kind { what: "samples", command: "eval", option: "--samples" };

/// Additional fields of a line, for people who read the log.
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

/// Results of this run and of the run that it resumes.
pub(super) struct Samples {
    known: HashMap<Place, Kept>,
    /// The log; `None` without `--samples`.
    log: Option<LineLog>,
}

impl Samples {
    /// Opens the file of an earlier run with the same header, or creates one. A half-written last line is removed.
    pub(super) fn open(path: Option<&Path>, header: &Map<String, Value>, shapes: &[Shape]) -> Result<Self> {
        let Some(path) = path else { return Ok(Self { known: HashMap::new(), log: None }) };
        let what = || format!("cannot use the samples {}", path.display());
        let (log, earlier) = KIND.open(path, header)?;
        if let Some(difference) = shape::difference(&line_log::as_read(header)?, &earlier.header) {
            bail!(Hinted::new(
                format!("{}: it is of another run; {difference}", what()),
                "name another file with --samples, or give the options, tasks and data of the earlier run",
            ));
        }
        let mut known = HashMap::new();
        for (number, line) in earlier.lines.lines().enumerate() {
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
        Ok(Self { known, log: Some(log) })
    }

    /// Returns a result.
    pub(super) fn get(&self, place: &Place) -> Option<&Kept> {
        self.known.get(place)
    }

    /// Keeps a result.
    pub(super) fn keep(&mut self, place: Place, kept: Kept, told: Told<'_>) -> Result<()> {
        if let Some(log) = &mut self.log {
            log.append(&Line {
                task: &place.task,
                marked: place.marked,
                run: place.run,
                document: place.document,
                scores: &kept.scores,
                truncated: kept.truncated,
                tokens: kept.tokens,
                marked_tokens: kept.marked_tokens,
                told,
            })?;
        }
        self.known.insert(place, kept);
        Ok(())
    }
}

/// Checks that samples can be written to this path.
pub(super) fn check(path: &Path) -> Result<()> {
    KIND.check(path)
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
