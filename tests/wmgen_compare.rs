//! `wmgen compare` from end to end: with a judge behind HTTP, with the model that ships with wmgen as the judge, with ratings of
//! others, and without any.

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use serde::Deserialize;
use serde_json::{Value, json};
use support::*;
use wmgen::compare::comparator::File;

/// `wmgen compare --json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Compared {
    schema_version: u32,
    models: [String; 2],
    unpaired: [usize; 2],
    judge: Option<Judge>,
    overall: Wins,
    p_value: Option<f64>,
    tags: Vec<Value>,
    position: Position,
    longer_wins: Share,
    rationales: Vec<Value>,
    watermark: Option<Value>,
    warnings: Vec<String>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Judge {
    name: String,
    fingerprint: Option<String>,
    repeats: Option<usize>,
    ratings: usize,
    unread: usize,
    too_long: usize,
    refused: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Wins {
    examples: usize,
    rated: usize,
    a: usize,
    ties: usize,
    b: usize,
    win_rate: Option<f64>,
    interval: Option<[f64; 2]>,
    mean_score: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    first: Share,
    consistent: Share,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, clippy::struct_field_names)] // the report's names
struct Share {
    of: usize,
    share: Option<f64>,
    interval: Option<[f64; 2]>,
}

fn compare(dir: &Path, args: &[&str]) -> Compared {
    rows(&run(dir, &[&["compare", "--json"], args].concat())).remove(0)
}

fn write(dir: &Path, name: &str, lines: &[Value]) {
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    std::fs::write(dir.join(name), lines.join("\n")).unwrap();
}

/// Four prompts: A answers two well, B one, and one answer is the same.
fn answers(dir: &Path) {
    let line = |prompt: &str, response: &str, tag: &str| json!({"prompt": prompt, "response": response, "tags": [tag]});
    let a = [
        line("p0", "good and long", "x"),
        line("p1", "good", "x"),
        line("p2", "bad", "y"),
        line("p3", "same", "y"),
    ];
    let b =
        [line("p0", "bad", "x"), line("p1", "bad", "x"), line("p2", "good", "y"), line("p3", "same", "y")];
    write(dir, "a.jsonl", &a);
    write(dir, "b.jsonl", &b);
}

/// What the server was asked.
#[derive(Default)]
struct Asked {
    prompts: Vec<String>,
    keys: BTreeSet<String>,
}

/// A server on loopback that prefers what is good. To the first prompt of all it says that it is busy, and to `nonsense` it replies
/// without a verdict.
fn judge(nonsense: &'static str) -> (String, Arc<Mutex<Asked>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Asked::default()));
    let log = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                let mut stream = BufReader::new(stream.unwrap());
                while serve(&mut stream, &log, nonsense).is_some() {}
            });
        }
    });
    (address, asked)
}

fn serve(stream: &mut BufReader<std::net::TcpStream>, log: &Mutex<Asked>, nonsense: &str) -> Option<()> {
    let (mut line, mut length, mut key) = (String::new(), 0, String::new());
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let is_list = line.starts_with("GET /v1/models ");
    loop {
        line.clear();
        stream.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap();
            }
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => value.clone_into(&mut key),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let (status, reply) = if is_list {
        ("200 OK", json!({"data": [{"id": "fair"}]}))
    } else {
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((body["model"].as_str(), body["temperature"].as_f64()), (Some("fair"), Some(0.7)));
        let prompt = body["messages"][0]["content"].as_str().unwrap();
        let mut log = log.lock().unwrap();
        log.keys.insert(key);
        log.prompts.push(prompt.to_owned());
        if log.prompts.len() == 1 {
            ("429 Too Many Requests", json!({"error": {"message": "busy"}}))
        } else {
            let reply = verdict(prompt, nonsense);
            ("200 OK", json!({"choices": [{"message": {"content": reply}}]}))
        }
    };
    let reply = reply.to_string();
    let head = format!("HTTP/1.1 {status}\r\nRetry-After: 0\r\nContent-Length: {}\r\n\r\n", reply.len());
    stream.get_mut().write_all(format!("{head}{reply}").as_bytes()).ok()
}

fn verdict(prompt: &str, nonsense: &str) -> String {
    let of = |name: &str| {
        let (_, behind) = prompt.split_once(&format!("[Response {name}]\n")).unwrap();
        behind.split('\n').next().unwrap().starts_with("good")
    };
    let (verdict, why) = match (of("A"), of("B")) {
        (true, false) => ("A is better", "Response A is helpful &amp; clear."),
        (false, true) => ("B is better", "Response B is helpful &amp; clear."),
        _ => ("same", "No difference."),
    };
    if prompt.contains(&format!("[Prompt]\n{nonsense}\n")) {
        return "I would rather not say.".into();
    }
    format!("<result>\n<explanation>{why}</explanation>\n<verdict>{verdict}</verdict>\n</result>")
}

