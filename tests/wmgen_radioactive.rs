//! `wmgen radioactive` from end to end, on the tiny random Gemma 2.

mod support;

use std::path::Path;

use support::*;
use wmdetect::scheme::{Key, Preset};
use wmdetect::statistics::PKind;
use wmgen::model::{Gemma, LoadOptions};

/// The tiny model's own texts, marked and unmarked.
fn corpora(dir: &Path) {
    for (name, mark) in [("marked", &["--key", "k.bin"][..]), ("unmarked", &["--no-watermark"])] {
        let args =
            [&["generate", "--model", MODEL, "--json", "-n", "6", "--max-tokens", "60", "--seed", "5"], mark]
                .concat();
        std::fs::write(dir.join(format!("{name}.jsonl")), ok(&run(dir, &args))).unwrap();
    }
}

fn ask(dir: &Path, args: &[&str]) -> Radioactive {
    let output = run(dir, &[&["radioactive", "--json", "--student", MODEL, "--key", "k.bin"], args].concat());
    conform("radioactive", &ok(&output));
    rows(&output).remove(0)
}

#[test]
fn the_choices_are_the_students_and_every_position_is_accounted_for() {
    let (dir, _) = with_key();
    let dir = dir.path();
    corpora(dir);
    let report = ask(dir, &["--corpus", "marked.jsonl", "--samples", "log", "--control", "200"]);
    let key = &report.keys[0];
    let ExcludedPositions { incomplete_context, repeated_context, earlier_document, beyond_pairs } =
        key.excluded;
    assert_eq!(
        report.positions,
        key.pairs + incomplete_context + repeated_context + earlier_document + beyond_pairs
    );
    assert!(key.pairs > 100 && beyond_pairs == 0, "{key:?}");
    // The corpus is marked; the model that wrote it did not learn from it.
    assert!(key.corpus_log10_p.unwrap() < -6.0 && report.log10_p.unwrap() > -3.0, "{report:?}");
    assert_eq!((&*report.verdict, report.p_kind), ("not_detected", PKind::Approximate));
    let control = key.control.as_ref().unwrap();
    assert_eq!((control.keys, control.seed, control.p_values.len()), (200, 1, 200));
    assert!(control.p_values.is_sorted() && control.ks_p > 1e-3 && control.distance < 0.15, "{control:?}");
    assert!(control.at_most_fpr < 5);

    // Each choice is the model's most likely token after the tokens before.
    let log = std::fs::read_to_string(dir.join("log")).unwrap();
    let line: serde_json::Value = serde_json::from_str(log.lines().nth(1).unwrap()).unwrap();
    let receipt = std::fs::read_to_string(dir.join("marked.jsonl")).unwrap();
    let receipt: Report = serde_json::from_str(receipt.lines().next().unwrap()).unwrap();
    let model = Gemma::load(MODEL, LoadOptions::default()).unwrap();
    let ids = [&receipt.prompt_tokens[..], &receipt.tokens].concat();
    let logits = model.forward_all(&[&ids], &mut model.new_cache(1)).unwrap();
    let logits = logits.squeeze(0).unwrap().to_vec2::<f32>().unwrap();
    for (at, choice) in line["choices"].as_array().unwrap().iter().enumerate() {
        let row = &logits[receipt.prompt_tokens.len() + at - 1];
        let best = row.iter().copied().fold(f32::MIN, f32::max);
        assert!(best - row[choice.as_u64().unwrap() as usize] < 1e-4, "position {at}");
    }

    // A number that was chosen before makes p exact. Nothing is read again, not even with half a line at the end.
    std::fs::write(dir.join("log"), format!("{log}{{\"docu")).unwrap();
    let exact = ask(dir, &["--corpus", "marked.jsonl", "--samples", "log", "--pairs", "100"]);
    assert_eq!((exact.keys[0].pairs, exact.p_kind), (100, PKind::Exact));
    assert_eq!(std::fs::read_to_string(dir.join("log")).unwrap(), log);
    let changed = log.replacen("\"choices\":[", "\"choices\":[9,", 1);
    std::fs::write(dir.join("log"), changed).unwrap();
    let args = ["radioactive", "--student", MODEL, "--key", "k.bin", "--samples", "log", "--corpus"];
    refused(&run(dir, &[&args[..], &["marked.jsonl"]].concat()), "line 2: expected 60 choices, found 61");
    refused(&run(dir, &[&args[..], &["unmarked.jsonl"]].concat()), "expected the corpus of this command");
}

#[test]
fn an_unmarked_corpus_counts_pairs_and_several_keys_cost() {
    let (dir, _) = with_key();
    let dir = dir.path();
    corpora(dir);
    fixed_key(2).write(dir.join("k2.bin"), false).unwrap();
    Key::generate(Preset::Balanced).unwrap().write(dir.join("k3.bin"), false).unwrap();
    let more = ["--corpus", "unmarked.jsonl", "--unmarked", "--key", "k2.bin", "--key", "k3.bin"];
    let report = ask(dir, &more);
    assert_eq!((report.keys_tried, report.p_kind, report.unmarked), (3, PKind::Conservative, true));
    let least = report.keys.iter().map(|key| key.p_value.unwrap()).fold(1.0, f64::min);
    assert!((report.p_value.unwrap() - (3.0 * least).min(1.0)).abs() < 1e-9);
    assert_eq!(report.keys[2].channels, 16);
    let args =
        ["radioactive", "--student", MODEL, "--key", "k.bin", "--corpus", "marked.jsonl", "--unmarked"];
    refused(&run(dir, &args), "--unmarked: expected a corpus without the mark of key");
    let text = ok(&run(dir, &[&args[..5], &["--corpus", "unmarked.jsonl", "--limit", "2"]].concat()));
    assert!(text.contains("not detected (p = ") && text.contains("2 documents, "), "{text}");
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let (dir, _) = with_key();
    let dir = dir.path();
    let args = ["radioactive", "--student", MODEL, "--key", "k.bin", "--corpus", "c.jsonl"];
    let refuse = |content: &str, needle: &str| {
        std::fs::write(dir.join("c.jsonl"), content).unwrap();
        refused(&run(dir, &args), needle);
    };
    refuse("", "c.jsonl: expected texts, one JSON object a line, found none");
    refuse("{\"text\": \"a b\"}\n{\"id\": 1}\n", "c.jsonl:2: expected a JSON object with \"tokens\"");
    refuse("{\"text\": \"\"}\n", "expected a text with at least one token");
    corpora(dir);
    let other = ["radioactive", "--student", "default", "--key", "k.bin", "--corpus", "marked.jsonl"];
    refused(&run(dir, &other), "meant for the tokenizer tiny-gemma2");
    // The text of a receipt is not what its tokens spell for another tokenizer.
    fixed_key(1).write(dir.join("free.bin"), false).unwrap();
    let free = ["radioactive", "--student", "default", "--key", "free.bin", "--corpus", "marked.jsonl"];
    refused(&run(dir, &free), "expected tokens of the student's tokenizer");
}
