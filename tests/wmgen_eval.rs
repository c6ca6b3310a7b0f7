//! `wmgen eval` from end to end, on the tiny random Gemma 2.
//!
//! The reference is lm-evaluation-harness 0.4.13 on the same files; see `tests/oracle/eval_reference.py`.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use support::*;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/eval");

fn data(name: &str) -> String {
    format!("{DATA}/{name}.jsonl")
}

#[derive(Deserialize)]
struct Reference {
    tasks: Vec<ReferenceTask>,
}

#[derive(Deserialize)]
struct ReferenceTask {
    task: String,
    shots: usize,
    metrics: BTreeMap<String, BTreeMap<String, f64>>,
    documents: Vec<ReferenceDocument>,
}

#[derive(Deserialize)]
struct ReferenceDocument {
    document: usize,
    #[serde(default)]
    prompt: String,
    #[serde(default)]
    loglikelihoods: Vec<f64>,
    answer: Option<String>,
    #[serde(default)]
    scores: BTreeMap<String, f64>,
}

/// A line of `--samples` behind the first.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    #[allow(dead_code)]
    task: String,
    marked: bool,
    run: usize,
    document: usize,
    scores: BTreeMap<String, f64>,
    #[allow(dead_code)]
    truncated: bool,
    tokens: u64,
    marked_tokens: u64,
    prompt: String,
    #[allow(dead_code)]
    target: Option<String>,
    #[allow(dead_code)]
    choices: Option<Vec<String>>,
    #[serde(default)]
    loglikelihoods: Vec<f64>,
    #[allow(dead_code)]
    greedy: Option<Vec<bool>>,
    answer: Option<String>,
    #[allow(dead_code)]
    #[serde(default)]
    extracted: Vec<String>,
    #[allow(dead_code)]
    seed: Option<u64>,
}

fn samples(path: &Path) -> Vec<Sample> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn eval(dir: &Path, args: &[&str]) -> EvalReport {
    let output = run(dir, &[&["eval", "--json", "--model", MODEL], args].concat());
    conform("eval", &ok(&output));
    rows(&output).remove(0)
}

/// Multiple choice, generation and perplexity: with groups, with a prompt that is cut at the front, and with a text of several
/// windows.
#[test]
fn every_number_is_the_harness_s() {
    let reference = std::fs::read_to_string(format!("{DATA}/reference.json")).unwrap();
    let reference: Reference = serde_json::from_str(&reference).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for want in reference.tasks {
        let (file, shots_data) = match &*want.task {
            "mmlu" => ("mmlu", Some("mmlu_dev")),
            "arc_challenge" => ("arc", Some("arc_train")),
            "gsm8k" => ("gsm8k", Some("gsm8k_train")),
            "mbpp" => ("mbpp", None),
            _ => ("texts", None),
        };
        let (file, shots_data, shots) = (data(file), shots_data.map(data), want.shots.to_string());
        let mut args = vec![
            "--task",
            &want.task,
            "--data",
            &file,
            "--samples",
            "log",
            "--max-tokens",
            "40",
            "--shots",
            &shots,
        ];
        args.extend(shots_data.iter().flat_map(|path| ["--shots-data", path]));
        let report = eval(dir.path(), &args);
        let found = samples(&dir.path().join("log"));
        std::fs::remove_file(dir.path().join("log")).unwrap();

        assert_eq!(found.len(), want.documents.len(), "{}", want.task);
        for want in &want.documents {
            let found = found.iter().find(|found| found.document == want.document).unwrap();
            assert_eq!(found.prompt, want.prompt);
            assert_eq!(found.loglikelihoods.len(), want.loglikelihoods.len());
            for (found, want) in found.loglikelihoods.iter().zip(&want.loglikelihoods) {
                assert!((found - want).abs() < 1e-3, "{found} {want}");
                compared += 1;
            }
            assert_eq!(found.answer, want.answer);
            for (name, score) in &want.scores {
                assert_eq!(found.scores[name], *score, "{name}");
            }
        }
        let all = report.tasks.iter().chain(report.tasks.iter().flat_map(|task| &task.groups));
        for (name, metrics) in want.metrics.iter().filter(|_| want.task != "mbpp") {
            let task = all.clone().find(|task| task.task == *name).unwrap();
            for metric in &task.metrics {
                let filter = metric.filter.as_deref().unwrap_or("none");
                let (value, stderr) = (metric.value.unwrap(), metric.stderr.unwrap());
                let want = metrics[&format!("{},{filter}", metric.metric)];
                assert!((value / want - 1.0).abs() < 1e-6 || value == want, "{name}: {value} {want}");
                // The harness has none for perplexities.
                if let Some(want) = metrics.get(&format!("{}_stderr,{filter}", metric.metric)) {
                    assert!((stderr - want).abs() < 1e-12, "{name}: {stderr} {want}");
                }
            }
        }
    }
    assert!(compared > 50);
}

