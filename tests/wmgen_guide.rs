//! Runs the commands of README.md and docs/guide/teaching.md in their order, so that the pages stay true.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{env, fs};

/// The sizes of the page on teaching, and those of the test.
const SMALLER: [(&str, &str); 5] = [
    ("-n 300 --max-tokens 128", "-n 12 --max-tokens 128"),
    (
        "--steps 100 --context 128 --warmup 20 --eval-every 50",
        "--steps 2 --context 128 --warmup 1 --eval-every 2",
    ),
    ("-n 20 --max-tokens 128", "-n 2 --max-tokens 128"),
    ("--control 1000", "--control 20"),
    ("--port 8099", "--port PORT"),
];

/// The shell's blocks of a page.
fn blocks(page: &str) -> Vec<&str> {
    page.split("\n```sh\n").skip(1).map(|rest| rest.split_once("\n```").expect("a block ends").0).collect()
}

/// Whether the shell finds a program.
fn has(program: &str) -> bool {
    let found =
        Command::new("sh").args(["-c", &format!("command -v {program}")]).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// Runs a script in a directory, with our programs and `tools` at hand. `None` if one of them is missing.
fn run(script: &str, dir: &Path, tools: &[&str]) -> Option<Output> {
    let programs: PathBuf = Path::new(env!("CARGO_BIN_EXE_wmgen")).parent().unwrap().to_owned();
    if !programs.join("wmdetect").exists() || ["bash"].iter().chain(tools).any(|program| !has(program)) {
        #[expect(clippy::print_stderr, reason = "it is said to those who run the tests")]
        {
            eprintln!(
                "left out: it needs bash, {}, and wmdetect beside wmgen (cargo build -p wmdetect)",
                tools.join(", ")
            );
        }
        return None;
    }
    let path = env::join_paths(
        [programs].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())),
    );
    // A server that is left over ends with the shell.
    let script =
        format!("set -euo pipefail -m\ntrap 'jobs -p | xargs -r kill 2>/dev/null || true' EXIT\n{script}");
    let done = Command::new("bash")
        .args(["-c", &script])
        .current_dir(dir)
        .env("PATH", path.unwrap())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Some(done)
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
    let tour: Vec<&str> = blocks(&page).into_iter().filter(|block| !block.starts_with("cargo ")).collect();
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

#[test]
fn the_page_on_teaching_runs() {
    let page = fs::read_to_string("docs/guide/teaching.md").unwrap();
    let mut script = blocks(&page).join("\n");
    assert!(script.contains("wmgen distill") && script.contains("wmgen radioactive"));
    for (of_page, smaller) in SMALLER {
        assert!(script.contains(of_page), "the page has no `{of_page}` any more");
        script = script.replace(of_page, smaller);
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = script.replace("PORT", &port.to_string()).replace("8099", &port.to_string());
    let dir = tempfile::tempdir().unwrap();
    let Some(done) = run(&script, dir.path(), &["jq", "curl"]) else { return };
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
