//! The real program, end to end, on a tiny random Gemma 2.

mod support;

use std::process::{Command, Stdio};
use std::time::Duration;

use support::*;
use wmdetect::Tokenizer;
use wmdetect::scheme::{Key, Preset, TextGValues, TokenizerBinding};

#[test]
fn the_receipt_counts_what_the_detector_counts() {
    let (dir, key) = with_key();
    let key = Key::read(key).unwrap();
    // A low temperature and a small vocabulary make contexts come up again.
    let args = ["generate", "--key", "k.bin", "--model", MODEL, "--prompt", "the sea", "--json", "-n", "4"];
    let more = ["--max-tokens", "300", "--temperature", "0.3", "--top-k", "3", "--seed", "7"];
    let reports = reports(&run(dir.path(), &[&args[..], &more].concat()));
    assert_eq!(reports.len(), 4);
    let mut repeated = 0;
    for report in &reports {
        let text = TextGValues::new(&key.prf(), &report.prompt_tokens, &report.tokens);
        let scored = text.scored.iter().filter(|&&scored| scored).count();
        assert_eq!(report.watermark.marked_tokens, scored);
        assert_eq!(report.watermark.repeated_contexts, text.scored.len() - scored);
        assert_eq!(report.watermark.key_id.as_deref(), Some(&*key.id()));
        repeated += report.watermark.repeated_contexts;
    }
    assert!(repeated > 0, "the test needs repeated contexts to mean something");
}

#[test]
fn marked_text_carries_the_mark_and_unmarked_does_not() {
    let (dir, key) = with_key();
    let key = Key::read(key).unwrap();
    let common = ["--model", MODEL, "--json", "--max-tokens", "80", "--seed", "3", "-n", "3"];
    let marked = reports(&run(dir.path(), &[&["generate", "--key", "k.bin"][..], &common].concat()));
    let plain = reports(&run(dir.path(), &[&["generate", "--no-watermark"][..], &common].concat()));
    for report in marked.iter().filter(|report| report.tokens.len() > 40) {
        assert!(report.watermark.applied);
        assert!(z_score(&key, &report.prompt_tokens, &report.tokens) > 6.0);
        let other = Key::generate(Preset::default()).unwrap();
        assert!(z_score(&other, &report.prompt_tokens, &report.tokens) < 5.0);
    }
    for report in &plain {
        assert!(!report.watermark.applied && report.watermark.key_id.is_none());
        assert!(z_score(&key, &report.prompt_tokens, &report.tokens) < 5.0);
    }
}

#[test]
fn a_seed_gives_the_same_text_alone_and_in_a_batch() {
    let (dir, _) = with_key();
    let args = |n| {
        [
            "generate",
            "--key",
            "k.bin",
            "--model",
            MODEL,
            "--json",
            "--max-tokens",
            "50",
            "--seed",
            "11",
            "-n",
            n,
        ]
    };
    let alone = reports(&run(dir.path(), &args("1")));
    let batch = reports(&run(dir.path(), &args("3")));
    assert_eq!(alone[0].tokens, batch[0].tokens);
    assert_ne!(batch[0].tokens, batch[1].tokens);
    assert_eq!(alone[0].sampling.seed, 11);
}

#[test]
fn the_text_alone_goes_to_stdout() {
    let (dir, _) = with_key();
    let args = ["generate", "--key", "k.bin", "--model", MODEL, "--max-tokens", "30", "--seed", "1"];
    let streamed = ok(&run(dir.path(), &args));
    let json = reports(&run(dir.path(), &[&args[..], &["--json", "--receipt", "r.json"]].concat()));
    assert_eq!(streamed, json[0].text, "no newline, no banner");
    let receipt: Report =
        serde_json::from_str(&std::fs::read_to_string(dir.path().join("r.json")).unwrap()).unwrap();
    assert_eq!(receipt.tokens, json[0].tokens);
}

