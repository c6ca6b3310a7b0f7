//! What `wmgen generate` writes.

use super::*;

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

/// With penalties, stop strings, several texts, a key and none.
#[test]
fn drafts_change_no_text() {
    let (dir, _) = with_key();
    let prompt = "The sea was calm. The boat was old. The sea was calm. The boat was old. The sea was";
    let common =
        ["--model", MODEL, "--prompt", prompt, "--json", "--max-tokens", "60", "--seed", "3", "-n", "3"];
    for (mark, sampling) in [
        (&["--key", "k.bin"][..], &["--temperature", "0.3"][..]),
        (&["--key", "k.bin"], &["--top-p", "0.8", "--repeat-penalty", "1.2", "--batch", "1"]),
        (&["--no-watermark"], &["--temperature", "0", "--stop", "old"]),
    ] {
        let args = [&["generate"], mark, &common, sampling].concat();
        let [without, by_prompt, by_model] = ["none", "prompt", MODEL].map(|draft| {
            reports(&run(dir.path(), &[&args[..], &["--draft", draft, "--draft-tokens", "5"]].concat()))
        });
        for (without, with) in without.iter().zip(&by_prompt).chain(without.iter().zip(&by_model)) {
            assert_eq!((&with.tokens, &with.text), (&without.tokens, &without.text));
            assert_eq!(with.finish_reason, without.finish_reason);
            assert_eq!(with.watermark.marked_tokens, without.watermark.marked_tokens);
            assert_eq!(with.watermark.repeated_contexts, without.watermark.repeated_contexts);
        }
    }
}

#[test]
fn a_draft_model_has_the_models_tokens() {
    let (dir, _) = with_key();
    let args = ["generate", "--no-watermark", "--model", MODEL, "--max-tokens", "2", "--draft"];
    let draft = |draft| run(dir.path(), &[&args[..], &[draft]].concat());
    refused(&draft("default"), "default cannot guess for the model: expected the tokenizer tiny-gemma2");
    refused(&draft("no/such/model"), "no/such/model");
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
fn a_text_whose_draws_had_little_choice_has_a_warning() {
    let (dir, _) = with_key();
    let generate = |args: &[&str]| {
        let common = ["generate", "--key", "k.bin", "--model", MODEL, "--seed", "5", "--receipt", "r.jsonl"];
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
fn a_run_without_a_text_leaves_earlier_receipts() {
    let (dir, _) = with_key();
    let generate = |lines: &str, receipts: &str| {
        std::fs::write(dir.path().join("p.jsonl"), lines).unwrap();
        let args =
            ["generate", "--key", "k.bin", "--model", MODEL, "--max-tokens", "5", "--prompts", "p.jsonl"];
        run(dir.path(), &[&args[..], &["--receipt", receipts]].concat()).status.code()
    };
    assert_eq!(generate("{\"prompt\": \"a\"}\n", "r.jsonl"), Some(0));
    let earlier = std::fs::read_to_string(dir.path().join("r.jsonl")).unwrap();
    assert_eq!(earlier.lines().count(), 1);
    let bad = "not json\n{\"id\": 1}\n";
    assert_eq!(generate(bad, "r.jsonl"), Some(1));
    assert_eq!(std::fs::read_to_string(dir.path().join("r.jsonl")).unwrap(), earlier);
    assert_eq!(generate(bad, "new.jsonl"), Some(1));
    assert!(!dir.path().join("new.jsonl").exists());
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
