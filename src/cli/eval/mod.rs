//! `wmgen eval`.
//!
//! | file | what |
//! |---|---|
//! | this | from arguments to a report |
//! | `plan` | reading tasks and documents |
//! | `keys` | the keys and seeds of the runs |
//! | `work` | reading and answering |
//!  `samples` | results that are logged, one a line |
//!  `shape` | what such a line may hold |
//! | `program` | running programs that the model wrote |
//! | `sum` | from results to the report |
//! | `table` | the report for people |

mod keys;
mod plan;
mod program;
mod samples;
mod shape;
mod sum;
mod table;
mod work;

use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};
use wmdetect::hex;
use wmdetect::shell::outputs::{Kind as OutputKind, Outputs};
use wmdetect::shell::{Hinted, INTERRUPTED, stop_when_asked};
use wmgen::eval::{Kind, Metric};
use wmgen::sample::{SampleError, Sampling};

use super::args::EvalArgs;
use super::model::Loaded;
use super::{print, print_json, say};
use keys::Runs;
use plan::Plan;
use program::Limits;
use samples::Samples;
use shape::Shape;
use work::Work;

pub(super) fn run(args: &EvalArgs) -> Result<ExitCode> {
    if !(args.margin > 0.0 && args.margin.is_finite()) {
        bail!("--margin is {}, expected a number above 0", args.margin);
    }
    let plans = plan::read(args)?;
    check(args, &plans)?;
    let tokenizer = args.model.open_tokenizer()?;
    let runs = Runs::of(args, &tokenizer)?;
    for plan in plans.iter().filter(|plan| plan.task.writes()) {
        sampling(args, plan).check(!runs.marked.is_empty()).map_err(|error| match error {
            SampleError::GreedyWatermark { .. } => anyhow::Error::new(Hinted::new(
                error.to_string(),
                "without --watermark the answers are unmarked; with it, --temperature is above 0",
            )),
            error => error.into(),
        })?;
    }
    let inputs = || args.data.iter().chain(&args.shots_data).chain(&args.watermark);
    let mut outputs = Outputs::new(false).reads(inputs()).reads(plan::files(args)).reads(args.model.paths());
    if let Some(path) = &args.samples {
        outputs.check_resumed(path, OutputKind::SAMPLES)?;
        samples::check(path)?;
    }
    let limits = Limits {
        interpreter: if args.run_code {
            program::found(&args.interpreter)?
        } else {
            args.interpreter.clone()
        },
        seconds: args.code_timeout,
        mebibytes: args.code_memory,
    };
    if args.run_code {
        limits.check()?;
    }
    let loaded = args.model.load(tokenizer)?;
    let header = header(args, &plans, &runs, &loaded);
    let shapes: Vec<Shape> = plans.iter().map(|plan| Shape::of(args, plan, &runs)).collect();
    let samples = Samples::open(args.samples.as_deref(), &header, &shapes)?;
    let mut work = Work { args, loaded: &loaded, runs: &runs, samples, limits, stop: stop_when_asked()? };
    let mut results = Vec::with_capacity(plans.len());
    for plan in &plans {
        results.push(work.of(plan)?);
        if work.stopped() {
            let again = match &args.samples {
                Some(_) => "the same command goes on from the file of --samples",
                None => "with --samples FILE a run can go on where it was interrupted",
            };
            say(&format!("interrupted in {}: the report was not written; {again}", plan.task.task));
            return Ok(ExitCode::from(INTERRUPTED));
        }
    }
    let report = sum::report(args, &loaded, &runs, &plans, &results);
    for warning in &report.warnings {
        say(&format!("warning: {warning}"));
    }
    if args.json {
        print_json(&report)?;
    } else {
        print(table::of(&report).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks that the requested metrics can be measured.
fn check(args: &EvalArgs, plans: &[Plan]) -> Result<()> {
    if args.watermark.len() > 1 && !args.compare {
        bail!(Hinted::new(
            format!("--watermark: expected one key, found {}", args.watermark.len()),
            "--compare takes several",
        ));
    }
    if args.watermark.len() > 1 && args.keys.is_some() {
        bail!("--keys derives keys from one: expected one --watermark, found {}", args.watermark.len());
    }
    for plan in plans {
        if args.compare && !plan.task.writes() {
            bail!(Hinted::new(
                format!(
                    "{}: expected a task whose answers are written, found one that is only read, which no mark touches",
                    plan.task.task
                ),
                "leave --compare out, or compare with gsm8k, mbpp or free_text",
            ));
        }
        if args.run_code && !plans.iter().any(|plan| plan.task.metrics.contains(&Metric::PassAt1)) {
            bail!("--run-code: expected a task that is measured by pass_at_1, found none");
        }
    }
    Ok(())
}

/// Returns how the answers of a task are drawn. Tasks with right answers are answered greedily, unless the answers
/// are to be marked.
fn sampling(args: &EvalArgs, plan: &Plan) -> Sampling {
    let greedy = plan.task.kind == Kind::Generate && args.watermark.is_empty();
    Sampling {
        temperature: args.temperature.unwrap_or(if greedy { 0.0 } else { 1.0 }),
        top_k: args.top_k,
        top_p: args.top_p,
        seed: args.seed,
        ..Sampling::default()
    }
}

/// Returns what the results depend on.
fn header(args: &EvalArgs, plans: &[Plan], runs: &Runs, loaded: &Loaded) -> Map<String, Value> {
    let tasks: Vec<Value> = plans
        .iter()
        .map(|plan| {
            let drawn = plan.task.writes().then(|| sampling(args, plan));
            json!({
                "task": plan.task.task, "digest": plan.digest, "shots": plan.shots.number,
                "max_tokens": plan.task.max_tokens, "sampling": drawn,
            })
        })
        .collect();
    // The vocabulary, and the rules by which a text becomes its tokens.
    let binding = loaded.tokenizer.binding();
    let tokenizer = [Some(hex::encode(&binding.fingerprint)), binding.rules.map(|rules| hex::encode(&rules))];
    let fields = json!({
        "model": loaded.model.fingerprint(), "tokenizer": tokenizer, "softcap": !args.model.no_softcap, "rounded": args.rounded,
        "device": format!("{:?}", args.model.compute.device), "dtype": args.model.compute.dtype.map(|dtype| format!("{dtype:?}")),
        "tasks": tasks, "compare": args.compare, "runs": plans.iter().any(|plan| plan.task.writes()).then(|| runs.bound()),
        "run_code": args.run_code.then(|| json!([args.interpreter, args.code_timeout, args.code_memory])),
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