/// Runs the program with a terminal as standard output, which util-linux's `script` makes, and returns what it wrote there.
#[cfg(target_os = "linux")]
fn run_on_a_terminal(dir: &std::path::Path, args: &[&str]) -> String {
    let words: Vec<String> = args.iter().map(|arg| format!("'{arg}'")).collect();
    let command = format!("'{}' {} 2> errors", env!("CARGO_BIN_EXE_wmgen"), words.join(" "));
    let mut script = Command::new("script");
    script.current_dir(dir).args(["-q", "-e", "-c", &command, "/dev/null"]).stdin(Stdio::null());
    ok(&script.output().unwrap()).replace("\r\n", "\n")
}

/// So that the shell's prompt stands on a line of its own. A pipe gets the text alone.
#[cfg(target_os = "linux")]
#[test]
fn on_a_terminal_a_text_ends_its_line() {
    let dir = tempfile::tempdir().unwrap();
    fixed_key(1).write(dir.path().join("k.bin"), false).unwrap();
    let generate = ["generate", "--key", "k.bin", "--prompt", "The sea", "--seed", "7", "--max-tokens"];
    let made = reports(&run(dir.path(), &[&generate[..], &["100", "--json"]].concat()));
    let (tokenizer, tokens) = (Tokenizer::of_default_model(), &made[0].tokens);
    let text = |len: usize| tokenizer.decode(&tokens[..len]);
    let ended = (1..tokens.len()).find(|&len| text(len).ends_with('\n')).unwrap();
    for (len, ending) in [(ended, ""), (ended - 1, "\n")] {
        let len_arg = len.to_string();
        let args = [&generate[..], &[&len_arg]].concat();
        assert_eq!(ok(&run(dir.path(), &args)), text(len));
        assert_eq!(run_on_a_terminal(dir.path(), &args), text(len) + ending);
    }
}

#[test]
fn a_base_model_is_warned_of_where_it_is_to_chat() {
    let (dir, _) = with_key();
    let model = dir.path().join("m");
    std::fs::create_dir(&model).unwrap();
    for file in std::fs::read_dir(MODEL).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), model.join(file.file_name())).unwrap();
    }
    let warned = |args: &[&str], config: &str| {
        std::fs::write(model.join("tokenizer_config.json"), config).unwrap();
        let generate = ["generate", "--no-watermark", "--prompt", "hi", "--max-tokens", "2"];
        let output = run(dir.path(), &[&generate[..], args].concat());
        ok(&output);
        String::from_utf8(output.stderr).unwrap().contains("warning: the model's files have no chat template")
    };
    assert!(warned(&["--model", "m", "--chat"], "{}"));
    assert!(!warned(&["--model", "m"], "{}"));
    assert!(!warned(&["--model", "m", "--chat"], r#"{"chat_template": "{{ bos_token }}"}"#));
    assert!(warned(&["--chat"], ""), "the default model is a base model");
}

#[test]
fn stop_strings_and_prompt_sources() {
    let (dir, _) = with_key();
    std::fs::write(dir.path().join("p.txt"), "the sea").unwrap();
    let base =
        ["generate", "--key", "k.bin", "--model", MODEL, "--max-tokens", "40", "--seed", "4", "--json"];
    let given = reports(&run(dir.path(), &[&base[..], &["--prompt", "the sea"]].concat()));
    let file = reports(&run(dir.path(), &[&base[..], &["--prompt-file", "p.txt"]].concat()));
    assert_eq!(given[0].tokens, file[0].tokens);
    let mut child =
        wmgen(dir.path()).args(base).arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"the sea").unwrap();
    let piped = reports(&child.wait_with_output().unwrap());
    assert_eq!(given[0].tokens, piped[0].tokens);

    let letter: String = given[0].text.chars().filter(char::is_ascii_alphabetic).skip(3).take(1).collect();
    let cut = reports(&run(dir.path(), &[&base[..], &["--prompt", "the sea", "--stop", &letter]].concat()));
    assert_eq!(cut[0].text, given[0].text.split(&letter).next().unwrap());
    assert_eq!(cut[0].finish_reason, "stop");
}

