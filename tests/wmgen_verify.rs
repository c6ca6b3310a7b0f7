//! `wmgen verify` from end to end, on the tiny random Gemma 2.

mod support;

use std::process::Output;

use support::*;
use wmdetect::statistics::PKind;
use wmdetect::verdict::Verdict;
use wmgen::verify::SamplingSource;

fn verified(output: &Output) -> Vec<VerifyReport> {
    rows(output)
}

#[test]
fn verify_finds_the_mark_of_a_receipt() {
    let (dir, _) = with_key();
    ok(&run(dir.path(), &["key", "derive", "k.bin", "other.bin", "--label", "other"]));
    let generate = ["generate", "--key", "k.bin", "--model", MODEL, "--prompt", "the sea", "-n", "2"];
    let more = ["--max-tokens", "60", "--seed", "5", "--top-k", "50", "--temperature", "0.8"];
    let receipt = run(dir.path(), &[&generate[..], &more, &["--json", "--receipt", "r.jsonl"]].concat());
    conform("generate", &ok(&receipt));
    let made = reports(&receipt);
    assert!(made.iter().all(|text| text.tokens.len() > 20), "the seed gives texts that are long enough");
    let verify = |args: &[&str]| run(dir.path(), &[&["verify", "--json", "--model", MODEL], args].concat());

    let found = verify(&["--key", "k.bin", "--receipt", "r.jsonl"]);
    conform("verify", &ok(&found));
    let found = verified(&found);
    assert_eq!(found.len(), 2);
    for (line, (found, made)) in found.iter().zip(&made).enumerate() {
        assert_eq!(found.input, format!("r.jsonl:{}", line + 1));
        assert_eq!((found.verdict, &*found.detector), (Verdict::Watermarked, "exact_ratio"), "{found:?}");
        assert_eq!((found.p_kind, found.sampling.source), (PKind::Conservative, SamplingSource::Receipt));
        assert_eq!((found.sampling.top_k, &found.sampling.temperatures[..]), (50, &[0.8][..]));
        assert_eq!(found.prompt_tokens, made.prompt_tokens.len() as u64);
        // The verifier counts what the generator marked.
        assert_eq!(found.scored_tokens, made.watermark.marked_tokens as u64);
        assert!(found.ln_e <= found.ln_ceiling && found.warnings.is_empty(), "{found:?}");
        assert!(!found.spans.is_empty() && found.spans[0].bytes.is_none(), "{found:?}");
    }
    let other = verified(&verify(&["--key", "other.bin", "--receipt", "r.jsonl"]));
    assert!(
        other.iter().all(|text| text.verdict == Verdict::NotDetected && text.spans.is_empty()),
        "{other:?}"
    );
    let (id, other_id) = (&found[0].key_id, &other[0].key_id);
    assert!(other[0].warnings[0].contains(&**id) && other[0].warnings[0].contains(&**other_id));

    // Without the receipt: prompt, temperature and top-k are wrong or unknown.
    std::fs::write(dir.path().join("ids.json"), format!("{:?}\n{:?}\n", made[0].tokens, made[1].tokens))
        .unwrap();
    let blind = verified(&verify(&["--key", "k.bin", "--tokens", "ids.json"]));
    assert_eq!((blind.len(), &*blind[1].input), (2, "ids.json:2"));
    assert_eq!((blind[0].sampling.source, blind[0].prompt_tokens), (SamplingSource::Mixed, 0));
    assert_eq!(blind[0].verdict, Verdict::Watermarked, "{blind:?}");
    assert!(blind[0].ln_e < found[0].ln_e);
    let told = ["--prompt", "the sea", "--temperature", "0.8", "--top-k", "50"];
    let told = verified(&verify(&[&["--key", "k.bin", "--tokens", "ids.json"], &told[..]].concat()));
    assert_eq!((told[0].ln_e, told[0].sampling.source), (found[0].ln_e, SamplingSource::Given));

    let early = verified(&verify(&["--key", "k.bin", "--receipt", "r.jsonl", "--stop-early"]));
    assert!(early[0].read_tokens < early[0].tokens && early[0].verdict == Verdict::Watermarked, "{early:?}");
    let plain = verified(&verify(&["--key", "k.bin", "--receipt", "r.jsonl", "--no-edits"]));
    assert!(plain[0].ln_e > found[0].ln_e);
    let rank = ["--key", "k.bin", "--receipt", "r.jsonl", "--monte-carlo", "99", "--fpr", "0.01"];
    let rank = verified(&verify(&rank));
    assert_eq!((rank[0].p_kind, rank[0].monte_carlo_p, rank[0].p_value), (PKind::Exact, Some(0.01), 0.01));

    let changed = std::fs::read_to_string(dir.path().join("r.jsonl")).unwrap();
    let changed = changed.replace(&made[0].model.fingerprint, &"0".repeat(64));
    std::fs::write(dir.path().join("x.jsonl"), changed).unwrap();
    let warned = verified(&verify(&["--key", "k.bin", "--receipt", "x.jsonl"]));
    assert!(warned[0].warnings[0].contains("00000000"), "{warned:?}");
    assert!(warned[0].warnings[0].contains(&made[0].model.fingerprint[..8]), "{warned:?}");
}

