//! What the end-to-end tests share: the program, a key in a directory, and the JSON that it prints.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test file takes what it needs")]

mod json;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use wmdetect::scheme::{Key, TextGValues};
use wmdetect::text::Tokenizer;

pub use json::*;

pub const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny-gemma2");
pub const TOKENIZER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny-gemma2/tokenizer.json");

pub fn wmgen(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wmgen"));
    command.current_dir(dir).stdin(Stdio::null());
    command
}

pub fn run(dir: &Path, args: &[&str]) -> Output {
    wmgen(dir).args(args).output().unwrap()
}

#[track_caller]
pub fn ok(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "exit {:?}: {error}", output.status.code());
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
pub fn refused(output: &Output, needle: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains(needle), "expected {needle:?} in {error:?}");
    assert!(output.stdout.is_empty(), "an error prints no result");
}

/// A folder with a key for the tiny model, the same in every run: with a random one a text ends early now and then.
pub fn with_key() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("k.bin");
    let tokenizer = Tokenizer::open(MODEL).unwrap();
    let binding = tokenizer.binding();
    fixed_key(1).with_tokenizer(Some(binding)).write(&path, false).unwrap();
    (dir, path)
}

/// One of 256 keys that everyone knows.
pub fn fixed_key(number: u8) -> Key {
    Key::from_bytes(&[number; 32], "a fixed key").unwrap()
}

/// The JSON lines of a run.
#[track_caller]
pub fn rows<T: serde::de::DeserializeOwned>(output: &Output) -> Vec<T> {
    ok(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Holds lines of JSON to the schema that `wmgen schema` prints for `what`, which must name every field.
#[track_caller]
pub fn conform(what: &str, lines: &str) {
    let schema = ok(&run(Path::new("."), &["schema", what]));
    let mut schema = serde_json::from_str(&schema).unwrap();
    close(&mut schema);
    let schema = jsonschema::validator_for(&schema).unwrap();
    assert!(!lines.is_empty());
    for line in lines.lines() {
        let faults: Vec<_> =
            schema.iter_errors(&serde_json::from_str(line).unwrap()).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{what}: {faults:#?} in {line}");
    }
}

/// Closes the objects of a schema, so that a field which it does not name is a fault. Alternatives stay open: their parts
/// complete each other.
fn close(schema: &mut serde_json::Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    if schema.contains_key("properties") {
        schema.insert("unevaluatedProperties".into(), false.into());
    }
    for list in ["properties", "$defs"] {
        schema
            .get_mut(list)
            .and_then(|list| list.as_object_mut())
            .into_iter()
            .flatten()
            .for_each(|(_, part)| close(part));
    }
    schema.get_mut("items").into_iter().for_each(close);
}

#[track_caller]
pub fn reports(output: &Output) -> Vec<Report> {
    rows(output)
}

/// Share of ones among the g-bits at the positions that the detector counts, as a z-score under the fair-coin null.
pub fn z_score(key: &Key, prompt: &[u32], ids: &[u32]) -> f64 {
    let text = TextGValues::new(&key.prf(), prompt, ids);
    let (mut ones, mut bits) = (0, 0);
    for g in text.scored() {
        ones += g.0.count_ones();
        bits += text.depth;
    }
    (f64::from(ones) - bits as f64 / 2.0) / (bits as f64 / 4.0).sqrt()
}
