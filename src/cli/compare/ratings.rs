//! Ratings: the log that a run writes and resumes from, and ratings from elsewhere.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use wmdetect::hex;
use wmdetect::shell::{Hinted, for_each_object};
use wmgen::compare::judge::read_reply;
use wmgen::compare::{Example, Rating, VERDICTS, Verdict};

use super::super::line_log::{self, Kind, LineLog};
use super::asked::Asked;

/// The log of ratings.
pub(super) const KIND: Kind = Kind { what: "ratings", command: "compare", option: "--ratings" };

/// A line of the log.
#[derive(Serialize)]
struct Line<'a> {
    example: usize,
    repeat: usize,
    flipped: bool,
    verdict: Option<&'static str>,
    reply: &'a str,
}

/// Replies of this run and of the run that it resumes. Each has a rating, or `None` if it has no verdict.
pub(super) struct Ratings {
    known: HashMap<(usize, usize), Option<Rating>>,
    log: Option<LineLog>,
}

/// Returns a digest of what is judged.
pub(super) fn digest(examples: &[Example]) -> String {
    let mut digest = Sha256::new();
    for example in examples {
        for text in [&example.prompt, &example.responses[0].text, &example.responses[1].text] {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text);
        }
    }
    hex::encode(&digest.finalize())
}

impl Ratings {
    /// Opens the log of an earlier run with the same header, or creates one.
    pub(super) fn open(path: Option<&Path>, header: &Map<String, Value>, examples: usize) -> Result<Self> {
        let Some(path) = path else { return Ok(Self { known: HashMap::new(), log: None }) };
        let (log, earlier) = KIND.open(path, header)?;
        let here = line_log::as_read(header)?;
        if let Some(name) = here.keys().find(|name| here.get(*name) != earlier.header.get(*name)) {
            let what = match name.as_str() {
                "examples" => "the answers of this command",
                "prompt" => "this command's --judge-prompt",
                "judge" | "fingerprint" => "this command's --judge",
                _ => "the options of this command",
            };
            bail!(Hinted::new(
                format!(
                    "cannot use the ratings {}: they are of another run; expected {what}, found others",
                    path.display()
                ),
                "name another file with --ratings, or give the answers and options of the earlier run",
            ));
        }
        let mut known = HashMap::new();
        for (number, line) in earlier.lines.lines().enumerate() {
            let wrong = |problem: String| {
                Hinted::new(
                    format!("cannot use the ratings {}: line {}: {problem}", path.display(), number + 2),
                    "without the line its example is judged again; --ratings with the name of a new file begins anew",
                )
            };
            let (asked, reply) = logged(line, examples).map_err(wrong)?;
            if known.insert((asked.example, asked.repeat), rating(&asked, &reply)).is_some() {
                bail!(wrong("expected one line for a repeat of an example, found a second one".into()));
            }
        }
        Ok(Self { known, log: Some(log) })
    }

    /// Returns whether there is a reply.
    pub(super) fn has(&self, example: usize, repeat: usize) -> bool {
        self.known.contains_key(&(example, repeat))
    }

    /// Keeps a reply, in the log as well.
    pub(super) fn keep(&mut self, asked: &Asked, reply: &str) -> Result<()> {
        let Asked { example, repeat, flipped } = *asked;
        let rating = rating(asked, reply);
        if let Some(log) = &mut self.log {
            let verdict = read_reply(reply).ok().map(|(verdict, _)| verdict.label());
            log.append(&Line { example, repeat, flipped, verdict, reply })?;
        }
        self.known.insert((example, repeat), rating);
        Ok(())
    }

    /// Returns the ratings of each example in the order of the repeats, and the number of replies without a verdict.
    pub(super) fn of_examples(&self, examples: usize, repeats: usize) -> (Vec<Vec<Rating>>, usize) {
        let mut unread = 0;
        let ratings = (0..examples)
            .map(|example| {
                let replies = (0..repeats).filter_map(|repeat| self.known.get(&(example, repeat)));
                replies.inspect(|reply| unread += usize::from(reply.is_none())).flatten().cloned().collect()
            })
            .collect();
        (ratings, unread)
    }
}

fn rating(asked: &Asked, reply: &str) -> Option<Rating> {
    let (verdict, explanation) = read_reply(reply).ok()?;
    Some(Rating::of(verdict, asked.flipped, &explanation))
}

