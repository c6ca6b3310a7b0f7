//! What reaches a terminal.

use super::*;

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
    let made = reports(&run(dir.path(), &[&generate[..], &["400", "--json"]].concat()));
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
