//! The runs: their keys and seeds.

use anyhow::{Context as _, Result, bail};
use wmdetect::shell::Hinted;
use wmdetect::split_mix::mix;
use wmdetect::text::Tokenizer;
use wmgen::respond::KeyMark;

use super::super::keys;
use super::EvalArgs;

/// A run with a mark.
pub(super) struct Run {
    pub key_id: String,
    pub mark: KeyMark,
    /// Seed of the run. Each run has another one, so that the runs of a comparison draw
    /// independently.
    pub seed: u64,
}

/// The runs of all tasks.
pub(super) struct Runs {
    /// The marked runs; empty without a key.
    pub marked: Vec<Run>,
    /// Seeds of the unmarked runs. In a comparison, each is the seed of the marked run with the
    /// same number.
    pub unmarked: Vec<u64>,
}

impl Runs {
    pub(super) fn of(args: &EvalArgs, tokenizer: &Tokenizer) -> Result<Self> {
        let mut all = Vec::new();
        for path in &args.watermark {
            let key = keys::read(path)?;
            keys::check_binding(&key, tokenizer)?;
            match args.keys {
                None => all.push(key),
                Some(number) => {
                    for n in 1..=number {
                        let derived = key.derive(&format!("eval {n}"));
                        all.push(derived.with_context(|| format!("--keys: {}", path.display()))?);
                    }
                }
            }
        }
        for (number, key) in all.iter().enumerate() {
            if all[..number].iter().any(|other| other.id() == key.id()) {
                bail!(Hinted::new(
                    format!("--watermark: expected different keys, found {} twice", key.id()),
                    "--keys derives more of one key, and --seeds repeats a key",
                ));
            }
        }
        let seeds = u64::from(args.seeds);
        let mut marked = Vec::new();
        for (number, key) in all.iter().enumerate() {
            let (key_id, mark) = (key.id(), KeyMark::new(key)?);
            marked.extend((0..seeds).map(|seed| Run {
                key_id: key_id.clone(),
                mark: mark.clone(),
                seed: args.seed.wrapping_add(number as u64 * seeds + seed),
            }));
        }
        let unmarked = match (args.compare, marked.is_empty()) {
            (true, _) => marked.iter().map(|run| run.seed).collect(),
            (false, true) => vec![args.seed],
            (false, false) => Vec::new(),
        };
        Ok(Self { marked, unmarked })
    }

    /// Returns the key and the seed of every run, in order: the results depend on them.
    pub(super) fn bound(&self) -> (Vec<(&str, u64)>, &[u64]) {
        (self.marked.iter().map(|run| (run.key_id.as_str(), run.seed)).collect(), &self.unmarked)
    }

    /// Returns the keys' public ids, each once. The runs of a key are adjacent.
    pub(super) fn key_ids(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = self.marked.iter().map(|run| run.key_id.as_str()).collect();
        ids.dedup();
        ids
    }
}

/// Returns the seed of a document's draws. It is below 2^53, so that every JSON reader keeps it
/// exactly.
pub(super) fn seed_of(run: u64, document: usize) -> u64 {
    mix(mix(run) ^ document as u64) >> 11
}
