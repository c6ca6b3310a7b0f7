//! `wmdetect train --detector bayesian` and `wmdetect score --bayesian`, as processes.

#![cfg(feature = "cli")]

mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use support::Place;
use support::rows::{CalibrationReport, Report};
use wmdetect::scheme::{Key, Secret, synthid};
use wmdetect::statistics::{Method, PKind};
use wmdetect::verdict::Verdict;

/// The JSON contract of `train --detector bayesian --json`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "the fields are the contract")]
struct TrainBayesianReport {
    schema_version: u32,
    detector: String,
    output: String,
    texts: u64,
    tokens: u64,
    held_out_texts: u64,
    depth: u32,
    l2_weight: f64,
    epoch: u32,
    held_out_loss: f64,
    evidence: f64,
    required_tokens: Vec<Option<u64>>,
}

fn run(dir: &Path, args: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wmdetect"))
        .args(args.split_whitespace())
        .current_dir(dir)
        .env_remove("WMDETECT_KEY")
        .output()
        .unwrap()
}

fn json<T: serde::de::DeserializeOwned>(output: &Output) -> T {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
}

/// Of few layers: 2^12 patterns are counted at once.
fn key(seed: u8) -> Key {
    let scheme = synthid::Sha256 { depth: 12, ngram_len: 5 };
    Key::new(scheme, Secret::new(vec![seed; 32].into())).unwrap()
}

/// A text marked by brute force: of 2 candidates the one with more ones in the first layers.
fn marked(key: &Key, seed: u32) -> Vec<u32> {
    let prf = key.prf();
    let mut ids: Vec<u32> = (0..4).map(|i| seed * 1000 + i).collect();
    while ids.len() < 84 {
        let context = prf.context(&ids[ids.len() - 4..]);
        let candidates = [seed * 1000 + 2 * ids.len() as u32, seed * 1000 + 2 * ids.len() as u32 + 1];
        ids.push(candidates.into_iter().max_by_key(|&id| (context.g_bits(id).0 & 7).count_ones()).unwrap());
    }
    ids
}

#[test]
fn fitted_by_one_command_and_used_by_another() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path();
    key(1).write(dir.join("fit.bin"), false).unwrap();
    key(2).write(dir.join("use.bin"), false).unwrap();
    let rows = (0..40).fold(String::new(), |mut rows, seed| {
        writeln!(rows, r#"{{"tokens":{:?}}}"#, marked(&key(1), seed)).unwrap();
        rows
    });
    std::fs::write(dir.join("marked.jsonl"), rows).unwrap();

    let train = "train marked.jsonl --tokens --key fit.bin --detector bayesian -o fitted";
    let output = run(dir, &format!("{train} --json"));
    Place::new().conform("train-bayesian", &String::from_utf8_lossy(&output.stdout));
    let report: TrainBayesianReport = json(&output);
    assert_eq!((report.texts, report.tokens, report.depth, report.held_out_texts), (40, 3200, 12, 8));
    assert!(report.evidence > 0.05 && report.held_out_loss < 0.6, "{report:?}");
    assert!(report.required_tokens[1].is_some_and(|n| n < 200), "{report:?}");
    let again = run(dir, train);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("--force"));

    // Another key's text, which the fit has not seen.
    std::fs::write(dir.join("text"), format!("{:?}", marked(&key(2), 100))).unwrap();
    let found: Report = json(&run(dir, "score text --tokens --key use.bin --bayesian fitted --json"));
    assert_eq!((found.detector, found.p_kind), (Method::Bayesian, PKind::Exact));
    assert_eq!((found.verdict, &found.warnings), (Verdict::Watermarked, &vec![]));
    assert!(
        found.scores.as_ref().unwrap().bayesian.unwrap() > 0.99 && found.log10_p.unwrap() < -4.0,
        "{found:?}"
    );
    // Not marked under this key; and the detector was fitted to texts of it, which is worth a warning.
    let other = run(dir, "score text --tokens --key fit.bin --bayesian fitted --json");
    assert!(other.stderr.is_empty(), "{}", String::from_utf8_lossy(&other.stderr));
    let other: Report = json(&other);
    assert!(
        other.log10_p.unwrap() > -3.0 && other.scores.as_ref().unwrap().bayesian.unwrap() < 0.5,
        "{other:?}"
    );
    assert!(other.warnings[0].contains("fitted to texts of key"));

    // What is deployed is what is calibrated.
    let corpus = (0..20).fold(String::new(), |mut rows, seed| {
        let mut ids = marked(&key(2), 200 + seed);
        ids.truncate(12 + 2 * seed as usize);
        writeln!(rows, r#"{{"tokens":{ids:?}}}"#).unwrap();
        rows
    });
    std::fs::write(dir.join("corpus.jsonl"), corpus).unwrap();
    let input = "corpus.jsonl --jsonl --tokens --key use.bin --fpr 0.01 --json";
    let flagged = |detector: &str| {
        let calibrated: CalibrationReport =
            json(&run(dir, &format!("calibrate {input} --keys 9 --seed 1 {detector}")));
        assert_eq!(calibrated.detector, Method::Bayesian);
        let scored = run(dir, &format!("score {input} {detector}")).stdout;
        let rows = String::from_utf8(scored).unwrap();
        let found = rows.lines().filter(|row| row.contains(r#""verdict":"watermarked""#)).count();
        assert_eq!(calibrated.flagged, found as u64, "{detector}");
        found
    };
    assert_ne!(flagged("--bayesian fitted"), flagged("--detector bayesian"));

    // A detector from elsewhere has no null law yet; it is counted once and kept.
    std::fs::remove_file(dir.join("fitted/null.json")).unwrap();
    for told in [true, false] {
        let output = run(dir, "score text --tokens --key use.bin --bayesian fitted --json");
        assert_eq!(String::from_utf8_lossy(&output.stderr).contains("2^12 patterns"), told);
        assert_eq!(json::<Report>(&output), found);
    }
    let missing = run(dir, "score text --tokens --key use.bin --bayesian nowhere");
    assert_eq!(missing.status.code(), Some(2));
}
