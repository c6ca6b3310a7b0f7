//! Reading and pairing the answers.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;
use wmdetect::counted::counted;
use wmdetect::shell::{Hinted, InputError, Json, Label, for_each_object, open_tokenizer};
use wmdetect::text::Tokenizer;
use wmgen::compare::{CompareError, Pairs, Row, pair};
use wmgen::default_model;

use super::super::args::{CompareArgs, UnpairedArg};

/// Maximum number of places that an error names.
const NAMED: usize = 5;

/// Inputs of a comparison.
pub(super) struct Inputs {
    pub names: [String; 2],
    pub pairs: Pairs,
    pub warnings: Vec<String>,
}

/// A file of answers.
struct Answers {
    rows: Vec<Row>,
    /// Number of lines that have an error instead of an answer.
    failed: usize,
}

/// Reads and pairs the answers.
pub(super) fn read(args: &CompareArgs) -> Result<Inputs> {
    let a = answers(&args.a)?;
    let (mut a, mut b) = match &args.b {
        Some(path) => (a, answers(path)?),
        None => split(&args.a, a)?,
    };
    let mut warnings = Vec::new();
    for (answers, path) in [(&a, &args.a), (&b, args.b.as_ref().unwrap_or(&args.a))] {
        if answers.rows.is_empty() {
            bail!("{}: expected answers, one JSON object a line, found none", path.display());
        }
        if answers.failed > 0 {
            let lines = counted(answers.failed as u64, "line");
            warnings.push(format!("{}: {lines} with an error instead of an answer", path.display()));
        }
    }
    if let Some(path) = &args.prompts {
        let prompts = Prompts::read(path)?;
        for row in a.rows.iter_mut().chain(&mut b.rows) {
            prompts.put(row)?;
        }
    }
    spell(args, a.rows.iter_mut().chain(&mut b.rows))?;
    let names = names(args, &a.rows, &b.rows);
    let pairs = pair(a.rows, b.rows)?;
    if pairs.unpaired.iter().any(|places| !places.is_empty()) {
        let message = unpaired(&pairs);
        match args.unpaired {
            UnpairedArg::Fail => bail!(Hinted::new(message, "--unpaired skip leaves them out")),
            UnpairedArg::Skip if pairs.examples.is_empty() => bail!("no answers belong together: {message}"),
            UnpairedArg::Skip => warnings.push(format!("left out: {message}")),
        }
    }
    Ok(Inputs { names, pairs, warnings })
}

fn answers(path: &Path) -> Result<Answers> {
    let mut answers = Answers { rows: Vec::new(), failed: 0 };
    for_each_object(path, |label, object| {
        let value = value(label, &object)?;
        // Not an answer: the first line of samples, or a prompt that `wmgen generate` could not answer.
        let is_header = value.get("eval").is_some() && value.get("schema_version").is_some();
        if is_header {
            return Ok(());
        }
        if value.get("error").is_some() && value.get("text").is_none() && value.get("response").is_none() {
            answers.failed += 1;
            return Ok(());
        }
        let id = object.as_ref().ok().and_then(|object| object.get("id"));
        let id = label.clone().with_id(id).id;
        let row = Row::parse(&value, id, &label.input).map_err(|error| {
            let hint = "docs/guide/comparison.md says what a line has";
            match error {
                CompareError::Row { .. } => anyhow::Error::new(Hinted::new(error.to_string(), hint)),
                error => error.into(),
            }
        })?;
        answers.rows.push(row);
        Ok(())
    })?;
    Ok(answers)
}

fn value(label: &Label, object: &Result<Json<'_>, InputError>) -> Result<Value> {
    let object = object.as_ref().map_err(|error| anyhow!("{}: {error}", label.input))?;
    serde_json::from_str(object.as_written()).with_context(|| label.input.clone())
}

/// Splits the answers of one file of samples into marked and unmarked ones.
fn split(path: &Path, answers: Answers) -> Result<(Answers, Answers)> {
    let (marked, unmarked): (Vec<Row>, Vec<Row>) =
        answers.rows.into_iter().partition(|row| row.marked == Some(true));
    if marked.is_empty() || unmarked.iter().any(|row| row.marked.is_none()) || unmarked.is_empty() {
        bail!(Hinted::new(
            format!(
                "{}: expected samples of `wmgen eval --compare`, with marked and unmarked answers, found other lines",
                path.display()
            ),
            "name two files: A with the first model's answers, and B with the second's",
        ));
    }
    let failed = answers.failed;
    Ok((Answers { rows: marked, failed }, Answers { rows: unmarked, failed: 0 }))
}

/// Prompts of a file of prompts, by line and by id.
struct Prompts {
    file: String,
    by_line: HashMap<u64, Prompt>,
    by_id: HashMap<String, Prompt>,
}