/// In the order of the prompts, whatever ends first, each with the text that it has alone.
#[test]
fn prompts_share_passes_and_keep_their_texts() {
    let (dir, _) = with_key();
    let prompts = ["the sea", "", "the old man went down to the river", "a", "and"];
    let lines: Vec<String> =
        prompts.iter().map(|prompt| serde_json::json!({ "prompt": prompt }).to_string()).collect();
    std::fs::write(dir.path().join("p.jsonl"), lines.join("\n")).unwrap();
    let generate = |args: &[&str]| {
        let common =
            ["generate", "--key", "k.bin", "--model", MODEL, "--json", "--max-tokens", "30", "-n", "2"];
        reports(&run(dir.path(), &[&common[..], args].concat()))
    };
    let together = generate(&["--prompts", "p.jsonl", "--seed", "40", "--batch", "5"]);
    assert_eq!(together.len(), 10);
    for (i, prompt) in prompts.iter().enumerate() {
        let alone = generate(&["--prompt", prompt, "--seed", &(40 + i).to_string(), "--batch", "1"]);
        for (a, b) in alone.iter().zip(&together[2 * i..]) {
            assert_eq!((&a.prompt_tokens, &a.tokens, &a.text), (&b.prompt_tokens, &b.tokens, &b.text));
            assert_eq!(a.watermark.marked_tokens, b.watermark.marked_tokens);
        }
    }
}

#[test]
fn a_key_bound_to_a_vocabulary_alone_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let whole = Tokenizer::open(MODEL).unwrap().binding();
    let weak = TokenizerBinding { rules: None, ..whole.clone() };
    for (name, binding, warned) in [("whole.bin", whole, false), ("weak.bin", weak, true)] {
        fixed_key(1).with_tokenizer(Some(binding)).write(dir.path().join(name), false).unwrap();
        let output = run(dir.path(), &["generate", "--key", name, "--model", MODEL, "--max-tokens", "2"]);
        ok(&output);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            errors.contains("vocabulary alone") && errors.contains("`wmgen key bind`"),
            warned,
            "{errors}"
        );
    }
}

#[test]
fn texts_of_several_prompts_are_told_apart() {
    let (dir, _) = with_key();
    let lines = "\u{feff}{\"prompt\": \"a\", \"id\": 18446744073709551617}\n\n{\"prompt\": \"b \\ud83d\"}\n{\"id\": \"x\\ny\"}\n";
    std::fs::write(dir.path().join("p.jsonl"), lines).unwrap();
    let common = ["generate", "--key", "k.bin", "--model", MODEL, "--prompts", "p.jsonl"];
    let more = ["--max-tokens", "5", "--seed", "1", "-n", "2"];
    let base = [&common[..], &more].concat();

    let output = run(dir.path(), &[&base[..], &["--json", "--receipt", "r.jsonl"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let rows = String::from_utf8(output.stdout).unwrap();
    let ends: Vec<&str> =
        rows.lines().map(|row| row.rsplit_once("],").or(row.split_once("\",")).unwrap().1).collect();
    assert_eq!(
        ends[..4],
        [
            r#""id":18446744073709551617,"line":1,"index":0}"#,
            r#""id":18446744073709551617,"line":1,"index":1}"#,
            r#""line":3,"index":0}"#,
            r#""line":3,"index":1}"#
        ]
    );
    let failed: serde_json::Value = serde_json::from_str(rows.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&failed["input"], &failed["id"], &failed["line"]),
        (&"x\ny".into(), &"x\ny".into(), &4.into())
    );
    assert!(failed["error"].as_str().unwrap().starts_with("no field \"prompt\""), "{failed}");
    let receipts = std::fs::read_to_string(dir.path().join("r.jsonl")).unwrap();
    assert_eq!(receipts.lines().collect::<Vec<_>>(), rows.lines().take(4).collect::<Vec<_>>());

    let output = run(dir.path(), &base);
    let texts: Vec<Report> = receipts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names = [
        "18446744073709551617, text 1",
        "18446744073709551617, text 2",
        "p.jsonl:3, text 1",
        "p.jsonl:3, text 2",
    ];
    let expected: Vec<String> = names
        .iter()
        .zip(&texts)
        .map(|(name, report)| format!("==> {name} of 2 <==\n{}\n", report.text))
        .collect();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected.join("\n"));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains(r"error: x\ny: no field"), "{errors}");

    let output =
        run(dir.path(), &["verify", "--key", "k.bin", "--model", MODEL, "--receipt", "r.jsonl", "--json"]);
    let inputs: Vec<String> =
        support::rows::<VerifyReport>(&output).into_iter().map(|report| report.input).collect();
    assert_eq!(inputs, ["r.jsonl:1", "r.jsonl:2", "r.jsonl:3", "r.jsonl:4"]);
}

