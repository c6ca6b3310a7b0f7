//! Tasks and their documents.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;
use sha2::{Digest, Sha256};
use wmdetect::hex;
use wmdetect::shell::{Hinted, for_each_object};
use wmgen::eval::{BUILT_IN, Document, EvalError, Item, Kind, Shots, Task, prompt};

use super::super::read_text;
use super::EvalArgs;

/// A task with its documents.
pub(super) struct Plan {
    pub task: Task,
    pub shots: Shots,
    pub items: Vec<Item>,
    /// File and line of each document of the data, including those that are not asked for.
    pub places: Vec<String>,
    /// Digest of the task file, the documents and the examples.
    pub digest: String,
}

/// Reads the tasks and their data.
pub(super) fn read(args: &EvalArgs) -> Result<Vec<Plan>> {
    let tasks = args.task.len();
    if args.data.len() != tasks {
        bail!("expected one --data for each --task, found {} for {tasks}", args.data.len());
    }
    if !args.shots_data.is_empty() && args.shots_data.len() != tasks {
        bail!("expected no --shots-data or one for each --task, found {} for {tasks}", args.shots_data.len());
    }
    let mut plans: Vec<Plan> = Vec::with_capacity(tasks);
    for (number, name) in args.task.iter().enumerate() {
        let plan = plan(args, name, &args.data[number], args.shots_data.get(number).map(PathBuf::as_path))?;
        if plans.iter().any(|other| other.task.task == plan.task.task) {
            bail!("expected tasks with different names, found {} twice", plan.task.task);
        }
        plans.push(plan);
    }
    Ok(plans)
}

/// Returns the task files.
pub(super) fn files(args: &EvalArgs) -> impl Iterator<Item = &Path> {
    args.task.iter().filter(|name| BUILT_IN.iter().all(|(built_in, _)| built_in != name)).map(Path::new)
}

fn plan(args: &EvalArgs, name: &str, data: &Path, shots_data: Option<&Path>) -> Result<Plan> {
    let mut digest = Sha256::new();
    let built_in = BUILT_IN.iter().find(|(built_in, _)| *built_in == name);
    let json = match built_in {
        Some((_, json)) => (*json).to_owned(),
        None if !Path::new(name).exists() => {
            let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            bail!("--task: expected one of {}, or a task file, found {name:?}", names.join(", "));
        }
        None => read_text(Path::new(name))?,
    };
    let mut task = Task::parse(&json).with_context(|| name.to_owned())?;
    digest.update(&json);
    if let Some(tokens) = args.max_tokens {
        task.max_tokens = usize::try_from(tokens)?;
    }
    let no_shots = matches!(task.kind, Kind::Perplexity | Kind::FreeText);
    if no_shots && let Some(number @ 1..) = args.shots {
        bail!(Hinted::new(
            format!("--shots: expected 0 for {}, which asks no questions, found {number}", task.task),
            "leave --shots out, or run this task by itself",
        ));
    }
    let lines = lines(data, &task)?;
    if lines.is_empty() {
        let selected = match &task.select {
            Some(select) => format!(" with {} from {} to {}", select.field, select.from, select.to),
            None => String::new(),
        };
        bail!(
            "{}: expected documents of {}{selected}, one JSON object a line, found none",
            data.display(),
            task.task
        );
    }
    let number = args.shots.unwrap_or(task.shots);
    let (example_places, examples): (Vec<String>, Vec<Value>) = match shots_data {
        _ if number == 0 => Default::default(),
        Some(path) => objects(path)?.into_iter().unzip(),
        None if !task.examples.is_empty() => {
            let place = |(at, example): (usize, &Value)| (format!("{name}: example {at}"), example.clone());
            task.examples.iter().enumerate().map(place).unzip()
        }
        None => lines.iter().cloned().unzip(),
    };
    for fields in lines.iter().map(|(_, fields)| fields).chain(&examples) {
        digest.update(fields.to_string());
        digest.update("\n");
    }
    let shots = Shots { number, examples };
    let most = args.limit.map_or(usize::MAX, |limit| limit as usize);
    let (places, lines): (Vec<String>, Vec<Value>) = lines.into_iter().unzip();
    let mut items = Vec::new();
    for (index, fields) in lines.into_iter().take(most).enumerate() {
        let item = task.item(&Document { index, fields }, &shots);
        items.push(item.map_err(|error| {
            let hint = match (&error, shots_data) {
                (EvalError::Shots { .. }, Some(path)) => format!(
                    "examples for the shots are read from {}; --shots 0 asks without any",
                    path.display()
                ),
                (EvalError::Shots { .. }, None) => {
                    "--shots-data names a file of examples, and --shots 0 asks without any".to_owned()
                }
                _ if built_in.is_some() => {
                    format!("docs/guide/evaluation.md says which fields the documents of {name} have")
                }
                _ => "the task's file says which fields a document has".to_owned(),
            };
            let (place, error) = match &error {
                EvalError::Example { number, source } => (&example_places[*number], &**source),
                error => (&places[index], error),
            };
            Hinted::new(format!("{}: {place}: {error}", task.task), hint)
        })?);
    }
    Ok(Plan { task, shots, items, places, digest: hex::encode(&digest.finalize()) })
}

/// Reads the documents of a task, each with its place.
fn lines(path: &Path, task: &Task) -> Result<Vec<(String, Value)>> {
    let mut lines = objects(path)?;
    let mut problem = None;
    lines.retain(|(place, fields)| match task.selects(fields) {
        Ok(selected) => selected,
        Err(error) => {
            problem.get_or_insert_with(|| anyhow!("{}: {place}: {error}", task.task));
            false
        }
    });
    problem.map_or(Ok(lines), Err)
}

/// Reads the objects of a file, each with its place.
fn objects(path: &Path) -> Result<Vec<(String, Value)>> {
    let mut objects = Vec::new();
    for_each_object(path, |label, object| {
        let object = object.map_err(|error| anyhow!("{}: {error}", label.input))?;
        if !object.is_object() {
            bail!("{}: expected a JSON object, found {}", label.input, object.kind());
        }
        let fields: Value = serde_json::from_str(object.as_written())
            .with_context(|| format!("{}: expected a JSON object", label.input))?;
        objects.push((label.input.clone(), prompt::reshaped(fields)));
        Ok(())
    })?;
    Ok(objects)
}
