//! The real program, end to end, on a tiny random Gemma 2.

mod generate;
mod keys;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
mod training;

use std::process::{Command, Stdio};
use std::time::Duration;

use support::*;
use wmdetect::Tokenizer;
use wmdetect::scheme::{Key, Preset, TextGValues, TokenizerBinding};

#[test]
fn refusals_say_what_to_do() {
    let (dir, _) = with_key();
    let generate = |args: &[&str]| run(dir.path(), &[&["generate"], args].concat());
    refused(&generate(&["--model", MODEL]), "--no-watermark");
    refused(&generate(&["--key", "k.bin"]), "wmgen-default");
    refused(&generate(&["--key", "none.bin", "--model", MODEL]), "wmgen keygen");
    refused(&generate(&["--key", "k.bin", "--model", "nowhere"]), "no model at nowhere");
    refused(&generate(&["--key", "k.bin", "--model", "google/none"]), "hf download");
    refused(&generate(&["--key", "k.bin", "--model", MODEL, "--temperature", "0"]), "larger temperature");
    refused(&generate(&["--key", "k.bin", "--model", MODEL, "--top-k", "1"]), "top-k 1 always takes");
    refused(&generate(&["--key", "k.bin", "--model", MODEL, "--top-p", "1e-9"]), "larger top-p");
    refused(&generate(&["--key", "k.bin", "--model", MODEL, "--temperature", "-1"]), "temperature is -1");
    refused(&generate(&["--key", "k.bin", "--model", MODEL, "-n", "5000000000"]), "1..=1000000");
    refused(&generate(&["--key", "k.bin", "--model", MODEL, "--receipt", "-"]), "./- is a file");
    refused(&generate(&["--key", "k.bin", "--tokenizer", MODEL]), "does not belong to the model");
    refused(&generate(&["--key", "k.bin", "The sea"]), "--prompt takes a prompt");
    refused(&generate(&["--key", "k.bin", "--model", MODEL, "--top-p", "0"]), "top-p is 0");
    refused(&generate(&["--key", "k.bin", "--model", MODEL, "--prompt", &"the ".repeat(600)]), "512");
    ok(&generate(&["--no-watermark", "--model", MODEL, "--temperature", "0", "--max-tokens", "3"]));
}