#[test]
fn a_bad_line_of_prompts_is_a_row() {
    let (dir, _) = with_key();
    let long = "the ".repeat(600);
    let lines =
        format!("{{\"prompt\": \"a\"}}\nnot json\n{{\"prompt\": \"{long}\"}}\n{{\"prompt\": \"b\"}}\n");
    std::fs::write(dir.path().join("p.jsonl"), lines).unwrap();
    let args = [
        "generate",
        "--key",
        "k.bin",
        "--model",
        MODEL,
        "--prompts",
        "p.jsonl",
        "--json",
        "--max-tokens",
        "5",
    ];
    let output = run(dir.path(), &args);
    assert_eq!(output.status.code(), Some(1));
    let rows: Vec<serde_json::Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 4);
    assert!(rows[0]["text"].is_string() && rows[3]["text"].is_string());
    assert_ne!(
        rows[0]["sampling"]["seed"], rows[3]["sampling"]["seed"],
        "texts of one run draw independently"
    );
    assert_eq!((&rows[1]["input"], &rows[1]["line"]), (&"p.jsonl:2".into(), &2.into()));
    assert!(rows[2]["error"].as_str().unwrap().contains("512"), "the context's length is named: {}", rows[2]);
}

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
fn a_text_whose_draws_had_little_choice_has_a_warning() {
    let (dir, _) = with_key();
    let generate = |args: &[&str]| {
        let common = ["generate", "--key", "k.bin", "--model", MODEL, "--seed", "3", "--receipt", "r.jsonl"];
        let output = run(dir.path(), &[&common[..], args].concat());
        ok(&output);
        let receipts = std::fs::read_to_string(dir.path().join("r.jsonl")).unwrap();
        let receipts: Vec<Report> =
            receipts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (String::from_utf8(output.stderr).unwrap(), receipts)
    };
    for little in [["--temperature", "0.001", "--max-tokens", "40"], ["--top-k", "2", "--max-tokens", "10"]] {
        let (errors, receipts) = generate(&little);
        assert_eq!(receipts[0].warning_codes, ["little_choice"], "{little:?}");
        assert!(receipts[0].watermark.entropy_bits < 10.0, "{little:?}");
        assert_eq!(errors, format!("warning: {}\n", receipts[0].warnings[0]));
        let (errors, receipts) = generate(&[&little[..], &["-n", "3"]].concat());
        assert!(receipts.iter().all(|receipt| receipt.warning_codes == ["little_choice"]));
        assert!(errors.starts_with("warning: 3 of 3 texts had too little choice"), "{errors}");
    }
    let (errors, receipts) = generate(&["--max-tokens", "40"]);
    assert!(
        receipts[0].tokens.len() > 20 && receipts[0].warning_codes.is_empty() && errors.is_empty(),
        "{errors}"
    );
}