#[test]
fn verify_reads_texts_and_refuses_what_decides_nothing() {
    let (dir, _) = with_key();
    let verify =
        |args: &[&str]| run(dir.path(), &[&["verify", "--key", "k.bin", "--model", MODEL], args].concat());
    std::fs::write(dir.path().join("a.txt"), "the sea was an old friend of the lighthouse\n").unwrap();
    std::fs::write(dir.path().join("b.txt"), "").unwrap();
    std::fs::write(dir.path().join("c.json"), "[100, 512]").unwrap();
    let output = verify(&["a.txt", "none.txt", "b.txt", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let rows: Vec<serde_json::Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|row| serde_json::from_str(row).unwrap())
        .collect();
    let text: VerifyReport = serde_json::from_value(rows[0].clone()).unwrap();
    assert!(text.verdict != Verdict::Watermarked && text.tokenizer.is_some(), "{text:?}");
    assert_eq!((&rows[1]["input"], rows[1]["error"].is_string()), (&"none.txt".into(), true));
    assert_eq!((&rows[2]["verdict"], &rows[2]["p_value"]), (&"too_short".into(), &1.0.into()));
    let people = ok(&verify(&["a.txt"]));
    assert!(people.starts_with("a.txt: ") && people.contains("prompt not known"), "{people}");
    let outside = verify(&["c.json", "--tokens"]);
    assert!(String::from_utf8_lossy(&outside.stderr).contains("512"));
    assert_eq!(outside.status.code(), Some(1));

    refused(&verify(&[]), "--receipt");
    refused(&verify(&["a.txt", "--fpr", "0"]), "the false positive rate must lie between 0 and 1");
    refused(&verify(&["a.txt", "--temperature", "0"]), "more than 0");
    refused(&verify(&["a.txt", "--top-p", "0"]), "top-p is 0");
    refused(&verify(&["a.txt", "--chat"]), "--prompt");
    refused(&verify(&["a.txt", "--monte-carlo", "99"]), "at least 999");
    refused(&verify(&["a.txt", "--receipt", "a.txt"]), "not a receipt");
    refused(&verify(&["a.txt", "--receipt", "a.txt", "--temperature", "1"]), "--receipt");
}

/// A folder with a key for the default model, whose texts are cut into the tokens that it drew.
fn default_model_key() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fixed_key(1).write(dir.path().join("k.bin"), false).unwrap();
    dir
}