#[test]
fn a_comparison_is_paired_and_goes_on_where_it_was_killed() {
    let (dir, _) = with_key();
    let prompts = data("prompts");
    let gsm8k = data("gsm8k");
    let args = [
        "--task",
        "free_text",
        "--data",
        &prompts,
        "--task",
        "gsm8k",
        "--data",
        &gsm8k,
        "--shots",
        "0",
        "--watermark",
        "k.bin",
        "--compare",
        "--keys",
        "2",
        "--seeds",
        "2",
        "--max-tokens",
        "30",
        "--samples",
        "log",
        "--batch",
        "3",
    ];
    let report = eval(dir.path(), &args);
    let log = dir.path().join("log");
    let lines = samples(&log);
    assert_eq!(lines.len(), (6 + 5) * 4 * 2);
    assert!(lines.iter().all(|line| line.marked == (line.marked_tokens > 0) || line.tokens < 6));

    let task = &report.tasks[0];
    let mark = task.watermark.as_ref().unwrap();
    assert_eq!(mark.key_ids.len(), 2);
    assert!(mark.marked_tokens > 0 && mark.marked_tokens < mark.tokens);
    let comparison = task.comparison.as_ref().unwrap();
    assert_eq!(comparison.runs.len(), 4);
    let nll = comparison.metrics.iter().find(|metric| metric.metric == "nll").unwrap();
    let nll = nll.difference.as_ref().unwrap();
    let of = |marked| {
        let scores: Vec<f64> = lines
            .iter()
            .filter(|line| line.marked == marked)
            .filter_map(|line| line.scores.get("nll").copied())
            .collect();
        scores.iter().sum::<f64>() / scores.len() as f64
    };
    assert!((nll.unmarked - of(false)).abs() < 1e-9 && (nll.marked - of(true)).abs() < 1e-9);
    assert!((nll.difference - (nll.marked - nll.unmarked)).abs() < 1e-9);
    assert!(nll.interval[0] < nll.difference && nll.difference < nll.interval[1]);
    assert!((nll.margin - 0.02 * nll.unmarked).abs() < 1e-9);
    assert_eq!(nll.runs.len(), 4);
    // The runs draw differently.
    assert!((0..4).all(|run| lines.iter().any(|line| line.run == run)));
    assert_ne!(nll.runs[0], nll.runs[1]);

    // Killed in the middle of a line: the rest is done again, and the report is the same.
    let whole = std::fs::read(&log).unwrap();
    std::fs::write(&log, &whole[..whole.len() / 2]).unwrap();
    let again = eval(dir.path(), &args);
    assert_eq!(again.tasks[0].comparison, report.tasks[0].comparison);
    assert_eq!(again.tasks[1].comparison, report.tasks[1].comparison);
    let other = [&["eval", "--model", MODEL, "--seed", "2"], &args[..]].concat();
    refused(&run(dir.path(), &other), "it is of another run; expected the keys and seeds of this command");
    let other = [&["eval", "--model", MODEL, "--top-k", "3"], &args[..]].concat();
    refused(&run(dir.path(), &other), "free_text: top_k: expected 3, found ");
}

#[test]
fn results_of_another_tokenizer_are_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let mut json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(TOKENIZER).unwrap()).unwrap();
    // Two pieces have changed their numbers.
    let vocab = &mut json["model"]["vocab"];
    let (first, second) = (vocab["he"].clone(), vocab["in"].clone());
    assert!(first.is_u64() && second.is_u64());
    vocab["he"] = second;
    vocab["in"] = first;
    std::fs::write(dir.path().join("other.json"), json.to_string()).unwrap();
    let texts = data("texts");
    let args = ["--task", "perplexity", "--data", &texts, "--limit", "1", "--samples", "log"];
    eval(dir.path(), &args);
    eval(dir.path(), &[&args[..], &["--tokenizer", TOKENIZER]].concat());
    let again = |more: &[&str]| run(dir.path(), &[&["eval", "--model", MODEL], &args[..], more].concat());
    refused(
        &again(&["--tokenizer", "other.json"]),
        "it is of another run; expected the tokenizer of this command, found another",
    );
    // As versions before wrote it.
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    let (first, lines) = log.split_once('\n').unwrap();
    let mut first: serde_json::Value = serde_json::from_str(first).unwrap();
    first["eval"].as_object_mut().unwrap().remove("tokenizer").unwrap();
    std::fs::write(dir.path().join("log"), format!("{first}\n{lines}")).unwrap();
    refused(&again(&[]), "expected the tokenizer of this command, found that the file names none");
}