#[test]
fn a_key_for_another_tokenizer_is_refused() {
    let (dir, _) = with_key();
    let other = tempfile::tempdir().unwrap();
    let json = std::fs::read_to_string(TOKENIZER).unwrap();
    assert!(json.contains("\"qu\""), "the test renames a piece of the tiny vocabulary");
    let renamed = json.replace("\"qu\"", "\"q\u{fc}\"");
    std::fs::write(other.path().join("tokenizer.json"), renamed).unwrap();
    let tokenizer = other.path().to_str().unwrap();
    let args = ["generate", "--key", "k.bin", "--model", MODEL, "--tokenizer", tokenizer];
    let output = run(dir.path(), &args);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn keys_are_private_and_never_overwritten() {
    let (dir, key) = with_key();
    let before = std::fs::read(&key).unwrap();
    refused(&run(dir.path(), &["keygen", "k.bin"]), "--force");
    refused(&run(dir.path(), &["keygen", "x.bin", "--ngram-len", "1"]), "ngram_len");
    refused(&run(dir.path(), &["keygen", "x.bin", "--depth", "0"]), "depth");
    assert_eq!(std::fs::read(&key).unwrap(), before);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing half-written stays");

    ok(&run(dir.path(), &["key", "derive", "k.bin", "t.bin", "--label", "acme"]));
    let show = |name| ok(&run(dir.path(), &["key", "show", name, "--json"]));
    let shown = |name| serde_json::from_str::<ShownKey>(&show(name)).unwrap();
    let (master, derived) = (shown("k.bin"), shown("t.bin"));
    assert_ne!(derived.key_id, master.key_id);
    assert_eq!((master.label, derived.label.as_deref()), (None, Some("acme")));
    assert_eq!((&*derived.scheme, derived.depth, derived.ngram_len), ("synthid-sha256", 30, 5));
    assert_eq!(master.tokenizer.unwrap().fingerprint, derived.tokenizer.unwrap().fingerprint);

    let config = r#"{"keys": [987654321, -5, 17], "ngram_len": 4, "debug_mode": false}"#;
    std::fs::write(dir.path().join("c.json"), config).unwrap();
    let import = run(dir.path(), &["key", "import", "c.json", "hf.bin", "--scheme", "synthid-hf"]);
    ok(&import);
    assert!(!String::from_utf8_lossy(&import.stderr).contains("987654321"));
    let exported: serde_json::Value =
        serde_json::from_str(&ok(&run(dir.path(), &["key", "export", "hf.bin"]))).unwrap();
    assert_eq!(exported["keys"], serde_json::json!([987_654_321, -5, 17]));
    refused(&run(dir.path(), &["key", "export", "k.bin"]), "synthid-sha256");

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        let output = run(dir.path(), &["key", "show", "k.bin"]);
        assert!(String::from_utf8_lossy(&output.stderr).contains("chmod 600"));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn receipts_outlive_a_full_disk_behind_standard_output() {
    let (dir, _) = with_key();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let args =
        ["generate", "--key", "k.bin", "--model", MODEL, "-n", "3", "--max-tokens", "5", "--receipt", "r"];
    let output = wmgen(dir.path()).args(args).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(std::fs::read_to_string(dir.path().join("r")).unwrap().lines().count(), 3);
}

/// An earlier version bound a key to the vocabulary alone.
#[test]
fn a_key_is_bound_again_and_stays_the_same_key() {
    let (dir, path) = with_key();
    let shown = || {
        let json = ok(&run(dir.path(), &["key", "show", "k.bin", "--json"]));
        let shown: ShownKey = serde_json::from_str(&json).unwrap();
        (shown.key_id, shown.tokenizer.unwrap())
    };
    let (id, whole) = shown();
    let mut binding = fixed_key(1).with_tokenizer(Some(Tokenizer::open(MODEL).unwrap().binding()));
    let weak = binding.tokenizer().cloned().map(|whole| TokenizerBinding { rules: None, ..whole });
    binding = binding.with_tokenizer(weak);
    binding.write(&path, true).unwrap();
    assert_eq!(shown().1.rules, None);
    ok(&run(dir.path(), &["key", "bind", "k.bin", "--tokenizer", MODEL]));
    assert_eq!((shown().0, shown().1.rules), (id, whole.rules));

    let other = concat!(env!("CARGO_MANIFEST_DIR"), "/detector/src/text/default_tokenizer.json");
    let before = std::fs::read(&path).unwrap();
    let bind = ["key", "bind", "k.bin", "--tokenizer", other];
    refused(&run(dir.path(), &bind), "expected the tokenizer that the key is bound to");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    ok(&run(dir.path(), &[&bind[..], &["--force"]].concat()));
    assert_eq!(shown().1.name, "wmgen-default");
}

/// Each window gives its new tokens what the same tokens get in a text that is the window alone.
#[test]
fn a_text_longer_than_the_context_is_scored_in_windows() {
    let (dir, _) = with_key();
    let ids: Vec<u32> = (0..1200).map(|i| 10 + i * 37 % 500).collect();
    let perplexity = |ids: &[u32], options: &[&str]| -> Perplexity {
        std::fs::write(dir.path().join("ids.json"), serde_json::to_string(ids).unwrap()).unwrap();
        let args = [&["perplexity", "ids.json", "--model", MODEL, "--tokens", "--json"], options].concat();
        serde_json::from_str(&ok(&run(dir.path(), &args))).unwrap()
    };
    let whole = perplexity(&ids, &[]);
    assert_eq!((whole.tokens, whole.window, whole.stride, whole.windows), (1200, 512, 256, 4));
    for (window, new) in [(0..512, 0), (256..768, 256), (512..1024, 256), (768..1200, 256)] {
        let alone = perplexity(&ids[window.clone()], &[]);
        for (got, want) in whole.token_logprobs[window].iter().zip(&alone.token_logprobs).skip(new) {
            assert!((got - want).abs() < 1e-4, "{got} {want}");
        }
    }
    let short = perplexity(&ids[..100], &["--window", "40", "--stride", "30"]);
    assert_eq!((short.tokens, short.window, short.stride, short.windows), (100, 40, 30, 3));
    for (options, needle) in [
        (["--window", "513"], "--window is 513, expected 1 to 512"),
        (["--stride", "0"], "--stride is 0, expected 1 to 512"),
    ] {
        let args = [&["perplexity", "ids.json", "--model", MODEL, "--tokens"], &options[..]].concat();
        refused(&run(dir.path(), &args), needle);
    }
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
    let text: Perplexity =
        serde_json::from_str(&ok(&run(dir.path(), &["perplexity", "t.txt", "--model", MODEL, "--json"])))
            .unwrap();
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

    let model: Inspected =
        serde_json::from_str(&ok(&run(dir.path(), &["inspect", MODEL, "--json"]))).unwrap();
    assert_eq!((&*model.architecture, model.window), ("gemma2", Some(8)));
    assert_eq!(model.parameters, model.formats.values().map(|format| format.numbers).sum::<u64>());
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_with_the_text_so_far() {
    let (dir, _) = with_key();
    // The first round of a large batch takes long enough to be interrupted; the vocabulary ends few texts early.
    let args = [
        "generate",
        "--key",
        "k.bin",
        "--model",
        MODEL,
        "--json",
        "--max-tokens",
        "500",
        "-n",
        "400",
        "--seed",
        "1",
    ];
    let child = wmgen(dir.path()).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let lines = String::from_utf8(output.stdout).unwrap();
    let reports: Vec<Report> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(reports.len(), 400);
    assert!(reports.iter().any(|report| report.finish_reason == "interrupted" && !report.tokens.is_empty()));
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
    refused(&run(dir.path(), &["bench", "--model", "r.gguf", "--depth", "505"]), "512");
    refused(&run(dir.path(), &["bench", "--model", "r.gguf", "--batch", "1,0"]), "--batch");
    refused(&run(dir.path(), &["bench"]), "--shape");
}

#[test]
fn training_says_what_it_came_to() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("t.txt"), include_str!("../docs/statistics.md")).unwrap();
    let train = "train t.txt --output m --steps 2 --vocab 350 --hidden 32 --layers 2 --heads 2 --kv-heads 1 \
                 --head-dim 16 --intermediate 64 --window 8 --context 16 --batch 2 --micro-batch 1 --eval-every 1 \
                 --eval-rows 1";
    ok(&run(dir.path(), &train.split_whitespace().collect::<Vec<_>>()));
    let json = std::fs::read_to_string(dir.path().join("m/training.json")).unwrap();
    let report: Training = serde_json::from_str(&json).unwrap();
    assert_eq!((report.steps, report.tokens, report.settings.steps), (2, 64, 2));
    assert_eq!((report.points.last().unwrap().step, report.changes.len()), (2, 0));
    assert!((report.held_out.exp() - report.perplexity).abs() < 1e-9);
}

#[test]
fn distilling_refuses_what_has_no_effect_and_says_what_it_measured() {
    const LINE: &str = "The old man went down to the river, and the old river went down to the sea.\n";
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("t.txt"), LINE.repeat(20)).unwrap();
    let at = |line: &str| run(dir.path(), &line.split_whitespace().collect::<Vec<_>>());
    let small = "--steps 1 --context 1 --batch 1 --micro-batch 1 --eval-every 1 --eval-rows 1";
    let learn = |more: &str| {
        at(&format!("distill t.txt --teacher {MODEL} --student {MODEL} --output m {small} {more}"))
    };
    for (more, expected) in [
        ("--targets-k 5", "expected --write-targets with it"),
        ("--targets-rule sampled", "expected --write-targets with it"),
        ("--force", "expected --write-targets with it"),
        ("--lmbda 0.5", "expected --mode on-policy with it"),
        ("--max-completion-length 9", "expected --mode on-policy with it"),
        ("--prompt-tokens 4", "expected --mode on-policy with it"),
        ("--temperature 1e-30", "expected a number from 0.000001"),
        ("--checkpoint-minutes nan", "--checkpoint-minutes is NaN"),
        ("--checkpoint-minutes=-1", "--checkpoint-minutes is -1"),
        ("--init-std 0", "--init-std is 0, expected a finite number above 0"),
    ] {
        refused(&learn(more), expected);
        assert!(!dir.path().join("m").exists(), "{more}");
    }
    let write =
        |more: &str| at(&format!("distill t.txt --teacher {MODEL} --context 8 --write-targets {more}"));
    for (more, expected) in [
        ("none/w", "expected a directory that exists"),
        (".", "expected a file, found a directory"),
        #[cfg(unix)]
        ("/dev/null", "expected a regular file"),
        ("w --beta 0.5", "cannot be used with"),
        ("w --mode offline", "cannot be used with"),
    ] {
        refused(&write(more), expected);
    }
    ok(&write("w --targets-k 4"));
    let listed = format!(
        "distill --targets w --student {MODEL} --output l --steps 1 --context 8 --batch 1 --eval-every 1"
    );
    refused(&at(&format!("{listed} --loss-top-k 4")), "cannot be used with");
    let output = at(&listed);
    ok(&output);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("divergence from the targets") && !log.contains("KL"), "{log}");
    let json = std::fs::read_to_string(dir.path().join("l/training.json")).unwrap();
    assert!(json.contains("\"target_divergence\"") && !json.contains("\"kl\""), "{json}");

    ok(&learn(""));
    refused(&learn("--resume --learning-rate 0.01"), "learning rate: expected 0.003, found 0.01\nerror: ");
    let path = dir.path().join("m/checkpoint.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    refused(&learn("--resume"), "hint: start afresh in another directory");
}