/// What word processors and web pages do to a text.
#[test]
fn a_text_with_other_spaces_is_read_in_its_plain_form_and_p_counts_the_forms() {
    let dir = default_model_key();
    let generate = ["generate", "--key", "k.bin", "--prompt", "The sea"];
    let made = reports(&run(
        dir.path(),
        &[&generate[..], &["--max-tokens", "60", "--seed", "5", "--json"]].concat(),
    ));
    let text = made[0].text.trim_end();
    assert!(text.matches(' ').count() > 5, "{text:?}");
    std::fs::write(dir.path().join("given.txt"), text).unwrap();
    std::fs::write(dir.path().join("typeset.txt"), text.replace(' ', "\u{A0}")).unwrap();
    let verify = |args: &[&str]| {
        let common = ["verify", "--json", "--key", "k.bin", "--prompt", "The sea", "--temperature", "1"];
        verified(&run(dir.path(), &[&common[..], args].concat())).remove(0)
    };
    let (given, typeset) = (verify(&["given.txt"]), verify(&["typeset.txt"]));
    assert_eq!((given.verdict, given.forms_tried), (Verdict::Watermarked, None));
    assert_eq!((typeset.verdict, typeset.forms_tried), (Verdict::Watermarked, Some(2)));
    assert_eq!((typeset.ln_e, typeset.tokens), (given.ln_e, given.tokens));
    assert!((typeset.log10_p - given.log10_p - 2f64.log10()).abs() < 1e-9, "{typeset:?}");
    assert_eq!(typeset.normalisation.unwrap()["spaces"], text.matches(' ').count() as u64);
    assert!(!given.spans.is_empty() && typeset.spans.len() == given.spans.len());
    for (span, plain) in typeset.spans.iter().zip(&given.spans) {
        assert!(span.log10_p > plain.log10_p && span.bytes.unwrap()[1] > plain.bytes.unwrap()[1]);
    }
    // Twice the least rank would be 0.02.
    let rank = verify(&["typeset.txt", "--monte-carlo", "99", "--fpr", "0.01"]);
    assert_eq!((rank.verdict, rank.p_kind), (Verdict::Watermarked, PKind::Conservative), "{rank:?}");
    let early = verify(&["typeset.txt", "--stop-early"]);
    assert_eq!((early.verdict, early.forms_tried), (Verdict::Watermarked, Some(2)));
    assert!(early.read_tokens < early.tokens, "{early:?}");
    let people = ok(&run(dir.path(), &["verify", "--key", "k.bin", "typeset.txt"]));
    assert!(people.contains(" spaces; this is the best of the text's 2 forms"), "{people}");
}

/// The options of `wmdetect score`.
#[test]
fn texts_are_prepared_and_verdicts_become_exit_codes_as_asked() {
    let dir = default_model_key();
    let path = |name: &str| dir.path().join(name);
    let generate = ["generate", "--key", "k.bin", "--prompt", "The sea", "--max-tokens", "60", "--seed", "5"];
    let text = ok(&run(dir.path(), &[&generate[..], &["--json"]].concat()));
    let text = serde_json::from_str::<serde_json::Value>(&text).unwrap()["text"].as_str().unwrap().to_owned();
    std::fs::write(path("page.html"), format!("<p>{}</p>", text.replace(' ', " <b></b>"))).unwrap();
    std::fs::write(path("typeset.txt"), text.replace(' ', "\u{A0}")).unwrap();
    std::fs::write(path("plain.txt"), "The old man went down to the river.").unwrap();
    let common = ["verify", "--key", "k.bin", "--prompt", "The sea", "--temperature", "1", "--json"];
    let code = |args: &[&str]| run(dir.path(), &[&common[..], args].concat()).status.code();

    assert_eq!(code(&["page.html", "--strip", "html", "--exit-code"]), Some(0));
    assert_eq!(code(&["page.html", "plain.txt", "--exit-code"]), Some(3));
    assert_eq!(code(&["typeset.txt", "plain.txt", "--exit-code"]), Some(0));
    assert_eq!(code(&["typeset.txt", "--normalise", "none", "--exit-code"]), Some(3));
    assert_eq!(code(&["typeset.txt", "missing.txt", "--exit-code"]), Some(1));
    assert_eq!(code(&["plain.txt"]), Some(0));
}

