//! What a line of the samples may hold, and how two runs differ.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use wmdetect::shell::Json;
use wmgen::eval::judge::{BYTES, LOGLIKELIHOOD, Scores, WORDS};
use wmgen::eval::{Kind, Metric, metrics};

use super::EvalArgs;
use super::keys::Runs;
use super::plan::Plan;

/// Identifies a result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub task: String,
    pub marked: bool,
    pub run: usize,
    pub document: usize,
}

/// A result, from which reports are made.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Kept {
    pub scores: Scores,
    pub truncated: bool,
    pub tokens: u64,
    pub marked_tokens: u64,
}

/// What the lines of a task may hold.
pub(super) struct Shape {
    pub task: String,
    /// Scores, each with its least and greatest value, and whether every document has it.
    pub scores: BTreeMap<String, (f64, f64, bool)>,
    /// Number of documents, including those that are not asked for.
    pub documents: usize,
    /// Number of unmarked and of marked runs.
    pub runs: [usize; 2],
}

impl Shape {
    pub(super) fn of(args: &EvalArgs, plan: &Plan, runs: &Runs) -> Self {
        let bounds = |metric| match metric {
            Metric::Nll => (f64::MIN, f64::MAX, false),
            // A text of one word has no pairs.
            Metric::Distinct2 => (0.0, 1.0, false),
            Metric::Tokens => (0.0, f64::MAX, true),
            _ => (0.0, 1.0, true),
        };
        let scores = if plan.task.kind == Kind::Perplexity {
            let (log, length) = ((f64::MIN, 0.0, true), (0.0, f64::MAX, true));
            [(LOGLIKELIHOOD, log), (WORDS, length), (BYTES, length)]
                .map(|(name, bounds)| (name.to_owned(), bounds))
                .into()
        } else {
            let means = metrics::means(&plan.task).into_iter();
            let known = means.filter(|(_, metric, _)| *metric != Metric::PassAt1 || args.run_code);
            known.map(|(name, metric, _)| (name, bounds(metric))).collect()
        };
        let runs = if plan.task.writes() { [runs.unmarked.len(), runs.marked.len()] } else { [1, 0] };
        Self { task: plan.task.task.clone(), scores, documents: plan.places.len(), runs }
    }
}

/// Parses a line. Numbers are parsed digit by digit, so that a result is exactly the one that was
/// written.
///
/// # Errors
/// Returns an error that says what was expected and what was found.
pub(super) fn result(line: &str, shapes: &[Shape]) -> Result<(Place, Kept), String> {
    let wrong = |expected: &str, found: &str| format!("expected {expected}, found {found}");
    let line = Json::parse(line).map_err(|_| wrong("a JSON object", "damaged JSON"))?;
    if !line.is_object() {
        return Err(wrong("a JSON object", line.kind()));
    }
    let member =
        |name: &str| line.get(name).ok_or_else(|| wrong(&format!("the field {name}"), "no such field"));
    let number = |name: &str, below: u64| {
        let written = member(name)?.as_written();
        let number = written.parse::<u64>().ok().filter(|number| *number < below);
        number.ok_or_else(|| wrong(&format!("a whole number below {below} in {name}"), written))
    };
    let truth = |name: &str| {
        let written = member(name)?.as_written();
        written.parse::<bool>().map_err(|_| wrong(&format!("true or false in {name}"), written))
    };
    let task = member("task")?;
    let name = task.string().unwrap_or_default();
    let shape = shapes.iter().find(|shape| shape.task == name).ok_or_else(|| {
        let names: Vec<&str> = shapes.iter().map(|shape| shape.task.as_str()).collect();
        wrong(&format!("a task of this run ({})", names.join(", ")), task.as_written())
    })?;
    let marked = truth("marked")?;
    let place = Place {
        task: shape.task.clone(),
        marked,
        run: number("run", shape.runs[usize::from(marked)] as u64)? as usize,
        document: number("document", shape.documents as u64)? as usize,
    };
    let (written, mut scores) = (member("scores")?, Scores::new());
    if !written.is_object() {
        return Err(wrong("an object in scores", written.kind()));
    }
    for (name, value) in written.members() {
        let Some((least, greatest, _)) = shape.scores.get(&*name) else {
            let names: Vec<&str> = shape.scores.keys().map(String::as_str).collect();
            return Err(wrong(
                &format!("scores of {} ({})", shape.task, names.join("; ")),
                &format!("{name:?}"),
            ));
        };
        let number = value.as_written().parse::<f64>().ok();
        let number = number.filter(|number| (least..=greatest).contains(&number)).ok_or_else(|| {
            let range = match (*least, *greatest) {
                (f64::MIN, f64::MAX) => "a finite number".to_owned(),
                (_, 0.0) => "a number of at most 0".to_owned(),
                (least, f64::MAX) => format!("a number from {least}"),
                (least, greatest) => format!("a number from {least} to {greatest}"),
            };
            wrong(&format!("{range} as the score {name}"), value.as_written())
        })?;
        if scores.insert(name.clone().into_owned(), number).is_some() {
            return Err(wrong(&format!("one score {name}"), "two"));
        }
    }
    let needed = shape.scores.iter().filter(|(_, (_, _, always))| *always).map(|(name, _)| name);
    if let Some(missing) = needed.into_iter().find(|name| !scores.contains_key(*name)) {
        return Err(wrong(&format!("the score {missing}"), "no such score"));
    }
    let tokens = number("tokens", u64::MAX)?;
    let marked_tokens = number("marked_tokens", tokens.saturating_add(1))?;
    Ok((place, Kept { scores, truncated: truth("truncated")?, tokens, marked_tokens }))
}

