//! Runs the blocks of README.md and of the pages of docs/guide in their order, so that the pages stay true.
//!
//! A page with shell blocks has a test here, or is named in [`ELSEWHERE`]. A test says what it runs instead of what the
//! page has: smaller sizes, free ports, and the model that ships with wmgen in place of a large one. A test whose tools
//! are missing is left out, and `.ci/run` says so.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// How long a page may take. A server that does not start would be waited for without end.
const LIMIT: Duration = Duration::from_mins(5);

/// Pages whose blocks the tests of the Python package run.
const ELSEWHERE: [&str; 2] = ["python.md", "spark.md"];

/// A page of the guide, and what its test changes.
struct Page {
    /// The name of the file below docs/guide.
    name: &'static str,
    /// How the blocks begin that are not run here. A comment says why.
    left_out: &'static [&'static str],
    /// What the page has, and what is run in its place.
    instead: &'static [(&'static str, &'static str)],
    /// Makes what the page takes for given.
    before: &'static str,
    /// Programs that the page needs besides ours.
    tools: &'static [&'static str],
}

const TEACHING: Page = Page {
    name: "teaching.md",
    left_out: &[],
    instead: &[
        ("-n 300 --max-tokens 128", "-n 12 --max-tokens 128"),
        (
            "--steps 100 --context 128 --warmup 20 --eval-every 50",
            "--steps 2 --context 128 --warmup 1 --eval-every 2",
        ),
        ("-n 20 --max-tokens 128", "-n 2 --max-tokens 128"),
        ("--control 1000", "--control 20"),
        ("8099", "PORT1"),
    ],
    before: "",
    tools: &["jq", "curl"],
};

const OPERATORS: Page = Page {
    name: "operators.md",
    left_out: &[],
    instead: &[
        ("cargo build --release -p wmgen -p wmdetect\nPATH=\"$PWD/target/release:$PATH\"\n", ""),
        ("M=path/to/gemma-2-2b-it ", "M=default "),
        ("--model-name gemma &", "--model-name gemma --port PORT1 &"),
        ("--tokenizer $M &", "--tokenizer $M --port PORT2 &"),
        ("127.0.0.1:8080/", "127.0.0.1:PORT1/"),
        ("127.0.0.1:8081/", "127.0.0.1:PORT2/"),
        ("| sha256sum ", "| sha256sum | tee hash.txt "),
        ("--receipts receipts.jsonl", "--receipts receipts.jsonl --port PORT3 &\nready PORT3\nask"),
        ("--audit audit.jsonl", "--audit audit.jsonl --port PORT4 &\nready PORT4\njudge"),
    ],
    before: r#"
ready() { until curl -sf "http://127.0.0.1:$1/ready" > /dev/null; do sleep 0.1; done; }
# An answer for the tenant of the page, whose policy is `require`.
ask() {
    curl -sf http://127.0.0.1:PORT3/v1/completions -H "Authorization: Bearer $TOKEN" \
        -H 'Content-Type: application/json' \
        -d '{"model": "wmgen-default", "prompt": "The old lighthouse", "max_tokens": 120}' > acme.json
    jq -e '.watermark.applied' acme.json > /dev/null && echo 'the tenant is marked'
    jq -e '.watermark.key_id' receipts.jsonl > /dev/null
    jq -rj '.choices[0].text' acme.json > text.txt
}
# The operator of the page asks for the verdict.
judge() {
    jq -Rs '{text: .}' text.txt | curl -sf http://127.0.0.1:PORT4/v1/detect -H "Authorization: Bearer $TOKEN" \
        -H 'Content-Type: application/json' -d @- | jq -r '"the operator is told: \(.results[0].verdict)"'
    wmdetect audit verify audit.jsonl
}
"#,
    tools: &["base64", "curl", "jq", "python3", "sha256sum"],
};

const REAL_MODELS: Page = Page {
    name: "real-models.md",
    // Both fetch the model from the network.
    left_out: &["mkdir gemma && cd gemma", "cat unpacked/"],
    instead: &[
        ("M=gemma/gemma3-270m.gguf", "M=$MODEL"),
        ("cargo build --release -p wmgen -p wmdetect\nPATH=\"$PWD/target/release:$PATH\"\n", ""),
        ("--max-tokens 200 --json", "--max-tokens 16 --json"),
        // Only a build of the whole workspace has it.
        ("cargo run --release -p wmgen-research --bin real_run --", "! command -v real_run || real_run"),
    ],
    before: "ln -s $ROOT/research $ROOT/tests .",
    tools: &[],
};