#[test]
fn a_receipt_of_another_text_or_with_other_counts_is_a_warning() {
    let dir = default_model_key();
    let path = |name: &str| dir.path().join(name);
    let generate = ["generate", "--key", "k.bin", "--prompt", "The sea", "--max-tokens", "30"];
    let made = reports(&run(
        dir.path(),
        &[&generate[..], &["--seed", "5", "--json", "--receipt", "r.json"]].concat(),
    ));
    let receipt = std::fs::read_to_string(path("r.json")).unwrap();
    let codes = |args: &[&str]| {
        let common = ["verify", "--json", "--key", "k.bin"];
        let report = verified(&run(dir.path(), &[&common[..], args].concat())).remove(0);
        assert_eq!(report.warnings.len(), report.warning_codes.len());
        (report.warning_codes.join(" "), report.warnings.join(" "))
    };
    // As an editor saves it, and as somebody changed it.
    std::fs::write(path("own.txt"), format!("{}\n", made[0].text)).unwrap();
    assert_eq!(codes(&["own.txt", "--receipt", "r.json"]).0, "");
    std::fs::write(path("other.txt"), format!("{} and more", &made[0].text)).unwrap();
    let (code, sentence) = codes(&["other.txt", "--receipt", "r.json"]);
    assert_eq!(code, "other_text");
    assert!(sentence.contains(&format!("from byte {} on", made[0].text.len())), "{sentence}");
    std::fs::write(path("other.json"), format!("{:?}", &made[0].tokens[1..])).unwrap();
    assert_eq!(codes(&["other.json", "--tokens", "--receipt", "r.json"]).0, "other_text");

    let marked = made[0].watermark.marked_tokens;
    let claim = |count: usize| format!("\"marked_tokens\":{count},");
    assert!(receipt.contains(&claim(marked)), "{receipt}");
    std::fs::write(path("claim.json"), receipt.replace(&claim(marked), &claim(marked + 1))).unwrap();
    for args in [&["--receipt", "claim.json"][..], &["own.txt", "--receipt", "claim.json"]] {
        let (code, sentence) = codes(args);
        assert_eq!(code, "other_counts");
        assert!(sentence.contains(&format!("counts {} marked tokens", marked + 1)), "{sentence}");
    }
}

#[test]
fn json_lines_are_read_once_for_all_keys_of_a_ring() {
    let dir = default_model_key();
    let path = |name: &str| dir.path().join(name);
    std::fs::create_dir(path("ring")).unwrap();
    for number in 1..=3 {
        fixed_key(number).write(path(&format!("ring/{number}.bin")), false).unwrap();
    }
    let generate =
        ["generate", "--key", "ring/2.bin", "--prompt", "The sea", "--max-tokens", "60", "--seed", "5"];
    let made =
        reports(&run(dir.path(), &[&generate[..], &["--json", "--receipt", "r.json"]].concat())).remove(0);
    let plain = "The old man went down to the river and looked at the water for a long time.";
    let line = |id: &str, text: &str| serde_json::json!({ "name": id, "body": text }).to_string();
    let lines = [line("a", &made.text), "no JSON".into(), line("b", plain)].join("\n");
    std::fs::write(path("rows.jsonl"), lines).unwrap();
    std::fs::write(path("a.txt"), &made.text).unwrap();

    let verify =
        |args: &[&str]| run(dir.path(), &[&["verify", "--json", "--prompt", "The sea"], args].concat());
    let fields = ["--jsonl", "--field", "body", "--id-field", "name"];
    let output = verify(&[&["--keyring", "ring", "rows.jsonl"], &fields[..]].concat());
    assert_eq!(output.status.code(), Some(1));
    let rows = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    assert!(rows.len() == 3 && rows[1].contains("rows.jsonl:2") && rows[1].contains("not JSON"), "{rows:?}");
    let [found, other] = [rows[0], rows[2]].map(|row| serde_json::from_str::<VerifyReport>(row).unwrap());
    assert_eq!((&*found.input, &*other.input, other.keys_tried), ("a", "b", Some(3)));
    assert_eq!((found.verdict, found.keys_tried), (Verdict::Watermarked, Some(3)));
    assert_eq!(found.key_id, fixed_key(2).id());
    assert_ne!(other.verdict, Verdict::Watermarked);

    let alone = verified(&verify(&["--key", "ring/2.bin", "a.txt"])).remove(0);
    assert_eq!((alone.ln_e, alone.keys_tried), (found.ln_e, None));
    assert!((found.log10_p - alone.log10_p - 3f64.log10()).abs() < 1e-9, "{found:?}");
    // The receipts themselves, of whichever key.
    let receipts = ["verify", "--json", "--keyring", "ring", "--receipt", "r.json"];
    let report = verified(&run(dir.path(), &receipts)).remove(0);
    assert_eq!((report.verdict, report.warnings.len()), (Verdict::Watermarked, 0), "{report:?}");

    refused(&verify(&["a.txt"]), "--key");
    refused(&verify(&["a.txt", "--keyring", "ring", "--key", "k.bin"]), "cannot be used with");
    refused(&verify(&["a.txt", "--keyring", "ring", "--monte-carlo", "999"]), "cannot be used with");
}
