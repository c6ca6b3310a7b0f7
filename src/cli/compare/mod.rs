//! `wmgen compare`.
//!
//! | file | what |
//! |---|---|
//! | this | from arguments to a report |
//! | `inputs` | reading and pairing the answers |
//!  `marks` | marks that a key's detector finds in them |
//!  `asked` | questions to a judge, and their outcomes |
//!  `judging` | asking a judge: what is left to ask, and the outcomes |
//! | `local`, `server` | a judge that is a model, and one behind HTTP |
//!  `ratings` | ratings that are logged, one a line, and ratings from elsewhere |
//! | `table`, `page` | the report for people |

mod asked;
mod inputs;
mod judging;
mod local;
mod marks;
mod page;
mod ratings;
mod server;
mod table;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use wmdetect::counted::counted;
use wmdetect::shell::outputs::{Kind as OutputKind, Outputs};
use wmdetect::shell::{INTERRUPTED, is_default, stop_when_asked};
use wmgen::compare::judge::{PROMPT, Template};
use wmgen::compare::report::{CompareReport, JudgeReport, MarkReport, TagReport};
use wmgen::compare::summary::{self, Rated};
use wmgen::compare::{comparator, rationales};

use super::args::CompareArgs;
use super::{print, print_json, read_text, say};
use inputs::Inputs;

pub(super) fn run(args: &CompareArgs) -> Result<ExitCode> {
    let judge = judging::Judge::of(args)?;
    let template = match &args.judge_prompt {
        Some(path) => Template::new(read_text(path)?).with_context(|| path.display().to_string())?,
        None => Template::new(PROMPT)?,
    };
    let files = [&args.prompts, &args.judge_prompt, &args.key, &args.b];
    let mut outputs = Outputs::new(args.force)
        .reads([&args.a])
        .reads(files.into_iter().flatten())
        .reads(args.tokenizer.as_deref().filter(|path| !is_default(path)))
        .reads(judge.paths());
    if let Some(path) = &args.ratings {
        outputs.check_resumed(path, OutputKind::RATINGS)?;
        ratings::KIND.check(path)?;
    }
    let output = args.output.as_deref().map(|path| outputs.open(path, OutputKind::COMPARISON)).transpose()?;
    let html = args.html.as_deref().map(|path| outputs.open(path, OutputKind::PAGE)).transpose()?;
    let Inputs { names, pairs, mut warnings } = inputs::read(args)?;
    let examples = pairs.examples;
    let marks = match &args.key {
        Some(path) => marks::find(path, args.tokenizer.as_deref(), &examples)?,
        None => Vec::new(),
    };
    let stop = stop_when_asked()?;
    let judged = judging::judge(args, judge, &template, &examples, &stop)?;
    if judged.stopped {
        let again = match &args.ratings {
            Some(_) => "the same command goes on from the file of --ratings",
            None => "with --ratings FILE a run can go on where it was interrupted",
        };
        say(&format!("interrupted: no report was written; {again}"));
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let all: Vec<Rated> = examples
        .into_iter()
        .zip(judged.ratings)
        .map(|(example, ratings)| Rated { example, ratings })
        .collect();
    warnings.extend(judged.report.as_ref().map(of_judge).unwrap_or_default());
    let mut scores = all.iter().flat_map(|rated| &rated.ratings).map(|rating| rating.score).peekable();
    if args.output.is_some() && scores.peek().is_some() && scores.all(|score| score >= 1.0) {
        warnings.push("all scores are 1 or more, which the page of LLM Comparator takes for another scale: its win rates are wrong".into());
    }
    let (groups, reasons) = rationales::grouped(&all);
    let tags = summary::wins_by_tag(&all).into_iter().map(|(tag, wins)| TagReport { tag, wins }).collect();
    let report = CompareReport {
        schema_version: 1,
        models: names,
        unpaired: pairs.unpaired.map(|places| places.len()),
        judge: judged.report,
        overall: summary::wins(&all),
        p_value: summary::p_value(&all, args.seed),
        tags,
        position: summary::position(&all),
        longer_wins: summary::longer_wins(&all),
        rationales: groups,
        watermark: MarkReport::of(&marks),
        warnings,
    };
    for warning in &report.warnings {
        say(&format!("warning: {warning}"));
    }
    if let Some(file) = output {
        let source = format!("wmgen compare: {} and {}", report.models[0], report.models[1]);
        let content = comparator::file(&source, &report.models, &all, (&report.rationales, &reasons), &marks);
        file.finish(&serde_json::to_vec(&content)?)?;
    }
    if let Some(file) = html {
        file.finish(page::of(&report, &all, &reasons, &marks).as_bytes())?;
    }
    if args.json {
        print_json(&report)?;
    } else {
        print(table::of(&report).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the warnings about a judge.
fn of_judge(judge: &JudgeReport) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |number: usize, one: &str, what: &str| {
        if number > 0 {
            warnings.push(format!("{} {what}", counted(number as u64, one)));
        }
    };
    warn(
        judge.unread,
        "reply",
        "of the judge without a verdict, not counted; the log of --ratings shows what was said",
    );
    warn(
        judge.too_long,
        "prompt",
        "not judged: too long for the judge's context together with a reply of --max-tokens",
    );
    warn(judge.refused, "prompt", "not judged: refused by the server");
    warnings
}
