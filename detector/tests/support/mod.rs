//! What the end-to-end tests share: a place to run the program in, keys, and token ids made on the spot.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test file takes what it needs")]

pub mod rows;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rows::Report;
use wmdetect::scheme::{Distribution, Key, Preset, Secret, TextGValues, Watermark};
use wmdetect::split_mix;
use wmdetect::statistics::Profile;
use wmdetect::text::Tokenizer;

/// A directory with the key file `k.bin` and the tiny tokenizer, which is also where the program runs.
pub struct Place(pub tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        key(1).write(place.path("k.bin"), false).unwrap();
        std::fs::copy(tokenizer(), place.path("tokenizer.json")).unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.path(name), content).unwrap();
        self
    }

    pub fn ids(&self, name: &str, ids: &[u32]) -> &Self {
        self.write(name, format!("{ids:?}\n"))
    }

    /// Runs the program on `args`, cut at spaces, with `input` as standard input.
    pub fn run_on(&self, args: &str, input: &[u8]) -> Run {
        self.run_args(args.split_whitespace(), input)
    }

    pub fn run_args<'a>(&self, args: impl IntoIterator<Item = &'a str>, input: &[u8]) -> Run {
        let mut child = self.program(args).spawn().unwrap();
        // A program that refuses its arguments reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input);
        Run(child.wait_with_output().unwrap())
    }

    /// The program with `args`, cut at spaces, and pipes.
    pub fn command(&self, args: &str) -> Command {
        self.program(args.split_whitespace())
    }

    fn program<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wmdetect"));
        command
            .args(args)
            .current_dir(self.0.path())
            .env_remove("WMDETECT_KEY")
            .env_remove("WMDETECT_TOKENIZER")
            .env("WMDETECT_CACHE", self.0.path().join("cache"))
            // Help is wrapped to it.
            .env("COLUMNS", "100")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn run(&self, args: &str) -> Run {
        self.run_on(args, b"")
    }

    /// Holds lines of JSON to the schema that `wmdetect schema` prints for `what`, which must name every field.
    #[track_caller]
    pub fn conform(&self, what: &str, lines: &str) {
        let mut schema = serde_json::from_str(&self.run(&format!("schema {what}")).code(0).out()).unwrap();
        close(&mut schema);
        let schema = jsonschema::validator_for(&schema).unwrap();
        assert!(!lines.is_empty());
        for line in lines.lines() {
            let line = serde_json::from_str(line).unwrap();
            let faults: Vec<_> = schema.iter_errors(&line).map(|fault| fault.to_string()).collect();
            assert!(faults.is_empty(), "{what}: {faults:#?} in {line}");
        }
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

pub struct Run(pub Output);

impl Run {
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.0.status.code(), Some(code), "stderr: {}", self.errors());
        self
    }

    pub fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    pub fn reports(&self) -> Vec<Report> {
        self.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn report(&self) -> Report {
        let mut reports = self.reports();
        assert_eq!(reports.len(), 1);
        reports.remove(0)
    }
}

pub fn tokenizer() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tokenizer/tokenizer.json"))
}

pub fn key(seed: u8) -> Key {
    Key::new(Preset::Secret, Secret::new(vec![seed; 32].into())).unwrap()
}

/// A text of `count` words that carries the mark of `key`: of eight random words always the one with most evidence a
/// token.
pub fn marked_words(key: &Key, tokenizer: &Tokenizer, count: usize) -> String {
    marked_words_from(key, tokenizer, count, 5)
}

/// As [`marked_words`], with words drawn from `seed`.
pub fn marked_words_from(key: &Key, tokenizer: &Tokenizer, count: usize, seed: u64) -> String {
    let words: Vec<&str> = "river old man boat sea went hand said fish day sun big dark line water fast bird cold deep \
                            wind north slow sky long back strong moon tired small shark bone blood wood hook oar knife"
        .split_whitespace()
        .collect();
    let (prf, profile, mut random) = (key.prf(), Profile::named("t1.0").unwrap(), Random(seed));
    let mut text = String::new();
    for _ in 0..count {
        let before = tokenizer.encode(&text).unwrap().ids.len();
        let evidence = |word: &str| {
            let ids = tokenizer.encode(&format!("{text} {word}")).unwrap().ids;
            let g = TextGValues::new(&prf, &[], &ids[before.saturating_sub(4)..]).g;
            g.iter().map(|&g| profile.ln_lr(g)).sum::<f64>() / (g.len() as f64 + 1e-9)
        };
        let candidates: Vec<&str> = (0..8).map(|_| words[random.next() as usize % words.len()]).collect();
        let word = candidates.into_iter().max_by(|a, b| evidence(a).total_cmp(&evidence(b))).unwrap();
        text = format!("{text} {word}");
    }
    text
}

/// Numbers from a seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        split_mix::next(&mut self.0)
    }

    pub fn unit(&mut self) -> f64 {
        split_mix::unit(&mut self.0)
    }
}

/// A response of `len` tokens to `prompt` from random distributions over 40 candidates, with or without the mark.
pub fn response(key: Option<&Key>, prompt: &[u32], len: usize, seed: u64) -> Vec<u32> {
    let mut random = Random(seed);
    let mut marking = key.map(|key| Watermark::new(key.prf()).start(prompt, 0));
    let mut ids = Vec::new();
    for _ in 0..len {
        let tokens = (0..40).map(|_| random.next() as u32 % 256_000).collect();
        // A long tail, as language has: a few likely candidates, many unlikely ones.
        let weights = (0..40).map(|_| random.unit().powi(6) + 1e-3).collect();
        let mut candidates = Distribution::from_probabilities(tokens, weights).unwrap();
        if let Some(marking) = &mut marking {
            marking.apply(&mut candidates);
        }
        let token = candidates.draw(random.unit());
        if let Some(marking) = &mut marking {
            marking.push(token);
        }
        ids.push(token);
    }
    ids
}