#[test]
fn a_directory_that_is_not_a_run_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("t.txt"), "Too short.").unwrap();
    std::fs::create_dir(dir.path().join("m")).unwrap();
    std::fs::write(dir.path().join("m/tokenizer.json"), "theirs").unwrap();
    for more in [&[][..], &["--resume"]] {
        let train = |output| [&["train", "t.txt", "--steps", "2", "--output", output], more].concat();
        refused(&run(dir.path(), &train("m")), "expected a new or empty directory");
        assert_eq!(std::fs::read_to_string(dir.path().join("m/tokenizer.json")).unwrap(), "theirs");
        assert_eq!(std::fs::read_dir(dir.path().join("m")).unwrap().count(), 1);
        // What cannot be trained on leaves no directory either.
        assert!(!run(dir.path(), &train("new")).status.success());
        assert!(!dir.path().join("new").exists());
    }
}

#[test]
fn a_key_is_no_place_for_another_output() {
    let (dir, key) = with_key();
    let before = std::fs::read(&key).unwrap();
    std::fs::write(dir.path().join("bystander"), &before).unwrap();
    let generate = ["generate", "--key", "k.bin", "--model", MODEL, "--max-tokens", "2", "--receipt"];
    for (args, expected) in [
        ([&generate[..], &["k.bin"]].concat(), "does not read"),
        ([&generate[..], &["k.bin", "--force"]].concat(), "does not read"),
        ([&generate[..], &["bystander"]].concat(), "an earlier receipt"),
        (vec!["quantize", MODEL, "bystander"], "expected a new file"),
        (vec!["bench", "--shape", "tiny", "--write-gguf", "bystander"], "expected a new file"),
        (vec!["key", "derive", "k.bin", "./k.bin", "--label", "a", "--force"], "does not read"),
    ] {
        refused(&run(dir.path(), &args), expected);
        assert_eq!(std::fs::read(&key).unwrap(), before);
        assert_eq!(std::fs::read(dir.path().join("bystander")).unwrap(), before);
    }
    // An earlier receipt makes way, so that a command can be repeated.
    for _ in 0..2 {
        ok(&run(dir.path(), &[&generate[..], &["r.json"]].concat()));
    }
}