#[test]
fn a_judge_behind_http_is_asked_in_both_orders_and_its_files_open() {
    let dir = tempfile::tempdir().unwrap();
    answers(dir.path());
    let (address, asked) = judge("p3");
    let output = wmgen(dir.path())
        .args(["compare", "--json", "a.jsonl", "b.jsonl", "--judge", &address, "--api-key-env", "JUDGE_KEY"])
        .args(["--ratings", "log", "--output", "c.json", "--html", "c.html"])
        .env("JUDGE_KEY", "secret-of-the-judge")
        .output()
        .unwrap();
    conform("compare", &ok(&output));
    let report: Compared = rows(&output).remove(0);
    let judge = Judge {
        name: "fair".into(),
        fingerprint: None,
        repeats: Some(6),
        ratings: 18,
        unread: 6,
        too_long: 0,
        refused: 0,
    };
    assert_eq!(report.judge, Some(judge));
    let wins = &report.overall;
    assert_eq!((wins.examples, wins.rated, wins.a, wins.ties, wins.b), (4, 3, 2, 0, 1));
    assert_eq!(wins.win_rate, Some(2.0 / 3.0));
    // Of 8 ways to give three sums of one size their signs 2 have a sum of 3, and the others one of 1: all are as far as 1.
    assert_eq!(report.p_value, Some(1.0));
    assert_eq!((report.position.first.share, report.position.consistent.share), (Some(0.5), Some(1.0)));
    assert_eq!((report.longer_wins.of, report.longer_wins.share), (3, Some(1.0)));
    assert_eq!(report.tags[0]["tag"], "x");
    assert!(
        report.warnings[0].starts_with("6 replies of the judge without a verdict"),
        "{:?}",
        report.warnings
    );

    let asked = asked.lock().unwrap();
    assert_eq!(asked.prompts.len(), 25, "one was asked again");
    assert_eq!(asked.keys, BTreeSet::from(["Bearer secret-of-the-judge".to_owned()]));
    let text = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    for written in
        [text("log"), text("c.json"), text("c.html"), String::from_utf8_lossy(&output.stderr).into_owned()]
    {
        assert!(!written.contains("secret-of-the-judge"));
    }
    let orders = text("log").lines().skip(1).filter(|line| line.contains("\"flipped\":true")).count();
    assert_eq!(orders, 12);

    let file: File = serde_json::from_str(&text("c.json")).unwrap();
    assert_eq!(file.models.map(|model| model.name), ["a", "b"]);
    let scores: Vec<Option<f64>> = file.examples.iter().map(|example| example.score).collect();
    assert_eq!(scores, [Some(1.0), Some(1.0), Some(-1.0), None]);
    let ratings = &file.examples[0].individual_rater_scores;
    for rating in ratings {
        // The label is in the judge's order, score and rationale are in that of the file.
        let label = if rating.is_flipped == Some(true) { "B is better" } else { "A is better" };
        assert_eq!((rating.score, rating.rating_label.as_deref()), (1.0, Some(label)));
        assert_eq!(rating.rationale, "Response A is helpful & clear.");
    }
    assert_eq!(ratings.iter().filter(|rating| rating.is_flipped == Some(true)).count(), 3);
    // What the page of LLM Comparator needs, by its own types.ts.
    let raw: Value = serde_json::from_str(&text("c.json")).unwrap();
    let has = |value: &Value, names: &[&str]| names.iter().all(|name| value.get(name).is_some());
    assert!(has(&raw, &["metadata", "models", "examples", "rationale_clusters"]));
    assert!(has(&raw["metadata"], &["source_path", "custom_fields_schema"]));
    let names = [
        "input_text",
        "tags",
        "output_text_a",
        "output_text_b",
        "score",
        "individual_rater_scores",
        "rationale_list",
        "custom_fields",
    ];
    for example in raw["examples"].as_array().unwrap() {
        assert!(has(example, &names), "{example}");
        for field in raw["metadata"]["custom_fields_schema"].as_array().unwrap() {
            assert!(example["custom_fields"].get(field["name"].as_str().unwrap()).is_some(), "{field}");
        }
        for reason in example["rationale_list"].as_array().unwrap() {
            let clusters = raw["rationale_clusters"].as_array().unwrap().len();
            assert_eq!(reason["similarities"].as_array().unwrap().len(), clusters);
        }
    }
}