const OTHER_ENGINES: Page = Page {
    name: "other-engines.md",
    left_out: &[],
    instead: &[],
    before: "ln -s $ROOT/detector .",
    tools: &["jq"],
};

const TRAINING: Page = Page {
    name: "training.md",
    // Trains a dozen students, which takes hours.
    left_out: &["python research/scripts/students.py"],
    instead: &[
        (
            "--steps 5000",
            "--steps 2 --tokenizer default --context 64 --batch 2 --hidden 32 --layers 2 --head-dim 16",
        ),
        ("--steps 500 ", "--steps 2 --context 64 --batch 2 "),
        ("--steps 2000", "--steps 2 --context 64 --batch 2"),
        ("--steps 200", "--steps 2 --context 64 --batch 2 --max-completion-length 8"),
        ("--write-targets targets.safetensors", "--write-targets targets.safetensors --context 64"),
        ("--teacher gemma-3-270m-q4_k_m.gguf", "--teacher $MODEL"),
        ("--tokenizer DIR", "--tokenizer default"),
        ("--steps 160", "--steps 2"),
        (
            "--batch 8 --micro-batch 4 --eval-every 25 --eval-rows 16",
            "--batch 2 --micro-batch 1 --eval-every 2 --eval-rows 2",
        ),
    ],
    before: r#"
cp $ROOT/docs/concepts/scheme.md book1.txt && cp $ROOT/docs/concepts/statistics.md book2.txt
cat book1.txt book2.txt | tee book.txt > text.txt
for i in $(seq 30); do echo '{"prompt": "How many?", "completion": "There are '$i' of them."}'; done > answers.jsonl
cat > small.json <<'END'
{
  "model_type": "gemma2", "vocab_size": 6144, "hidden_size": 32, "intermediate_size": 64,
  "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
  "query_pre_attn_scalar": 16, "sliding_window": 64, "max_position_embeddings": 512,
  "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "bos_token_id": 2, "eos_token_id": 1
}
END
cp small.json student.json
wmgen train book.txt --output big-model --tokenizer default --config small.json --steps 1 --context 64 --batch 2
"#,
    tools: &[],
};

const EVALUATION: Page = Page {
    name: "evaluation.md",
    left_out: &[],
    instead: &[
        ("gsm8k-train.jsonl", "gsm8k-train.jsonl --shots 2 --max-tokens 8 --limit 2"),
        ("arc-train.jsonl", "arc-train.jsonl --shots 2 --limit 2"),
        ("--data mbpp.jsonl", "--data mbpp.jsonl --shots 1 --max-tokens 8 --limit 1"),
        ("--data prompts.jsonl", "--data prompts.jsonl --max-tokens 16 --limit 4"),
        ("--limit 60 --max-tokens 200", "--limit 4 --max-tokens 16"),
    ],
    before: r"
M=$MODEL
data=$ROOT/tests/fixtures/eval
ln -s $ROOT/research .
cp $data/gsm8k.jsonl gsm8k-test.jsonl && cp $data/gsm8k_train.jsonl gsm8k-train.jsonl
cp $data/arc.jsonl arc-test.jsonl && cp $data/arc_train.jsonl arc-train.jsonl
cp $data/mbpp.jsonl $data/prompts.jsonl .
wmgen keygen k.bin
",
    tools: &["python3"],
};

const COMPARISON: Page = Page {
    name: "comparison.md",
    left_out: &[],
    instead: &[
        ("head -60 ", "head -2 "),
        ("--max-tokens 60", "--max-tokens 16"),
        (
            "--prompts prompts.jsonl --key k.bin --json > ",
            "--prompts prompts.jsonl --key k.bin --json --max-tokens 16 > ",
        ),
        (
            "--prompts prompts.jsonl --no-watermark --json > ",
            "--prompts prompts.jsonl --no-watermark --json --max-tokens 16 > ",
        ),
        ("127.0.0.1:8000/v1", "127.0.0.1:PORT1/v1 --repeats 2 --max-tokens 8"),
    ],
    before: r"
M=$MODEL
ln -s $ROOT/research .
head -2 research/data/prompts.jsonl > prompts.jsonl
wmgen keygen k.bin
wmgen serve --key k.bin --port PORT1 &
until curl -sf http://127.0.0.1:PORT1/ready > /dev/null; do sleep 0.1; done
",
    tools: &["curl"],
};

const RADIOACTIVITY: Page = Page {
    name: "radioactivity.md",
    // Trains two students, which takes hours.
    left_out: &["python research/scripts/radioactivity.py"],
    instead: &[("--student suspect", "--student default")],
    before: r"
wmgen keygen k.bin
wmgen generate --key k.bin -n 8 --max-tokens 64 --json > traces.jsonl
cp $ROOT/tests/fixtures/eval/texts.jsonl people.jsonl
",
    tools: &[],
};

