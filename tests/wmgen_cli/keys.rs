//! Keys: made, bound, kept.

use super::*;

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
fn the_default_models_name_is_not_a_directory_of_that_name() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("default")).unwrap();
    ok(&run(dir.path(), &["keygen", "k.bin", "--tokenizer", "default"]));
    let key = wmdetect::Key::read(dir.path().join("k.bin")).unwrap();
    let bound = key.tokenizer().map(|binding| &binding.fingerprint);
    assert_eq!(bound, Some(&Tokenizer::of_default_model().binding().fingerprint));
    // With a slash it is the directory.
    refused(&run(dir.path(), &["keygen", "other.bin", "--tokenizer", "default/"]), "tokenizer.json");
    // A file in that directory is not read by the run.
    std::fs::write(dir.path().join("default/r.jsonl"), "").unwrap();
    let output = ["--receipt", "default/r.jsonl", "--model", "default", "--draft", "default"];
    let generate = ["generate", "--key", "k.bin", "--prompt", "The old sea", "--max-tokens", "2"];
    ok(&run(dir.path(), &[&generate[..], &output].concat()));
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

/// An earlier version bound a key to the vocabulary alone.
#[test]
fn a_key_is_bound_again_and_stays_the_same_key() {
    let (dir, path) = with_key();
    let shown = || {
        let json = ok(&run(dir.path(), &["key", "show", "k.bin", "--json"]));
        conform("key-show", &json);
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

    std::fs::write(dir.path().join("other.json"), wmdetect::Tokenizer::json_of_default_model()).unwrap();
    let other = "other.json";
    let before = std::fs::read(&path).unwrap();
    let bind = ["key", "bind", "k.bin", "--tokenizer", other];
    refused(&run(dir.path(), &bind), "expected the tokenizer that the key is bound to");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    ok(&run(dir.path(), &[&bind[..], &["--force"]].concat()));
    assert_eq!(shown().1.name, "wmgen-default");
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

/// Marks of other engines are read by wmdetect and not written here.
#[test]
fn keys_of_other_engines_are_imported_and_write_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let import = |config: &str, scheme: &str, more: &[&str]| {
        std::fs::write(dir.path().join("c.json"), config).unwrap();
        let args = [&["key", "import", "c.json", "e.bin", "--scheme", scheme, "--force"], more].concat();
        run(dir.path(), &args)
    };
    let lists = r#"{"watermarking_config": {"hashing_key": 987654321}}"#;
    refused(&import(lists, "kgw-hf", &[]), "vocab_size");
    let imported = import(lists, "kgw-hf", &["--vocab-size", "512"]);
    ok(&imported);
    let said = String::from_utf8_lossy(&imported.stderr).into_owned();
    assert!(said.contains("on a CPU") && !said.contains("987654321"), "{said}");
    let public = import(r#"{"key": 42}"#, "vllm-gumbel", &[]);
    ok(&public);
    assert!(String::from_utf8_lossy(&public.stderr).contains("everybody has it"));

    let shown: serde_json::Value =
        serde_json::from_str(&ok(&run(dir.path(), &["key", "show", "e.bin", "--json"]))).unwrap();
    assert_eq!((&shown["scheme"], &shown["ngram_len"]), (&"vllm-gumbel".into(), &5.into()));
    assert!(shown.get("depth").is_none());
    assert!(!ok(&run(dir.path(), &["key", "show", "e.bin"])).contains("depth"));
    let exported: serde_json::Value =
        serde_json::from_str(&ok(&run(dir.path(), &["key", "export", "e.bin"]))).unwrap();
    assert_eq!(exported["key"], 42);
    let generate = ["generate", "--key", "e.bin", "--model", MODEL, "--max-tokens", "2"];
    refused(&run(dir.path(), &generate), "expected the key of a tournament");
    std::fs::write(dir.path().join("t.txt"), "a text").unwrap();
    refused(&run(dir.path(), &["verify", "--key", "e.bin", "--model", MODEL, "t.txt"]), "tournament");
}