#[test]
fn a_run_goes_on_from_its_log_and_more_repeats_can_be_added() {
    let dir = tempfile::tempdir().unwrap();
    answers(dir.path());
    let (address, asked) = judge("none");
    let args = ["a.jsonl", "b.jsonl", "--judge", &address, "--ratings", "log"];
    let first = run(dir.path(), &[&["compare", "--json"], &args[..]].concat());
    let whole = ok(&first);
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert_eq!(log.lines().count(), 25);
    // Ten results, and half of the eleventh.
    let ends = log.match_indices('\n').nth(10).unwrap().0;
    std::fs::write(dir.path().join("log"), &log[..ends + 20]).unwrap();
    let before = asked.lock().unwrap().prompts.len();
    assert_eq!(ok(&run(dir.path(), &[&["compare", "--json"], &args[..]].concat())), whole);
    assert_eq!(asked.lock().unwrap().prompts.len() - before, 14);
    // Without a judge the log is a file of ratings.
    let read = compare(dir.path(), &["a.jsonl", "b.jsonl", "--ratings", "log"]);
    assert_eq!(read.overall.win_rate, Some(0.625));
    assert_eq!(read.judge.unwrap().ratings, 24);
    let more = compare(dir.path(), &[&args[..], &["--repeats", "8"]].concat());
    assert_eq!((more.judge.unwrap().ratings, asked.lock().unwrap().prompts.len() - before), (32, 14 + 8));
    // Another question is another run.
    let other = run(dir.path(), &[&["compare"], &args[..], &["--temperature", "0"]].concat());
    refused(&other, "they are of another run; expected the options of this command, found others");
    std::fs::write(dir.path().join("a.jsonl"), "{\"prompt\":\"p0\",\"response\":\"other\"}").unwrap();
    refused(
        &run(dir.path(), &["compare", "a.jsonl", "b.jsonl", "--unpaired", "skip", "--ratings", "log"]),
        "expected ratings of these answers",
    );
}

/// The small model writes nonsense, so no reply has a verdict. That is a report without win rates, not an error.
#[test]
fn a_judge_that_cannot_judge_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    answers(dir.path());
    let args = ["a.jsonl", "b.jsonl", "--judge", "default", "--repeats", "2", "--max-tokens", "12"];
    let report = compare(dir.path(), &[&args[..], &["--output", "c.json", "--html", "c.html"]].concat());
    let judge = report.judge.unwrap();
    assert_eq!((judge.ratings, judge.unread, judge.too_long), (0, 8, 0));
    assert_eq!(
        (judge.name.as_str(), report.overall.rated, report.overall.win_rate),
        ("wmgen-default", 0, None)
    );
    assert_eq!((report.p_value, report.position.first.share), (None, None));
    // A reply that takes all of the context leaves no room for a prompt.
    let none = run(dir.path(), &[&["compare"], &args[..6], &["--max-tokens", "500"]].concat());
    refused(&none, "leave 500 of its 512 tokens for a reply, found only longer ones");
}