/// Parses a line of a log. Its verdict is for people only: the reply decides.
fn logged(line: &str, examples: usize) -> Result<(Asked, String), String> {
    let wrong = |expected: &str, found: &dyn std::fmt::Display| format!("expected {expected}, found {found}");
    let line: Value = serde_json::from_str(line).map_err(|_| wrong("a JSON object", &"damaged JSON"))?;
    let number = |name: &str, below: usize| {
        let number = line[name]
            .as_u64()
            .and_then(|number| usize::try_from(number).ok())
            .filter(|number| *number < below);
        number.ok_or_else(|| wrong(&format!("a whole number below {below} in {name}"), &line[name]))
    };
    let asked = Asked {
        example: number("example", examples)?,
        repeat: number("repeat", usize::from(u16::MAX))?,
        flipped: line["flipped"]
            .as_bool()
            .ok_or_else(|| wrong("true or false in flipped", &line["flipped"]))?,
    };
    let reply = line["reply"].as_str().ok_or_else(|| wrong("a string in reply", &line["reply"]))?;
    Ok((asked, reply.to_owned()))
}

/// Reads ratings from elsewhere, or the log of an earlier run. Returns each example's ratings, and the number of replies without a
/// verdict.
pub(super) fn read(path: &Path, examples: &[Example]) -> Result<(Vec<Vec<Rating>>, usize)> {
    let mut ratings = vec![Vec::new(); examples.len()];
    let mut unread = 0;
    for_each_object(path, |label, object| {
        let place = &label.input;
        let object = object.map_err(|error| anyhow!("{place}: {error}"))?;
        let line: Value = serde_json::from_str(object.as_written())?;
        if let Some(header) = line.get(KIND.command) {
            if header["examples"] != digest(examples) {
                bail!(Hinted::new(
                    format!("{place}: expected ratings of these answers, found those of others"),
                    "give the answers that were judged, or another file of --ratings",
                ));
            }
            return Ok(());
        }
        let wrong = |expected: &str, found: &Value| anyhow!("{place}: expected {expected}, found {found}");
        let example = match (line.get("example"), line.get("id")) {
            (Some(number), _) => {
                let known = number.as_u64().filter(|number| *number < examples.len() as u64);
                known.ok_or_else(|| {
                    wrong(&format!("a whole number below {} in example", examples.len()), number)
                })? as usize
            }
            (None, Some(id)) => {
                let written = object.get("id").map(|id| id.as_written().to_owned());
                let found = examples.iter().position(|example| example.id == written);
                found.ok_or_else(|| wrong("the id of an example in id", id))?
            }
            (None, None) => {
                bail!("{place}: expected the number of an example in example, or its id in id, found neither")
            }
        };
        if let Some(reply) = line.get("reply").and_then(Value::as_str) {
            let flipped = line["flipped"].as_bool().unwrap_or_default();
            match rating(&Asked { example, repeat: 0, flipped }, reply) {
                Some(rating) => ratings[example].push(rating),
                None => unread += 1,
            }
            return Ok(());
        }
        ratings[example].push(of_others(&line, &wrong)?);
        Ok(())
    })?;
    if ratings.iter().all(Vec::is_empty) && unread == 0 {
        bail!("{}: expected ratings, one JSON object a line, found none", path.display());
    }
    Ok((ratings, unread))
}

/// Parses a line with a verdict or a score.
fn of_others(line: &Value, wrong: &dyn Fn(&str, &Value) -> anyhow::Error) -> Result<Rating> {
    let rationale =
        ["rationale", "explanation"].iter().find_map(|name| line[*name].as_str()).unwrap_or_default();
    let flipped = match &line["flipped"] {
        Value::Null => None,
        flipped => Some(flipped.as_bool().ok_or_else(|| wrong("true or false in flipped", flipped))?),
    };
    match (&line["verdict"], &line["score"]) {
        (Value::Null, Value::Null) => Err(wrong("a verdict or a score", line)),
        (Value::Null, score) => {
            let score = score.as_f64().filter(|score| (-1.5..=1.5).contains(score));
            let score = score.ok_or_else(|| wrong("a number from -1.5 to 1.5 in score", &line["score"]))?;
            Ok(Rating { flipped, label: None, score, rationale: rationale.to_owned() })
        }
        (verdict, _) => {
            let read = verdict.as_str().and_then(Verdict::parse);
            let labels: Vec<&str> = VERDICTS.iter().map(|verdict| verdict.label()).collect();
            let read =
                read.ok_or_else(|| wrong(&format!("one of {} in verdict", labels.join("; ")), verdict))?;
            let rating = Rating::of(read, flipped.unwrap_or_default(), rationale);
            Ok(Rating { flipped, ..rating })
        }
    }
}
