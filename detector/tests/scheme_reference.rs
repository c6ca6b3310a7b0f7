//! The compat schemes against what their reference implementations computed, and the tournament of all schemes.
//!
//! The fixtures come from `tests/oracle/scheme_reference.py`; their field `about` tells how to read them.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use wmdetect::scheme::{
    Distribution, GBits, Key, PositionKind, Prf, SamplingTable, Scheme, Secret, TextGValues, Watermark,
    synthid,
};
use wmdetect::statistics::{Mean, Sample, Statistic, WeightedMean};
use zeroize::Zeroizing;

fn fixture<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/scheme").join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[derive(Deserialize)]
struct Config {
    keys: Vec<i64>,
    ngram_len: u8,
    sampling_table_size: u32,
    sampling_table_seed: u64,
    context_history_size: u32,
}

impl Config {
    fn prf(&self, scheme: &str) -> Prf {
        let (depth, ngram_len) = (self.keys.len() as u8, self.ngram_len);
        let context_history_size = self.context_history_size;
        let scheme = match scheme {
            "synthid-hf" => Scheme::Hf(synthid::Hf {
                depth,
                ngram_len,
                context_history_size,
                table: SamplingTable::Seeded {
                    size: self.sampling_table_size,
                    seed: self.sampling_table_seed,
                },
            }),
            "synthid-deepmind" => {
                Scheme::DeepMind(synthid::DeepMind { depth, ngram_len, context_history_size })
            }
            other => panic!("a compat scheme, not {other}"),
        };
        compat(scheme, &self.keys)
    }
}

fn compat(scheme: Scheme, keys: &[i64]) -> Prf {
    let secret = keys.iter().flat_map(|key| key.to_le_bytes()).collect();
    Key::new(scheme, Secret::new(Zeroizing::new(secret))).unwrap().prf()
}

fn hex_digest(text: &str) -> String {
    wmdetect::hex::encode(&Sha256::digest(text))
}

fn flags(mask: impl IntoIterator<Item = bool>) -> String {
    mask.into_iter().map(|flag| if flag { '1' } else { '0' }).collect()
}

fn assert_close(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((found - expected).abs() <= tolerance, "{what}: found {found:e}, expected {expected:e}");
}

#[derive(Deserialize)]
struct Scores {
    sets: Vec<ScoreSet>,
}

#[derive(Deserialize)]
struct ScoreSet {
    name: String,
    config: Config,
    rows: Vec<ScoreRow>,
}

#[derive(Deserialize)]
struct ScoreRow {
    mask: String,
    mean: f64,
    weighted_mean: f64,
    g_sha256: String,
    g_bits: Option<String>,
}

fn scores_equal_the_reference(scheme: &str, file: &str) {
    #[derive(Deserialize)]
    struct Sequences {
        sequences: Vec<Vec<u32>>,
    }
    let sequences: Sequences = fixture("sequences.json");
    let scores: Scores = fixture(file);
    assert!(scores.sets.len() >= 5);
    for set in &scores.sets {
        let prf = set.config.prf(scheme);
        assert!(set.rows.len() >= 200 && set.rows.len() == sequences.sequences.len());
        for (i, (row, ids)) in set.rows.iter().zip(&sequences.sequences).enumerate() {
            let what = format!("{scheme}, set {}, sequence {i}", set.name);
            let text = TextGValues::new(&prf, &[], ids);
            let bits: String = text.g.iter().map(|g| g.to_string(text.depth)).collect();
            if let Some(expected) = &row.g_bits {
                assert_eq!(&bits, expected, "{what}");
            }
            assert_eq!(hex_digest(&bits), row.g_sha256, "{what}");
            assert_eq!(flags(text.reference_mask.iter().copied()), row.mask, "{what}");
            let (mean, weighted_mean) = (Mean::new(text.depth), WeightedMean::new(text.depth));
            let score = |statistic: &dyn Statistic| {
                statistic.evaluate(Sample::reference(&text)).unwrap().score.unwrap()
            };
            assert_close(score(&mean), row.mean, 1e-12, &what);
            assert_close(score(&weighted_mean), row.weighted_mean, 1e-12, &what);
        }
    }
}

#[test]
fn hf_scores_equal_transformers() {
    scores_equal_the_reference("synthid-hf", "hf.json");
}

#[test]
fn deepmind_scores_equal_synthid_text() {
    scores_equal_the_reference("synthid-deepmind", "deepmind.json");
}