#[test]
fn receipts_and_samples_are_compared_and_their_marks_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    fixed_key(1).write(dir.path().join("k.bin"), false).unwrap();
    let prompts = [
        json!({"prompt": "The old lighthouse", "tags": ["sea"]}),
        json!({"prompt": "She opened the letter", "tag": "house"}),
    ];
    write(dir.path(), "prompts.jsonl", &prompts);
    let generate = |args: &[&str], name: &str| {
        let all = [
            &["generate", "--prompts", "prompts.jsonl", "--json", "--max-tokens", "70", "--seed", "3"],
            args,
        ]
        .concat();
        std::fs::write(dir.path().join(name), ok(&run(dir.path(), &all))).unwrap();
    };
    generate(&["--key", "k.bin"], "marked.jsonl");
    generate(&["--no-watermark"], "unmarked.jsonl");
    let report = compare(
        dir.path(),
        &[
            "marked.jsonl",
            "unmarked.jsonl",
            "--prompts",
            "prompts.jsonl",
            "--key",
            "k.bin",
            "--output",
            "c.json",
            "--html",
            "c.html",
        ],
    );
    assert_eq!(report.models, ["marked", "unmarked"]);
    assert_eq!(report.tags.len(), 2);
    let mark = report.watermark.unwrap();
    assert_eq!((&mark["a"]["watermarked"], &mark["b"]["watermarked"]), (&json!(2), &json!(0)));
    let file: File =
        serde_json::from_str(&std::fs::read_to_string(dir.path().join("c.json")).unwrap()).unwrap();
    let fields = &file.examples[0].custom_fields;
    assert_eq!(
        (file.examples[0].input_text.as_str(), &fields["mark"][0]),
        ("The old lighthouse", &json!("watermarked"))
    );
    assert!(fields["p-value"][0].as_f64().unwrap() < 1e-3 && fields["p-value"][1].as_f64().unwrap() > 1e-3);
    assert_eq!(fields["tokens"][0], 70);
    assert!(fields["tokens per second"][1].as_f64().unwrap() > 0.0);
    let page = std::fs::read_to_string(dir.path().join("c.html")).unwrap();
    assert!(page.contains("class=\"e4\"") && page.contains("found watermarked"), "the evidence is in colour");
    // Without the file of prompts they are spelled from the receipts' ids. The tokenizer is not that directory.
    std::fs::create_dir(dir.path().join("default")).unwrap();
    let output = dir.path().join("default/d.json");
    std::fs::write(&output, "").unwrap();
    let args = ["marked.jsonl", "unmarked.jsonl", "--tokenizer", "default", "--output", "default/d.json"];
    compare(dir.path(), &args);
    let file: File = serde_json::from_str(&std::fs::read_to_string(output).unwrap()).unwrap();
    assert_eq!(file.examples[1].input_text, "She opened the letter");

    // The samples of an evaluation have both in one file.
    let eval = [
        "eval",
        "--task",
        "free_text",
        "--data",
        "prompts.jsonl",
        "--max-tokens",
        "20",
        "--watermark",
        "k.bin",
        "--compare",
    ];
    ok(&run(dir.path(), &[&eval[..], &["--seeds", "2", "--samples", "samples"]].concat()));
    let report = compare(dir.path(), &["samples"]);
    assert_eq!((report.models, report.overall.examples), (["marked".to_owned(), "unmarked".to_owned()], 4));
    refused(&run(dir.path(), &["compare", "marked.jsonl"]), "expected samples of `wmgen eval --compare`");
}

#[test]
fn an_answer_gets_the_prompt_of_its_id_or_of_its_line_where_one_has_no_id() {
    let dir = tempfile::tempdir().unwrap();
    let receipt = |id: &str, line: u64| json!({"id": id, "line": line, "prompt_tokens": [line], "text": id});
    for name in ["a.jsonl", "b.jsonl"] {
        write(dir.path(), name, &[receipt("one", 1), receipt("two", 2)]);
    }
    let args = ["a.jsonl", "b.jsonl", "--prompts", "prompts.jsonl", "--output", "c.json"];
    let prompts = |lines: &[Value]| -> Vec<String> {
        write(dir.path(), "prompts.jsonl", lines);
        compare(dir.path(), &args);
        let file = std::fs::read_to_string(dir.path().join("c.json")).unwrap();
        let file: File = serde_json::from_str(&file).unwrap();
        file.examples.into_iter().map(|example| example.input_text).collect()
    };
    assert_eq!(prompts(&[json!({"prompt": "p"}), json!({"prompt": "q"})]), ["p", "q"]);
    let by_id = [json!({"id": "two", "prompt": "q"}), json!({"id": "one", "prompt": "p"})];
    assert_eq!(prompts(&by_id), ["p", "q"]);
    write(
        dir.path(),
        "prompts.jsonl",
        &[json!({"id": "x", "prompt": "p"}), json!({"id": "y", "prompt": "q"})],
    );
    refused(
        &run(dir.path(), &[&["compare"], &args[..]].concat()),
        "expected its prompt in prompts.jsonl, by its id or its line, found neither",
    );
}