const CHOOSING: Page = Page {
    name: "choosing.md",
    left_out: &[],
    instead: &[
        ("--temperature 0.7", "--temperature 0.7 --max-tokens 40"),
        ("--human human.jsonl", "--human human.jsonl --edit replace=0.1"),
    ],
    before: r"
M=default
wmgen keygen k.bin --model $M
head -3 $ROOT/research/data/prompts.jsonl > prompts.jsonl
cp $ROOT/tests/fixtures/eval/texts.jsonl human.jsonl
",
    tools: &[],
};

const MODERATION: Page = Page {
    name: "moderation.md",
    left_out: &[],
    instead: &[],
    before: r#"
M=$MODEL
mkdir ring && wmgen keygen ring/k.bin --model $M
wmgen generate --key ring/k.bin --max-tokens 200 --json | jq -c '{id: "marked", text}' > posts.jsonl
echo '{"id": "short", "text": "A few words."}' >> posts.jsonl
"#,
    tools: &["jq"],
};

/// Makes [`PAGES`] and a test of each page, so that no page is in the list without a test.
macro_rules! tests_of_pages {
    ($($(#[$doc:meta])* fn $test:ident($page:ident) $body:block)*) => {
        /// Pages with a test here.
        const PAGES: &[&Page] = &[$(&$page),*];

        $(
            $(#[$doc])*
            #[test]
            fn $test() $body
        )*
    };
}

impl Page {
    fn text(&self) -> String {
        fs::read_to_string(Path::new("docs/guide").join(self.name)).unwrap()
    }

    /// Returns the blocks of a language, with what is run in their place.
    fn blocks(&self, language: &str) -> Vec<String> {
        let text = self.text();
        let mut blocks = fenced(&text, language);
        for start in self.left_out {
            let before = blocks.len();
            blocks.retain(|block| !block.starts_with(start));
            assert!(blocks.len() < before, "{} has no block `{start}` any more", self.name);
        }
        blocks
    }

    /// Returns the script of a test: what the page takes for given, and the page's blocks.
    fn script(&self, blocks: &[String]) -> String {
        let mut script = blocks.join("\n");
        for (of_page, ours) in self.instead {
            assert!(script.contains(of_page), "{} has no `{of_page}` any more", self.name);
            script = script.replace(of_page, ours);
        }
        format!("{}\n{script}", self.before)
    }

    /// Runs the shell blocks of the page in a new directory. `None` if a program is missing.
    fn run(&self) -> Option<(Output, tempfile::TempDir)> {
        self.run_blocks(&self.blocks("sh"))
    }

    fn run_blocks(&self, blocks: &[String]) -> Option<(Output, tempfile::TempDir)> {
        assert!(!blocks.is_empty(), "{} has no blocks", self.name);
        let dir = tempfile::tempdir().unwrap();
        let done = run(&self.script(blocks), dir.path(), self.tools)?;
        Some((done, dir))
    }
}

/// Returns the blocks of a page that are in a language, without the indentation of the list that they are in.
fn fenced(page: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(of_block) = line.trim_start().strip_prefix("```") else { continue };
        let indent = line.len() - line.trim_start().len();
        let block: Vec<&str> = lines
            .by_ref()
            .take_while(|line| line.trim() != "```")
            .map(|line| line.get(indent..).unwrap_or(""))
            .collect();
        if of_block == language {
            blocks.push(block.join("\n"));
        }
    }
    blocks
}

/// Returns whether the shell finds a program.
fn has(program: &str) -> bool {
    let found =
        Command::new("sh").args(["-c", &format!("command -v {program}")]).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// Runs a script in a directory, with our programs and `tools` at hand. `PORT1` to `PORT4` become free ports, `$ROOT`
/// is the repository and `$MODEL` the model that ships with wmgen. `None` if a program is missing.
fn run(script: &str, dir: &Path, tools: &[&str]) -> Option<Output> {
    let programs: PathBuf = Path::new(env!("CARGO_BIN_EXE_wmgen")).parent().unwrap().to_owned();
    let mut missing: Vec<&str> = ["bash"].iter().chain(tools).copied().filter(|tool| !has(tool)).collect();
    if !programs.join("wmdetect").exists() {
        missing.push("wmdetect beside wmgen (cargo build -p wmdetect)");
    }
    if !missing.is_empty() {
        let missing = format!("a page cannot be run: expected {}, found none", missing.join(" and "));
        #[expect(clippy::print_stderr, reason = "it is said to those who run the tests")]
        {
            eprintln!("left out: {missing}");
        }
        return None;
    }
    let path = env::join_paths(
        [programs].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())),
    );
    let mut script = script.to_owned();
    // Held until the script is complete, so that no two of them are the same.
    let ports: Vec<TcpListener> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    for (i, port) in ports.iter().enumerate() {
        script = script.replace(&format!("PORT{}", i + 1), &port.local_addr().unwrap().port().to_string());
    }
    drop(ports);
    // A server that is left over ends with the shell.
    let script =
        format!("set -euo pipefail -m\ntrap 'jobs -p | xargs -r kill 2>/dev/null || true' EXIT\n{script}");
    let root = env::current_dir().unwrap();
    // Files, since a server that goes on would keep a pipe open.
    let [stdout, stderr] = [(); 2].map(|()| tempfile::NamedTempFile::new().unwrap());
    let mut shell = Command::new("bash")
        .args(["-c", &script])
        .current_dir(dir)
        .env("PATH", path.unwrap())
        .env("MODEL", root.join("default-model/default.gguf"))
        .env("ROOT", root)
        .stdin(Stdio::null())
        .stdout(stdout.reopen().unwrap())
        .stderr(stderr.reopen().unwrap())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let status = loop {
        match shell.try_wait().unwrap() {
            Some(status) => break status,
            None if start.elapsed() < LIMIT => thread::sleep(Duration::from_millis(20)),
            // A signal that lets the shell end its servers.
            None => {
                break Command::new("kill").arg(shell.id().to_string()).status().and(shell.wait()).unwrap();
            }
        }
    };
    let [stdout, stderr] = [stdout, stderr].map(|file| fs::read(file.path()).unwrap());
    Some(Output { status, stdout, stderr })
}

/// Holds that the script ended well and said all of `expected`, in its output or its errors.
fn said(done: &Output, expected: &[&str]) {
    let (said, errors) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{}\n{said}\n{errors}", done.status);
    for expected in expected {
        assert!(
            said.contains(expected) || errors.contains(expected),
            "`{expected}` is not in\n{said}\n{errors}"
        );
    }
}

#[test]
fn the_tour_of_the_readme_runs() {
    let page = fs::read_to_string("README.md").unwrap();
    // cargo's own: the demo, the tests and the installation.
    let tour: Vec<String> =
        fenced(&page, "sh").into_iter().filter(|block| !block.starts_with("cargo ")).collect();
    assert!(tour.len() >= 5, "{tour:?}");
    let dir = tempfile::tempdir().unwrap();
    let Some(done) = run(&tour.join("\n"), dir.path(), &[]) else { return };
    said(
        &done,
        &["text.txt: watermarked (p = ", "mixed.txt: 1 marked passage", "short.txt: watermarked (p = "],
    );
    assert!(dir.path().join("report.html").exists());
    assert!(!String::from_utf8_lossy(&done.stderr).contains("warning"), "{done:?}");
}

#[test]
fn every_page_with_shell_blocks_is_run() {
    for entry in fs::read_dir("docs/guide").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let page = fs::read_to_string(Path::new("docs/guide").join(&name)).unwrap();
        let known = PAGES.iter().any(|page| page.name == name) || ELSEWHERE.contains(&name.as_str());
        assert!(known || fenced(&page, "sh").is_empty(), "no test runs the blocks of docs/guide/{name}");
    }
}

