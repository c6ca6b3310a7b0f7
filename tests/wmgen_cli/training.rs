//! What `wmgen train` and `wmgen distill` say and refuse.

use super::*;

#[test]
fn training_says_what_it_came_to() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("t.txt"), include_str!("../../README.md")).unwrap();
    let train = "train t.txt --output m --steps 2 --vocab 350 --hidden 32 --layers 2 --heads 2 --kv-heads 1 \
                 --head-dim 16 --intermediate 64 --window 8 --context 16 --batch 2 --micro-batch 1 --eval-every 1 \
                 --eval-rows 1";
    ok(&run(dir.path(), &train.split_whitespace().collect::<Vec<_>>()));
    let json = std::fs::read_to_string(dir.path().join("m/training.json")).unwrap();
    conform("training", &serde_json::from_str::<serde_json::Value>(&json).unwrap().to_string());
    let report: Training = serde_json::from_str(&json).unwrap();
    assert_eq!((report.steps, report.tokens, report.settings.steps), (2, 64, 2));
    assert_eq!((report.points.last().unwrap().step, report.changes.len()), (2, 0));
    assert!((report.held_out.exp() - report.perplexity).abs() < 1e-9);
}

#[test]
fn the_tokenizer_of_a_training_is_named_as_its_models_are() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("t.txt"), "The old river.\n\nThe old sea.\n".repeat(9)).unwrap();
    let small = "--hidden 16 --layers 1 --heads 1 --kv-heads 1 --head-dim 16 --intermediate 16 --steps 1 --context 1 --batch 1";
    let train = |tokenizer: &str| {
        let line =
            format!("train t.txt --output m --micro-batch 1 --eval-rows 1 --tokenizer {tokenizer} {small}");
        run(dir.path(), &line.split_whitespace().collect::<Vec<_>>())
    };
    std::fs::write(dir.path().join("default.gguf"), wmgen::default_model::gguf()).unwrap();
    refused(&train("default.gguf"), "expected a tokenizer.json, found a file that is not text");
    ok(&train("default"));
    let written = std::fs::read_to_string(dir.path().join("m/tokenizer.json")).unwrap();
    assert!(written == Tokenizer::json_of_default_model());
    // A run that goes on keeps its tokenizer, and refuses another one.
    ok(&train("default --resume"));
    let other = train(&format!("{TOKENIZER} --resume"));
    let [expected, found] = [Tokenizer::of_default_model(), Tokenizer::open(TOKENIZER).unwrap()]
        .map(|tokenizer| tokenizer.fingerprint());
    refused(
        &other,
        &format!("tokenizer: vocabulary: expected {expected}, found {found}\ntokenizer: rules: "),
    );
    refused(&other, "hint: give the settings that it was made with");
    // The same pieces, joined in another order.
    let mut json: serde_json::Value = serde_json::from_str(&written).unwrap();
    json["model"]["merges"].as_array_mut().unwrap().swap(0, 1);
    std::fs::write(dir.path().join("merges.json"), json.to_string()).unwrap();
    refused(&train("merges.json --resume"), "tokenizer: rules: expected ");
}

/// The test holds the lock, as another run would.
#[cfg(unix)]
#[test]
fn a_directory_has_one_run_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("t.txt"), "The old river.\n\nThe old sea.\n".repeat(9)).unwrap();
    std::fs::create_dir(dir.path().join("m")).unwrap();
    let train = |more: &str| {
        let line = format!(
            "train t.txt --output m --tokenizer default --hidden 16 --layers 1 --heads 1 --kv-heads 1 --head-dim 16 \
             --intermediate 16 --steps 1 --context 1 --batch 1 --micro-batch 1 --eval-rows 1 {more}"
        );
        run(dir.path(), &line.split_whitespace().collect::<Vec<_>>())
    };
    let other = || {
        let held = std::fs::File::open(dir.path().join("m")).unwrap();
        held.try_lock().unwrap();
        held
    };
    let held = other();
    refused(&train(""), "expected a directory for this run alone, found that another run writes to it");
    assert_eq!(std::fs::read_dir(dir.path().join("m")).unwrap().count(), 0);
    // A program that another test is starting may hold the file open for a moment longer.
    held.unlock().unwrap();
    ok(&train(""));
    let held = other();
    refused(&train("--resume"), "found that another run writes to it");
    held.unlock().unwrap();
    ok(&train("--resume"));
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
        ("/dev/null", "expected a regular file, found a device\n"),
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