/// A line of a file of prompts.
#[derive(Clone)]
struct Prompt {
    text: String,
    tags: Vec<String>,
    has_id: bool,
}

impl Prompts {
    fn read(path: &Path) -> Result<Self> {
        let file = path.display().to_string();
        let mut prompts = Self { file, by_line: HashMap::new(), by_id: HashMap::new() };
        for_each_object(path, |label, object| {
            let mut value = value(label, &object)?;
            let id = object.as_ref().ok().and_then(|object| object.get("id"));
            let id = label.clone().with_id(id).id;
            // Only the prompt and the tags matter. An answer is not needed here, and the answer of another file
            // would be wrong.
            if let Some(fields) = value.as_object_mut() {
                fields.retain(|name, _| ["prompt", "tags", "tag", "category"].contains(&name.as_str()));
                fields.insert("response".to_owned(), Value::String(String::new()));
            }
            let row = Row::parse(&value, None, &label.input)?;
            let prompt =
                Prompt { text: row.prompt.unwrap_or_default(), tags: row.tags, has_id: id.is_some() };
            if let Some(line) = label.line {
                prompts.by_line.insert(line as u64, prompt.clone());
            }
            if let Some(id) = id {
                prompts.by_id.insert(id, prompt);
            }
            Ok(())
        })?;
        Ok(prompts)
    }

    /// Gives a row its prompt and its tags. Its line counts only where the row or the prompt has no id.
    fn put(&self, row: &mut Row) -> Result<()> {
        let by_id = row.id.as_ref().and_then(|id| self.by_id.get(id));
        let by_line = || self.by_line.get(&row.line?).filter(|prompt| row.id.is_none() || !prompt.has_id);
        let Some(Prompt { text, tags, .. }) = by_id.or_else(by_line) else {
            if row.prompt.is_some() {
                return Ok(());
            }
            bail!(
                "{}: expected its prompt in {}, by its id or its line, found neither",
                row.response.place,
                self.file
            );
        };
        row.prompt.get_or_insert_with(|| text.clone());
        for tag in tags {
            if !row.tags.contains(tag) {
                row.tags.push(tag.clone());
            }
        }
        Ok(())
    }
}

/// Decodes the prompts of receipts, which have them as token ids.
fn spell<'r>(args: &CompareArgs, rows: impl Iterator<Item = &'r mut Row>) -> Result<()> {
    let mut tokenizer: Option<Tokenizer> = None;
    for row in rows.filter(|row| row.prompt.is_none()) {
        if tokenizer.is_none() {
            tokenizer = Some(match &args.tokenizer {
                Some(path) => open_tokenizer(path)?,
                None if row.model.as_deref() == Some(default_model::NAME) => Tokenizer::of_default_model(),
                None => bail!(Hinted::new(
                    format!("{}: expected a prompt, found its token ids", row.response.place),
                    "--prompts names the file that `wmgen generate --prompts` read, or --tokenizer the model's tokenizer",
                )),
            });
        }
        let Some(tokenizer) = &tokenizer else { continue };
        let ids = row.prompt_tokens.as_deref().unwrap_or_default();
        let ids = ids.strip_prefix(&[tokenizer.bos().unwrap_or(u32::MAX)]).unwrap_or(ids);
        row.prompt = Some(tokenizer.decode(ids));
    }
    Ok(())
}

/// Returns the names of A and B.
fn names(args: &CompareArgs, a: &[Row], b: &[Row]) -> [String; 2] {
    if let Some([first, second]) = args.names.as_deref() {
        return [first.clone(), second.clone()];
    }
    let Some(path) = &args.b else { return ["marked".into(), "unmarked".into()] };
    let model = |rows: &[Row]| {
        let first = rows.first()?.model.clone()?;
        rows.iter().all(|row| row.model.as_ref() == Some(&first)).then_some(first)
    };
    match (model(a), model(b)) {
        (Some(a), Some(b)) if a != b => [a, b],
        _ => {
            let stem =
                |path: &Path| path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            let names = [stem(&args.a), stem(path)];
            if names[0] == names[1] {
                [args.a.display().to_string(), path.display().to_string()]
            } else {
                names
            }
        }
    }
}

/// Says which answers have no counterpart.
fn unpaired(pairs: &Pairs) -> String {
    let parts: Vec<String> = pairs
        .unpaired
        .iter()
        .zip(["A", "B"])
        .filter(|(places, _)| !places.is_empty())
        .map(|(places, which)| {
            let more = places.len().saturating_sub(NAMED);
            let more =
                if more > 0 { format!(" and {}", counted(more as u64, "other")) } else { String::new() };
            let named = places[..places.len().min(NAMED)].join(", ");
            format!("{} of {which} ({named}{more})", counted(places.len() as u64, "answer"))
        })
        .collect();
    format!("expected an answer to each prompt from both, found none to {}", parts.join(" and "))
}