#[test]
fn the_page_of_commands_has_them_all() {
    let page = fs::read_to_string("docs/reference/commands.md").unwrap();
    let dir = tempfile::tempdir().unwrap();
    for program in ["wmgen", "wmdetect"] {
        let Some(done) = run(&format!("{program} --help"), dir.path(), &[]) else { return };
        let help = String::from_utf8_lossy(&done.stdout);
        let of_program =
            page.split(&format!("## `{program}`")).nth(1).unwrap().split("\n## ").next().unwrap();
        let mut commands = Vec::new();
        for line in
            help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty())
        {
            // Lines that go on with a description begin farther to the right.
            if let Some(name) = line.strip_prefix("  ").filter(|line| !line.starts_with(' ')) {
                commands.push(name.split(' ').next().unwrap());
            }
        }
        assert!(commands.contains(&"serve"), "{help}");
        let missing: Vec<_> = commands
            .into_iter()
            .filter(|name| *name != "help" && !of_program.contains(&format!("| `{name}` |")))
            .collect();
        assert!(missing.is_empty(), "{program}: {missing:?} are not on the page");
    }
}

tests_of_pages! {
    fn the_page_on_teaching_runs(TEACHING) {
        let Some((done, _)) = TEACHING.run() else { return };
        said(
            &done,
            &[
                "text.txt: watermarked",
                "answer.txt: watermarked",
                r#"{"applied":true,"#,
                "student.gguf: ",
                "student: not detected",
                "random keys: p uniform with",
            ],
        );
    }

    /// The page's files are written where the page says, with the hash of the token that it makes.
    fn the_page_for_operators_runs(OPERATORS) {
        let [demo, master, derive, leak, token, marks, ring, finds, sign] = &OPERATORS.blocks("sh")[..] else {
            panic!("the page has other blocks");
        };
        let [epochs, leaked, tenants, credentials] = &OPERATORS.blocks("toml")[..] else {
            panic!("the page has other files");
        };
        let file = |path: &str, content: &str| format!("cat > {path} <<'END'\n{content}\nEND");
        let hashes = |path: &str| {
            format!(
                "hash=$(cut -d' ' -f1 hash.txt)\n\
                 sed -i \"s/…64 digits…/$hash/; s/…64 other digits…/$(echo $hash | tr 0-9a-f a-f0-9)/\" {path}"
            )
        };
        let script = [
            demo.clone(),
            master.clone(),
            derive.clone(),
            file("keys/acme/keys.toml", epochs),
            token.clone(),
            "wmgen keygen research.bin --model $M".to_owned(),
            file("tenants.toml", tenants),
            hashes("tenants.toml"),
            marks.clone(),
            ring.clone(),
            file("credentials.toml", credentials),
            hashes("credentials.toml"),
            finds.clone(),
            sign.clone(),
            leak.clone(),
            file("keys/acme/keys.toml", leaked),
            "wmgen generate --model $M --key keys/acme/2026-12.bin --max-tokens 100 > leaked.txt".to_owned(),
            "wmdetect score leaked.txt --keyring keys/acme --tokenizer $M".to_owned(),
        ];
        let Some((done, _)) = OPERATORS.run_blocks(&script) else { return };
        said(
            &done,
            &[
                r#""verdict":"watermarked""#,
                "the tenant is marked",
                "the operator is told: watermarked",
                "leaked.txt: watermarked",
                "was marked as leaked",
            ],
        );
    }

    fn the_page_on_real_models_runs(REAL_MODELS) {
        let Some((done, _)) = REAL_MODELS.run() else { return };
        said(&done, &["marked.txt: watermarked", "answer.txt: watermarked"]);
    }

    fn the_page_on_other_engines_says_what_the_programs_say(OTHER_ENGINES) {
        let Some((done, _)) = OTHER_ENGINES.run() else { return };
        let outputs = fenced(&OTHER_ENGINES.text(), "text");
        assert_eq!(outputs.len(), 4);
        said(&done, &outputs.iter().map(String::as_str).collect::<Vec<_>>());
    }

    fn the_page_on_training_runs(TRAINING) {
        let Some((done, dir)) = TRAINING.run() else { return };
        said(&done, &["my-model.gguf: "]);
        for output in ["my-assistant", "small", "small-2", "small-3", "s1"] {
            assert!(dir.path().join(output).join("training.json").exists(), "{output}\n{done:?}");
        }
    }

    fn the_page_on_evaluation_runs(EVALUATION) {
        let Some((done, dir)) = EVALUATION.run() else { return };
        said(&done, &["exact_match", "acc_norm", "pass_at_1", "distinct_2"]);
        assert!(dir.path().join("arc.log").exists());
    }

    fn the_page_on_comparison_runs(COMPARISON) {
        let Some((done, dir)) = COMPARISON.run() else { return };
        said(&done, &["2 examples", "A 2 of 2"]);
        assert!(dir.path().join("page.html").exists() && dir.path().join("comparison.json").exists());
    }

    fn the_page_on_radioactivity_runs(RADIOACTIVITY) {
        let Some((done, _)) = RADIOACTIVITY.run() else { return };
        said(&done, &["default: "]);
    }

    fn the_page_on_choosing_runs(CHOOSING) {
        let Some((done, _)) = CHOOSING.run() else { return };
        said(&done, &["3 texts: 3 watermarked", "marked: share of 3 texts found", "replace 0.1"]);
    }

    fn the_page_on_moderation_runs(MODERATION) {
        let Some((done, dir)) = MODERATION.run() else { return };
        said(&done, &[]);
        let verdicts = fs::read_to_string(dir.path().join("verdicts.jsonl")).unwrap();
        assert!(verdicts.contains(r#""verdict":"watermarked""#) && verdicts.contains("too_short"), "{verdicts}");
    }
}
