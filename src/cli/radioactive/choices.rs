//! The student's first choices, and their log.

use std::path::Path;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use wmdetect::shell::Hinted;
use wmgen::radioactive::Document;

use super::super::line_log::{self, Kind, LineLog};
use super::RadioactiveArgs;

/// The log of choices.
pub(super) const KIND: Kind = Kind { what: "samples", command: "radioactive", option: "--samples" };

/// The first choice at each token of a document's answers, for each document.
pub(super) struct Choices {
    known: Vec<Option<Vec<u32>>>,
    /// The log; `None` without `--samples`.
    log: Option<LineLog>,
}

/// A document's line in the log.
#[derive(Serialize, Deserialize)]
struct Line {
    document: usize,
    choices: Vec<u32>,
}

/// Returns what the choices depend on.
pub(super) fn header(args: &RadioactiveArgs, fingerprint: Option<&str>, corpus: &str) -> Map<String, Value> {
    let fields = json!({
        "student": fingerprint, "corpus": corpus,
        "device": format!("{:?}", args.compute.device), "dtype": args.compute.dtype.map(|dtype| format!("{dtype:?}")),
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Describes how an earlier run differs from this one.
fn difference(here: &Map<String, Value>, earlier: &Map<String, Value>) -> Option<String> {
    let name = here.keys().chain(earlier.keys()).find(|name| here.get(*name) != earlier.get(*name))?;
    Some(format!("expected the {name} of this command, found another"))
}

impl Choices {
    /// Opens the file of an earlier run with the same student and corpus, or creates one. A line of a document that is not
    /// asked for is kept.
    pub(super) fn open(
        path: Option<&Path>,
        header: &Map<String, Value>,
        documents: &[Document],
        vocab: usize,
    ) -> Result<Self> {
        let mut known = vec![None; documents.len()];
        let Some(path) = path else { return Ok(Self { known, log: None }) };
        let what = || format!("cannot use the samples {}", path.display());
        let (log, earlier) = KIND.open(path, header)?;
        if let Some(difference) = difference(&line_log::as_read(header)?, &earlier.header) {
            bail!(Hinted::new(
                format!("{}: it is of another run; {difference}", what()),
                "name another file with --samples, or give the options and data of the earlier run",
            ));
        }
        for (number, line) in earlier.lines.lines().enumerate() {
            let wrong = |problem: &str| {
                Hinted::new(
                    format!("{}: line {}: {problem}", what(), number + 2),
                    "without the line its document is done again; --samples with the name of a new file begins anew",
                )
            };
            let line: Line = serde_json::from_str(line)
                .map_err(|error| wrong(&format!("expected a document's choices, found {error}")))?;
            let Some(document) = documents.get(line.document) else { continue };
            let (expected, found) = (document.answer_tokens(), line.choices.len());
            if expected != found {
                bail!(wrong(&format!("expected {expected} choices, found {found}")));
            }
            if let Some(found) = line.choices.iter().find(|choice| **choice as usize >= vocab) {
                bail!(wrong(&format!("expected choices below {vocab}, found {found}")));
            }
            if known[line.document].replace(line.choices).is_some() {
                bail!(wrong("expected one line for a document, found a second one"));
            }
        }
        Ok(Self { known, log: Some(log) })
    }

    /// Returns the choices of a document, if they are known.
    pub(super) fn get(&self, document: usize) -> Option<&[u32]> {
        self.known.get(document)?.as_deref()
    }

    /// Keeps the choices of a document.
    pub(super) fn keep(&mut self, document: usize, choices: Vec<u32>) -> Result<()> {
        let line = Line { document, choices };
        if let Some(log) = &mut self.log {
            log.append(&line)?;
        }
        self.known[document] = Some(line.choices);
        Ok(())
    }
}