#[test]
fn what_people_said_counts_and_no_text_can_take_over_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let hostile = "</div></script><script>alert(1)</script><img src=x onerror=alert(2)>\u{202e}\u{7}";
    let line = |side: &str| json!({"id": hostile, "prompt": hostile, "response": format!("{side}{hostile}"), "tags": [hostile], "model": hostile});
    write(dir.path(), "a.jsonl", &[line("a"), json!({"id": 2, "prompt": "q", "response": "x"})]);
    write(dir.path(), "b.jsonl", &[line("b"), json!({"id": 2, "prompt": "q", "response": "y"})]);
    let ratings = [
        json!({"id": hostile, "verdict": "A is much better", "flipped": true, "rationale": hostile}),
        json!({"example": 1, "score": 0.5, "rationale": format!("{hostile} wonderful")}),
        json!({"id": 2, "score": 0.75}),
    ];
    write(dir.path(), "people", &ratings);
    let names = ["--names", hostile, "B"];
    let report = compare(
        dir.path(),
        &[&["a.jsonl", "b.jsonl", "--ratings", "people", "--html", "c.html"], &names[..]].concat(),
    );
    assert_eq!((report.overall.a, report.overall.b), (1, 1));
    let page = std::fs::read_to_string(dir.path().join("c.html")).unwrap();
    assert_eq!(page.matches("<script>").count(), 1);
    assert!(!page.contains("<img") && !page.contains('\u{202e}') && !page.contains('\u{7}'));
    assert!(page.contains("script-src 'sha256-") && page.contains("&lt;script&gt;alert(1)"));
    let bad = |line: Value, expected: &str| {
        write(dir.path(), "bad", &[line]);
        refused(&run(dir.path(), &["compare", "a.jsonl", "b.jsonl", "--ratings", "bad"]), expected);
    };
    bad(json!({"id": 3, "score": 1}), "bad:1: expected the id of an example in id, found 3");
    bad(json!({"example": 2, "score": 1}), "expected a whole number below 2 in example, found 2");
    bad(json!({"example": 0, "score": 2}), "expected a number from -1.5 to 1.5 in score, found 2");
    bad(json!({"example": 0, "verdict": "A"}), "in verdict, found \"A\"");
}

#[test]
fn what_does_not_fit_together_is_said_before_a_judge_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    answers(dir.path());
    write(
        dir.path(),
        "less.jsonl",
        &[json!({"prompt": "p0", "response": "r"}), json!({"prompt": "p9", "response": "r"})],
    );
    let compare = |args: &[&str]| run(dir.path(), &[&["compare"], args].concat());
    let unpaired =
        "found none to 3 answers of A (a.jsonl:2, a.jsonl:3, a.jsonl:4) and 1 answer of B (less.jsonl:2)";
    refused(&compare(&["a.jsonl", "less.jsonl"]), unpaired);
    let skipped = ok(&compare(&["a.jsonl", "less.jsonl", "--unpaired", "skip"]));
    assert!(skipped.contains("1 example, without ratings"), "{skipped}");
    std::fs::write(dir.path().join("bad.jsonl"), "{\"prompt\": \"p\"}\n").unwrap();
    refused(
        &compare(&["bad.jsonl", "b.jsonl"]),
        "bad.jsonl:1: expected an answer in one of the fields response",
    );
    refused(
        &compare(&["a.jsonl", "b.jsonl", "--judge", "https://api.example.com/v1"]),
        "wmgen does not speak TLS",
    );
    for address in ["http://bob:s3cret@127.0.0.1:1/v1", "https://s3cret@example.com", "http://s3cret@h?x"] {
        let output = compare(&["a.jsonl", "b.jsonl", "--judge", address]);
        refused(&output, "hint: --api-key-env names the environment variable");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("expected an address without a user") && !error.contains("s3cret"), "{error}");
    }
    refused(
        &compare(&["a.jsonl", "b.jsonl", "--judge", "http://127.0.0.1:1/v1?mail=a@b", "--judge-model", "m"]),
        "expected a server that replies, found none",
    );
    refused(
        &compare(&["a.jsonl", "b.jsonl", "--judge", "http://127.0.0.1:1/v1", "--judge-model", "m"]),
        "expected a server that replies, found none",
    );
    refused(
        &compare(&[
            "a.jsonl",
            "b.jsonl",
            "--judge",
            "http://127.0.0.1:1/v1",
            "--api-key-env",
            "WMGEN_NO_SUCH",
        ]),
        "found that it is not set",
    );
    refused(
        &compare(&["a.jsonl", "b.jsonl", "--judge", "default", "--judge-model", "m"]),
        "expected the address of a server in --judge",
    );
    std::fs::write(dir.path().join("prompt"), "{prompt} {response_a}").unwrap();
    refused(
        &compare(&["a.jsonl", "b.jsonl", "--judge", "default", "--judge-prompt", "prompt"]),
        "found no {response_b}",
    );
    refused(
        &compare(&["a.jsonl", "b.jsonl", "--output", "a.jsonl"]),
        "expected a file that this run does not read",
    );
    std::fs::write(dir.path().join("foreign"), "text").unwrap();
    refused(&compare(&["a.jsonl", "b.jsonl", "--output", "foreign"]), "found another file");
}