#[test]
fn what_cannot_be_measured_is_refused_and_a_task_file_is_read() {
    let (dir, _) = with_key();
    let (mmlu, gsm8k) = (data("mmlu"), data("gsm8k"));
    let of = |args: &[&str]| run(dir.path(), &[&["eval", "--model", MODEL], args].concat());
    refused(&of(&["--task", "mmul", "--data", &mmlu]), "expected one of mmlu, arc_challenge, gsm8k");
    refused(
        &of(&["--task", "mmlu", "--data", &mmlu]),
        "mmlu.jsonl:1: expected at least 5 examples for the shots of sea_birds, found 3",
    );
    refused(
        &of(&["--task", "mmlu", "--data", &gsm8k, "--shots", "0"]),
        "field subject: expected a string or a number, found no such field",
    );
    refused(
        &of(&["--task", "mmlu", "--data", &mmlu, "--shots", "0", "--watermark", "k.bin", "--compare"]),
        "which no mark touches",
    );
    refused(
        &of(&[
            "--task",
            "gsm8k",
            "--data",
            &gsm8k,
            "--shots",
            "0",
            "--watermark",
            "k.bin",
            "--temperature",
            "0",
        ]),
        "hint: without --watermark the answers are unmarked",
    );
    let marked = ["--task", "gsm8k", "--data", &gsm8k, "--shots", "0", "--compare", "--limit", "2"];
    let marked = [&marked[..], &["--max-tokens", "5", "--watermark", "k.bin"]].concat();
    refused(&of(&[&marked[..], &["--watermark", "k.bin"]].concat()), "expected different keys, found ");
    let warned = of(&[&marked[..], &["--seeds", "2"]].concat());
    ok(&warned);
    let warned = String::from_utf8_lossy(&warned.stderr);
    assert!(warned.contains("with one key the interval says nothing of other keys"), "{warned}");
    let own = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    own("bad.jsonl", "{\"text\": \"a\"}\n{\"text\": \"\"}\n");
    refused(
        &of(&["--task", "perplexity", "--data", "bad.jsonl"]),
        "perplexity: bad.jsonl:2: field text: expected a text with at least one token to score",
    );
    refused(&of(&["--task", "perplexity", "--data", "bad.jsonl", "--shots", "1"]), "--shots: expected 0");
    own("array.jsonl", "[1, 2]\n");
    refused(
        &of(&["--task", "perplexity", "--data", "array.jsonl"]),
        "array.jsonl:1: expected a JSON object, found an array",
    );
    let program = ["--task", "mbpp", "--data", &data("mbpp"), "--run-code"];
    refused(&of(&[&program[..], &["--code-memory", "18446744073709551615"]].concat()), "16..=");
    refused(&of(&[&program[..], &["--interpreter", "./python"]].concat()), "./python not found");
    refused(
        &of(&["--task", "gsm8k", "--data", &gsm8k, "--shots", "0", "--run-code"]),
        "expected a task that is measured by pass_at_1",
    );
    refused(
        &of(&["--task", "gsm8k", "--data", &gsm8k, "--shots", "0", "--samples", &gsm8k]),
        "expected a file that this run does not read",
    );
    #[cfg(unix)]
    refused(
        &of(&["--task", "gsm8k", "--data", &gsm8k, "--shots", "0", "--samples", "/dev/null"]),
        "expected a regular file, found a device",
    );
    own(
        "shots.json",
        r#"{"task": "own", "kind": "generate", "metrics": ["exact_match"], "prompt": "{question}", "target": "{answer}",
        "shots": 1, "examples": [{"question": "q"}]}"#,
    );
    refused(
        &of(&["--task", "shots.json", "--data", &gsm8k]),
        "own: shots.json: example 0: field answer: expected a string or a number, found no such field",
    );
    let task = r#"{"task": "own", "kind": "generate", "metrics": ["exact_match"], "prompt": "{question}", "target": "{answer}",
        "filters": [{"name": "first", "pattern": "[a-z]+"}], "max_tokens": 8}"#;
    std::fs::write(dir.path().join("own.json"), task).unwrap();
    let report = eval(dir.path(), &["--task", "own.json", "--data", &gsm8k, "--limit", "2"]);
    assert_eq!((report.tasks[0].documents, report.tasks[0].metrics[0].filter.as_deref()), (2, Some("first")));
    let table = ok(&of(&["--task", "own.json", "--data", &gsm8k]));
    assert!(
        table.starts_with("task  filter  shots  metric")
            && table.contains("own   first   0      exact_match"),
        "{table}"
    );
}