/// Describes how an earlier run differs from this one.
pub(super) fn difference(here: &Map<String, Value>, earlier: &Map<String, Value>) -> Option<String> {
    let (name, found) = first(here, earlier)?;
    let expected = here.get(name).unwrap_or(&Value::Null);
    Some(match name {
        "model" => "expected the model of this command, found another".into(),
        "tokenizer" if found.is_null() => {
            "expected the tokenizer of this command, found that the file names none".into()
        }
        "tokenizer" => "expected the tokenizer of this command, found another".into(),
        "runs" => "expected the keys and seeds of this command, found others".into(),
        "run_code" => "expected this command's --run-code and its limits, found others".into(),
        "tasks" => of_tasks(expected, found),
        "softcap" => scalar("the softcap", expected, found),
        name => scalar(&format!("--{name}"), expected, found),
    })
}

/// Returns the first member that differs, with its earlier value.
fn first<'m>(here: &'m Map<String, Value>, earlier: &'m Map<String, Value>) -> Option<(&'m str, &'m Value)> {
    let differs = |name: &&String| here.get(*name) != earlier.get(*name);
    let name = here.keys().chain(earlier.keys()).find(differs)?;
    Some((name, earlier.get(name).unwrap_or(&Value::Null)))
}

fn scalar(what: &str, expected: &Value, found: &Value) -> String {
    let words = |value: &Value| match value {
        Value::Null => "none".to_owned(),
        value => value.to_string(),
    };
    format!("{what}: expected {}, found {}", words(expected), words(found))
}

fn of_tasks(expected: &Value, found: &Value) -> String {
    let objects = |value: &Value| -> Vec<Map<String, Value>> {
        value.as_array().into_iter().flatten().filter_map(|task| task.as_object().cloned()).collect()
    };
    let (here, earlier) = (objects(expected), objects(found));
    let names = |tasks: &[Map<String, Value>]| {
        let names = tasks.iter().filter_map(|task| task.get("task")?.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    if names(&here) != names(&earlier) {
        return format!("expected the tasks {}, found {}", names(&here), names(&earlier));
    }
    for (here, earlier) in here.iter().zip(&earlier) {
        let name = names(std::slice::from_ref(here));
        let Some((member, found)) = first(here, earlier) else { continue };
        let expected = here.get(member).unwrap_or(&Value::Null);
        return match (member, expected, found) {
            ("digest", ..) => {
                format!("{name}: expected the data, examples and task file of this command, found others")
            }
            (_, Value::Object(expected), Value::Object(found)) => match first(expected, found) {
                Some((setting, value)) => {
                    let expected = expected.get(setting).unwrap_or(&Value::Null);
                    scalar(&format!("{name}: {setting}"), expected, value)
                }
                None => continue,
            },
            ("sampling", ..) => format!("{name}: expected the settings of this command, found others"),
            _ => scalar(&format!("{name}: {member}"), expected, found),
        };
    }
    "expected the tasks of this command, found others".into()
}
