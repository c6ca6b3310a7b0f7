//! The model that ships with the program, end to end: nothing but a key is needed.

mod support;

use std::path::PathBuf;

use support::*;
use wmdetect::{Detector, Key, Tokenizer, Verdict};

#[test]
fn it_writes_what_the_detector_finds_in_the_text_alone() {
    let dir = tempfile::tempdir().unwrap();
    fixed_key(1).write(dir.path().join("k.bin"), false).unwrap();
    let text = ok(&run(dir.path(), &["generate", "--key", "k.bin", "--max-tokens", "120", "--seed", "5"]));
    let words = text.split_whitespace().filter(|word| word.chars().any(char::is_alphabetic)).count();
    assert!(words > 40, "{text}");
    let score = |key: &str| {
        let key = Key::read(dir.path().join(key)).unwrap();
        Detector::new(key, Tokenizer::of_default_model()).unwrap().score(&text).unwrap()
    };
    let report = score("k.bin");
    assert!(report.verdict == Verdict::Watermarked && report.log10_p.unwrap() < -12.0, "{report:?}");
    fixed_key(2).write(dir.path().join("other.bin"), false).unwrap();
    assert!(score("other.bin").p_value.unwrap() > 1e-6);
    // Receipts name it.
    let report = reports(&run(dir.path(), &["generate", "--key", "k.bin", "--max-tokens", "5", "--json"]));
    assert_eq!(report[0].model.name, "wmgen-default");
    let inspect = ok(&run(dir.path(), &["inspect", "--json"]));
    assert!(inspect.contains(&report[0].model.fingerprint) && inspect.contains(r#""model":"wmgen-default""#));
}

#[test]
fn the_demo_shows_both_texts_and_leaves_what_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let demo = |args: &[&str]| {
        wmgen(dir.path())
            .args(["demo", "--max-tokens", "60", "--seed", "1"])
            .args(args)
            .env("TMPDIR", dir.path())
            .env_remove("CARGO")
            .output()
            .unwrap()
    };
    let out = ok(&demo(&["--html", "demo.html"]));
    assert!(out.contains("watermarked, p = ") && out.contains("WITHOUT") && !out.contains('\u{1b}'), "{out}");
    let line = out.lines().find(|line| line.trim_start().starts_with("wmdetect score")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let (text, key) = (PathBuf::from(words[2]), PathBuf::from(words[4]));
    let report = Detector::new(Key::read(&key).unwrap(), Tokenizer::of_default_model())
        .unwrap()
        .score(&std::fs::read_to_string(&text).unwrap())
        .unwrap();
    assert_eq!(report.verdict, Verdict::Watermarked);
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    let page = std::fs::read_to_string(dir.path().join("demo.html")).unwrap();
    assert!(
        page.contains(&report.key_id) && page.contains("class=\"e4\"") && page.contains("wmdetect score")
    );

    // A key of one's own is used and not copied; colours come when asked for.
    let out = ok(&demo(&["--key", key.to_str().unwrap(), "--color", "always"]));
    assert!(out.contains(&report.key_id) && out.contains('\u{1b}'), "{out}");

    // What cannot be done leaves no folder behind.
    let folders = || std::fs::read_dir(dir.path()).unwrap().flatten().filter(|f| f.path().is_dir()).count();
    assert_eq!(folders(), 2);
    refused(&demo(&["--html", "no/such/place.html"]), "cannot write the page");
    assert_eq!(folders(), 2);
}