#[test]
fn a_model_that_cannot_be_run_is_named_before_any_advice_to_download() {
    let (dir, _) = with_key();
    std::fs::create_dir(dir.path().join("llama")).unwrap();
    std::fs::write(dir.path().join("llama/config.json"), r#"{"model_type":"llama"}"#).unwrap();
    let generate = |model| run(dir.path(), &["generate", "--no-watermark", "--model", model]);
    refused(&generate("llama"), "unsupported architecture \"llama\"");
    refused(&generate("meta-llama/Llama-3.2-1B"), "hint: if model_type is gemma2 or gemma3_text in https://");
}

#[test]
fn no_more_threads_than_cores_are_started() {
    let (dir, _) = with_key();
    let args = ["generate", "--no-watermark", "--model", MODEL, "--max-tokens", "2", "--threads", "100000"];
    let output = run(dir.path(), &args);
    ok(&output);
    let note = String::from_utf8(output.stderr).unwrap();
    assert!(note.contains("note: --threads 100000 is more than the"), "{note}");
}

#[test]
fn perplexity_and_inspect() {
    let (dir, _) = with_key();
    std::fs::write(dir.path().join("t.txt"), "the sea was an old friend").unwrap();
    let json = ok(&run(dir.path(), &["perplexity", "t.txt", "--model", MODEL, "--json"]));
    conform("perplexity", &json);
    let text: Perplexity = serde_json::from_str(&json).unwrap();
    assert_eq!(text.token_logprobs.len(), text.tokens);
    let mean = -text.token_logprobs.iter().sum::<f64>() / text.tokens as f64;
    assert!((mean - text.mean_nll).abs() < 1e-12);
    assert!((mean.exp() - text.perplexity).abs() < 1e-9);

    // `<bos>` goes in front once, whether the caller put it there or not.
    std::fs::write(dir.path().join("a.json"), "[2, 100, 101]").unwrap();
    std::fs::write(dir.path().join("b.json"), "[100, 101]").unwrap();
    let ids = |name| ok(&run(dir.path(), &["perplexity", name, "--model", MODEL, "--tokens", "--json"]));
    assert_eq!(ids("a.json"), ids("b.json"));
    std::fs::write(dir.path().join("c.json"), "[100, 512]").unwrap();
    refused(&run(dir.path(), &["perplexity", "c.json", "--model", MODEL, "--tokens"]), "512");

    let json = ok(&run(dir.path(), &["inspect", MODEL, "--json"]));
    conform("inspect", &json);
    let model: Inspected = serde_json::from_str(&json).unwrap();
    assert_eq!((&*model.architecture, model.window), ("gemma2", Some(8)));
    assert_eq!(model.parameters, model.formats.values().map(|format| format.numbers).sum::<u64>());
}

/// The smallest shape, every field of the report, and the file that other programs read.
#[test]
fn bench_measures_random_weights() {
    let dir = tempfile::tempdir().unwrap();
    let args =
        ["bench", "--shape", "tiny", "--quant", "q8_0", "--prefill", "8", "--decode", "8", "--depth", "0,70"];
    let more = ["--batch", "1,3", "--repetitions", "2", "--write-gguf", "r.gguf", "--json"];
    let report: BenchReport =
        serde_json::from_str(&ok(&run(dir.path(), &[&args[..], &more].concat()))).unwrap();
    assert_eq!((report.model.format.as_str(), report.model.random, report.depths.len()), ("q8_0", true, 2));
    for depth in report.depths {
        assert!(depth.prefill.min > 0.0);
        let sequences: Vec<u64> = depth.decode.iter().map(|run| run.sequences).collect();
        assert_eq!(sequences, [1, 3]);
        assert!(depth.decode.iter().all(|run| run.plain.min > 0.0 && run.mark_microseconds > 0.0));
    }
    let file = std::fs::metadata(dir.path().join("r.gguf")).unwrap().len();
    assert!(file > report.model.weight_bytes);
    let again = ["bench", "--model", "r.gguf", "--prefill", "8", "--decode", "8", "--repetitions", "1"];
    assert!(ok(&run(dir.path(), &again)).contains("tokens/s"));
    let drafts = ["--draft", "prompt", "--acceptance", "0.5,90%", "--batch", "2", "--json"];
    let json = ok(&run(dir.path(), &[&again[..], &drafts].concat()));
    conform("bench", &json);
    let report: BenchReport = serde_json::from_str(&json).unwrap();
    let sources: Vec<_> =
        report.drafts.iter().map(|d| (d.draft.as_str(), d.stated_acceptance, d.marked)).collect();
    let expected = [("prompt", None), ("simulated", Some(0.5)), ("simulated", Some(0.9))];
    let expected: Vec<_> = expected.iter().flat_map(|(d, p)| [(*d, *p, false), (*d, *p, true)]).collect();
    assert_eq!(sources, expected);
    assert!(report.drafts.iter().all(|d| d.gain.min > 0.0 && d.tokens_per_pass >= 1.0 && d.sequences == 2));
    let one = ["bench", "--model", "r.gguf", "--prefill", "8", "--decode", "1", "--repetitions", "1"];
    let report: BenchReport =
        serde_json::from_str(&ok(&run(dir.path(), &[&one[..], &["--draft", "prompt", "--json"]].concat())))
            .unwrap();
    assert!(report.drafts.iter().all(|d| (d.gain.median, d.tokens_per_pass) == (0.0, 1.0)));
    refused(&run(dir.path(), &[&again[..], &["--acceptance", "1.1"]].concat()), "from 0 to 1, found 1.1");
    refused(&run(dir.path(), &[&again[..], &["--draft", "none"]].concat()), "--draft is none");
    refused(&run(dir.path(), &["bench", "--model", "r.gguf", "--depth", "505"]), "512");
    refused(&run(dir.path(), &["bench", "--model", "r.gguf", "--batch", "1,0"]), "--batch");
    refused(&run(dir.path(), &["bench"]), "--shape");
}

#[test]
fn help_is_reviewed() {
    let dir = tempfile::tempdir().unwrap();
    let mut help = String::new();
    for command in [
        "",
        "demo",
        "keygen",
        "key",
        "generate",
        "verify",
        "perplexity",
        "compare",
        "radioactive",
        "inspect",
        "train",
        "quantize",
        "bench",
    ] {
        let args: Vec<&str> = command.split(' ').filter(|word| !word.is_empty()).chain(["--help"]).collect();
        help.extend(["$ wmgen ", &args.join(" "), "\n", &ok(&run(dir.path(), &args)), "\n"]);
    }
    insta::assert_snapshot!(help);
    assert!(ok(&run(dir.path(), &["completions", "bash"])).contains("wmgen"));
    ok(&run(dir.path(), &["man", "."]));
    assert!(dir.path().join("wmgen-generate.1").exists());
}