/// `%` is a name with a line break that forges a verdict, a sequence that a terminal obeys, and a mark that turns the
/// direction of writing.
#[cfg(unix)]
#[test]
fn no_name_is_obeyed_by_a_terminal() {
    const NAME: &str = "a\nforged: watermarked\u{1b}[31m\u{202e}b\u{9b}2J";
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name.replace('%', NAME));
    std::fs::create_dir(path("%.m")).unwrap();
    for file in std::fs::read_dir(MODEL).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), path("%.m").join(file.file_name())).unwrap();
    }
    let binding = Tokenizer::open(MODEL).unwrap().binding();
    let weak = TokenizerBinding { name: NAME.into(), rules: None, ..binding.clone() };
    let other = TokenizerBinding { name: NAME.into(), fingerprint: [7; 32], ..binding };
    for (name, binding) in [("%.bin", weak), ("other%.bin", other)] {
        fixed_key(1).with_tokenizer(Some(binding)).write(path(name), false).unwrap();
    }
    std::fs::set_permissions(path("%.bin"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::write(path("%.txt"), "the old man went down to the sea").unwrap();
    let id = serde_json::to_string(NAME).unwrap();
    std::fs::write(path("%.jsonl"), format!("{{\"prompt\": \"the sea\", \"id\": {id}}}\n{{\"id\": {id}}}\n"))
        .unwrap();
    for (command, code) in [
        ("keygen|new%.bin", 0),
        ("keygen|new%.bin", 2),
        ("keygen|more%.bin|--tokenizer|no%", 2),
        ("key|show|%.bin", 0),
        ("key|show|no%", 2),
        ("key|bind|other%.bin|--tokenizer|%.m", 2),
        ("key|bind|other%.bin|--tokenizer|%.m|--force", 0),
        ("key|derive|new%.bin|derived%.bin|--label|%", 0),
        ("key|show|derived%.bin", 0),
        ("key|import|no%|imported%|--scheme|synthid-hf", 2),
        ("key|export|%.bin", 2),
        ("generate|--key|%.bin|--model|%.m|--prompts|%.jsonl|--max-tokens|3|--seed|1|--receipt|r%", 1),
        ("generate|--key|%.bin|--model|no%", 2),
        ("generate|--key|%.bin|--model|%/%", 2),
        ("generate|--key|%.bin|--model|%.m|--prompt-file|no%", 2),
        ("verify|--key|%.bin|--model|%.m|%.txt|no%", 1),
        ("verify|--key|%.bin|--model|%.m|--receipt|r%", 0),
        ("verify|--key|%.bin|--model|%.m|--receipt|%.txt", 1),
        ("perplexity|--model|%.m|%.txt", 0),
        ("perplexity|--model|%.m|no%", 2),
        ("inspect|%.m", 0),
        ("inspect|%.txt", 2),
        ("quantize|%.m|%.gguf", 2),
        ("bench|--model|%.m|--prefill|4|--decode|2|--repetitions|1", 0),
        ("demo|--key|%.bin|--model|%.m|--max-tokens|5|--prompt|%", 0),
        ("train|%.txt|--output|%.m", 2),
        ("man|no%", 2),
        ("%", 2),
        ("generate|--top-k=%", 2),
    ] {
        let command = command.replace('%', NAME);
        let output = run(dir.path(), &command.split('|').collect::<Vec<_>>());
        let [shown, errors] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(output.status.code(), Some(code), "{command:?}: {errors}");
        for shown in [shown, errors] {
            let obeyed = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
            assert!(!shown.contains(obeyed) && !shown.contains("\nforged"), "{command:?}: {shown:?}");
        }
    }
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