/// Reads a whole sampling table through the keyed function: the index of an entry is a known hash.
#[test]
fn sampling_tables_are_torchs() {
    #[derive(Deserialize)]
    struct Tables {
        tables: Vec<Table>,
    }
    #[derive(Deserialize)]
    struct Table {
        seed: u64,
        size: u32,
        first_64: String,
        sha256: String,
    }
    const KEY: i64 = 12_345;
    let step = |hash: i64, data: i64| {
        hash.wrapping_add(data).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1)
    };
    let tables: Tables = fixture("sampling_table.json");
    assert!(tables.tables.len() >= 21);
    for expected in tables.tables {
        let size = expected.size as usize;
        let table = SamplingTable::Seeded { size: expected.size, seed: expected.seed };
        let scheme = Scheme::Hf(synthid::Hf { depth: 1, ngram_len: 2, context_history_size: 1, table });
        let prf = compat(scheme, &[KEY]);
        let context = prf.context(&[3]);
        let mut entries = vec![None; size];
        let mut missing = size;
        for token in 0u32.. {
            let index = step(step(step(1, 3), token.into()), KEY).rem_euclid(size as i64) as usize;
            let bit = context.g_bits(token).0 as u8;
            missing -= usize::from(entries[index].is_none());
            assert_eq!(*entries[index].get_or_insert(bit), bit);
            if missing == 0 {
                break;
            }
        }
        let bits: String = entries.iter().map(|bit| char::from(b'0' + bit.unwrap())).collect();
        assert_eq!(bits[..64], expected.first_64, "seed {}, size {size}", expected.seed);
        assert_eq!(hex_digest(&bits), expected.sha256, "seed {}, size {size}", expected.seed);
    }
}

#[test]
fn an_explicit_table_stands_for_the_seeded_one() {
    let (keys, depth, ngram_len) = ([5, 77, i64::MAX], 3, 3);
    let hf =
        |table| compat(Scheme::Hf(synthid::Hf { depth, ngram_len, context_history_size: 8, table }), &keys);
    // The first entries that torch draws from seed 0, as in sampling_table.json.
    let entries = b"0110111111100100".map(|digit| digit - b'0');
    let seeded = hf(SamplingTable::Seeded { size: 16, seed: 0 });
    let explicit = hf(SamplingTable::Explicit(entries.to_vec()));
    let ids: Vec<u32> = (0..200).map(|i| i * 7_919 % 256_000).collect();
    assert_eq!(TextGValues::new(&seeded, &[], &ids), TextGValues::new(&explicit, &[], &ids));
}

fn bits(text: &str) -> GBits {
    GBits(text.bytes().rev().fold(0, |bits, digit| bits << 1 | u64::from(digit - b'0')))
}

#[test]
fn tournaments_equal_the_reference() {
    #[derive(Deserialize)]
    struct Cases {
        cases: Vec<Case>,
    }
    #[derive(Deserialize)]
    struct Case {
        leaves: u32,
        p: Vec<f64>,
        g: Vec<String>,
        q: Vec<f64>,
    }
    let cases: Cases = fixture("tournament.json");
    let mut seen = std::collections::BTreeSet::new();
    for (i, case) in cases.cases.iter().enumerate() {
        seen.insert(case.leaves);
        let depth = case.g[0].len();
        let g: Vec<GBits> = case.g.iter().map(|text| bits(text)).collect();
        let tokens = (0..case.p.len() as u32).collect();
        let mut distribution = Distribution::from_probabilities(tokens, case.p.clone()).unwrap();
        distribution.tournament(&g, depth, case.leaves);
        for (x, (&found, &expected)) in distribution.probabilities().iter().zip(&case.q).enumerate() {
            assert_close(found, expected, 1e-12, &format!("case {i}, candidate {x}"));
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [2, 3, 5]);
}

/// Where the compat generators mark, and the distribution that they draw from.
///
/// The reference's option `skip_first_ngram_calls` is off, as it is unless someone sets it: we do not offer it.
#[test]
fn compat_generation_marks_as_the_reference() {
    #[derive(Deserialize)]
    struct Runs {
        runs: Vec<Run>,
    }
    #[derive(Deserialize)]
    struct Run {
        scheme: String,
        set: String,
        config: Config,
        skip_first_ngram_calls: bool,
        prompt: Vec<u32>,
        tokens: Vec<u32>,
        applied: String,
        chosen_probability: Vec<f64>,
    }
    const VOCABULARY: u32 = 50;
    let runs: Runs = fixture("generation.json");
    let mut checked = 0;
    for run in runs.runs.iter().filter(|run| !run.skip_first_ngram_calls) {
        let what = format!("{}, set {}", run.scheme, run.set);
        let prf = run.config.prf(&run.scheme);
        let mut tracker = prf.marked_positions(&run.prompt);
        let mut marking = Watermark::new(prf).start(&run.prompt, 0);
        let mut applied = Vec::new();
        for (step, (&token, &expected)) in run.tokens.iter().zip(&run.chosen_probability).enumerate() {
            let logit = |v: u32| f64::from((step as u32 * VOCABULARY + v) * 7_919 % 1_009) / 200.0;
            let weights = (0..VOCABULARY).map(|v| logit(v).exp()).collect();
            let mut p = Distribution::from_probabilities((0..VOCABULARY).collect(), weights).unwrap();
            let kind = marking.apply(&mut p);
            assert_eq!(kind, tracker.next_position(), "{what}, step {step}");
            applied.push(kind == PositionKind::Marked);
            assert_close(p.probabilities()[token as usize], expected, 1e-12, &format!("{what}, step {step}"));
            marking.push(token);
            tracker.push(token);
        }
        assert_eq!(flags(applied), run.applied, "{what}");
        assert_eq!(marking.marked_tokens(), run.applied.matches('1').count(), "{what}");
        checked += 1;
    }
    assert!(checked >= 10);
}
