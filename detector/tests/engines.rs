//! Other engines' marks, held to what those engines' own code computed (`tests/oracle/engines.py`).

use std::path::Path;

use serde_json::Value;
use wmdetect::scheme::{Evidence, EvidenceKind, ImportOptions, Key, Preset, Secret};
use wmdetect::statistics::{Method, PKind};
use wmdetect::{Detector, Input, Keyring, Verdict};

/// A configuration of an engine, the key that was imported from it, and what the engine said of texts.
struct Set {
    key: Key,
    config: Value,
    rows: Vec<Row>,
}

struct Row {
    ids: Vec<u32>,
    prompt: Vec<u32>,
    marked: bool,
    json: Value,
}

impl Row {
    fn numbers(&self, field: &str) -> Vec<f64> {
        numbers(&self.json[field])
    }

    fn number(&self, field: &str) -> f64 {
        self.json[field].as_f64().unwrap()
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn ids(value: &Value) -> Vec<u32> {
    let ids = value.as_array().into_iter().flatten();
    ids.map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect()
}

fn import(scheme: &str, config: &Value) -> Key {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    std::fs::write(&path, config.to_string()).unwrap();
    Key::import_json_with(&path, scheme, ImportOptions::default()).unwrap().0
}

fn sets(scheme: &str) -> Vec<Set> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/engines/{scheme}.json"));
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let row = |row: &Value| Row {
        ids: ids(&row["ids"]),
        prompt: ids(&row["prompt"]),
        marked: row["marked"].as_bool().unwrap(),
        json: row.clone(),
    };
    let set = |set: &Value| Set {
        key: import(scheme, &set["config"]),
        config: set["config"].clone(),
        rows: set["rows"].as_array().unwrap().iter().map(row).collect(),
    };
    let sets: Vec<Set> = file["sets"].as_array().unwrap().iter().map(set).collect();
    let rows = sets.iter().map(|set| set.rows.len()).sum::<usize>();
    assert!(rows >= 50, "{scheme}: {rows} sequences");
    sets
}

fn copy(key: &Key) -> Key {
    Key::from_bytes(&key.to_bytes(), "a copy").unwrap()
}

/// Another key of the same scheme.
fn other(key: &Key, seed: u64) -> Key {
    wmdetect::calibration::random_key(key.scheme(), seed, 0).unwrap()
}

fn scored(evidence: &Evidence) -> usize {
    evidence.scored_mask().iter().filter(|&&scored| scored).count()
}

/// Σ −ln(1 − u) over what counts, and how much that is.
fn sum(evidence: &Evidence) -> (f64, usize) {
    let Evidence::Uniform(values) = evidence else { panic!("uniform numbers") };
    (values.scored().sum(), scored(evidence))
}

fn uniforms(evidence: &Evidence, which: usize) -> Vec<f64> {
    let EvidenceKind::Uniform(law) = evidence.kind() else { panic!("uniform numbers") };
    evidence.g_bits().iter().map(|&g| law.read(g)[which].unwrap()).collect()
}

fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= tolerance, "{what}, {i}: {found} {expected}");
    }
}

/// ln p of the detector, whose report says what it should.
fn ln_p(detector: &Detector, row: &Row, method: Method, kind: PKind) -> f64 {
    let report = detector.score(Input::tokens(&row.ids).after_prompt(&row.prompt[..])).unwrap();
    assert_eq!((report.detector, report.p_kind), (method, kind));
    let json = serde_json::to_value(&report).unwrap();
    assert!(json.get("scores").is_none() && json.get("channel").is_none());
    report.log10_p.unwrap() * std::f64::consts::LN_10
}

/// Marked rows are found, and under another key they are not.
fn assert_power(set: &Set, least_found: f64) {
    let marked: Vec<&Row> = set.rows.iter().filter(|row| row.marked).collect();
    let found = |key: Key| {
        let detector = Detector::builder(key).build().unwrap();
        let is_found = |row: &&&Row| {
            let input = Input::tokens(&row.ids).after_prompt(&row.prompt[..]);
            detector.score(input).unwrap().verdict == Verdict::Watermarked
        };
        marked.iter().filter(is_found).count()
    };
    let (own, of) = (found(copy(&set.key)), marked.len());
    assert!(own as f64 >= least_found * of as f64, "{}: {own} of {of} found", set.config);
    assert_eq!(found(other(&set.key, 3)), 0, "{}", set.config);
}

#[test]
fn vllm_gumbel_is_vllms() {
    for set in sets("vllm-gumbel") {
        let detector = Detector::builder(copy(&set.key)).build().unwrap();
        for row in &set.rows {
            let evidence = Evidence::new(&set.key.prf(), &[], &row.ids);
            // Theirs is the float32 below (m + 1) / 2^24, ours m / 2^24.
            assert_close(&uniforms(&evidence, 0), &numbers(&row.json["u"][0]), 1.2e-7, "u");
            let (s, n) = sum(&evidence);
            assert_eq!((evidence.first(), n as f64), (0, row.number("n")));
            assert!((s - row.number("s")).abs() < 1e-5 * n as f64, "{s} {}", row.number("s"));
            let (found, theirs) =
                (ln_p(&detector, row, Method::Gumbel, PKind::Conservative), row.number("p").ln());
            assert!(found >= theirs - 1e-9 && found - theirs < 1e-4, "{found} {theirs}");
        }
        assert_power(&set, 1.0);
    }
}

#[test]
fn vllm_gumbel_dual_is_vllms_but_for_its_p() {
    for set in sets("vllm-gumbel-dual") {
        let detector = Detector::builder(copy(&set.key)).build().unwrap();
        let alpha = set.config["alpha"].as_f64().unwrap();
        for row in &set.rows {
            let evidence = Evidence::new(&set.key.prf(), &[], &row.ids);
            for which in 0..2 {
                let (ours, theirs) = (uniforms(&evidence, which), numbers(&row.json["u"][which]));
                assert_close(&ours, &theirs, 1.2e-7, "u");
            }
            let (s, n) = sum(&evidence);
            assert_eq!(n as f64, row.number("n"));
            assert!((s - row.number("s")).abs() < 1e-5 * n as f64, "{s} {}", row.number("s"));
            let (found, theirs) =
                (ln_p(&detector, row, Method::Gumbel, PKind::Conservative), row.number("p").ln());
            // Their tail is that of a Gamma law with the right variance. It is exact with one key, and with equal shares;
            // else it is too light far out, and a little too heavy in the middle.
            if [0.0, 0.5].contains(&alpha) {
                assert!(found >= theirs - 1e-9 && found - theirs < 1e-4, "{alpha}: {found} {theirs}");
            } else if theirs < -8.0 {
                assert!(found > theirs, "{alpha}: {found} {theirs}");
            } else {
                assert!((found - theirs).abs() < 0.3, "{alpha}: {found} {theirs}");
            }
        }
        assert_power(&set, 0.8);
    }
}

fn assert_is_sglangs(scheme: &str) {
    for set in sets(scheme) {
        let detector = Detector::builder(copy(&set.key)).build().unwrap();
        for row in set.rows.iter().filter(|row| row.number("n") > 0.0) {
            let evidence = Evidence::new(&set.key.prf(), &row.prompt, &row.ids);
            let hashes: Vec<f64> = evidence.g_bits().iter().map(|g| g.0 as f64).collect();
            assert_eq!(hashes, row.numbers("hash"));
            let (s, n) = sum(&evidence);
            assert_eq!(n as f64, row.number("n"));
            assert!((s - row.number("s")).abs() < 1e-5 * n as f64, "{s} {}", row.number("s"));
            let (found, theirs) =
                (ln_p(&detector, row, Method::Gumbel, PKind::Approximate), row.number("ln_p"));
            assert!(found >= theirs - 1e-9 && found - theirs < 1e-4, "{found} {theirs}");
        }
        assert_power(&set, 1.0);
    }
}

#[test]
fn sglang_gumbel_is_sglangs() {
    assert_is_sglangs("sglang-gumbel");
}

#[test]
fn sglang_gumbel_dual_is_sglangs() {
    assert_is_sglangs("sglang-gumbel-dual");
}

#[test]
fn textseal_is_textseals() {
    for set in sets("textseal") {
        for row in &set.rows {
            let evidence = Evidence::new(&set.key.prf(), &[], &row.ids);
            for (which, theirs) in row.json["u"].as_array().unwrap().iter().enumerate() {
                assert_close(&uniforms(&evidence, which), &numbers(theirs), 1e-7, "u");
            }
            if row.json.get("n").is_none() {
                continue;
            }
            // Its detector begins one position later.
            let later = Row {
                ids: row.ids[1..].to_vec(),
                prompt: vec![],
                marked: row.marked,
                json: row.json.clone(),
            };
            let (s, n) = sum(&Evidence::new(&set.key.prf(), &[], &later.ids));
            assert_eq!(n as f64, row.number("n"));
            assert!((s - row.number("s")).abs() < 2e-3, "{s} {}", row.number("s"));
            let detector = Detector::builder(copy(&set.key)).build().unwrap();
            let found = ln_p(&detector, &later, Method::Gumbel, PKind::Approximate);
            assert!((found - row.number("p").ln()).abs() < 2e-3, "{found} {}", row.number("p").ln());
        }
        assert_power(&set, 0.8);
    }
}

/// Greens position by position, and the marks of the engine's own processor.
fn assert_lists(scheme: &str, least_found: f64) -> Vec<Set> {
    let sets = sets(scheme);
    for set in &sets {
        let detector = Detector::builder(copy(&set.key)).build().unwrap();
        for row in &set.rows {
            let evidence = Evidence::new(&set.key.prf(), &[], &row.ids);
            assert_eq!(evidence.first() as f64, row.number("first"), "{}", set.config);
            let green: String = evidence.g_bits().iter().map(|g| if g.0 == 1 { '1' } else { '0' }).collect();
            assert_eq!(green, row.json["green"], "{} {:?}", set.config, row.ids);
            let _ = ln_p(&detector, row, Method::GreenList, PKind::Approximate);
            // No pair of seed and token counts twice, so no n-gram does.
            let mut ngrams: Vec<&[u32]> = row.ids.windows(set.key.scheme().ngram_len()).collect();
            ngrams.sort_unstable();
            ngrams.dedup();
            assert!(scored(&evidence) <= ngrams.len());
        }
        if set.rows.iter().any(|row| row.marked) {
            assert_power(set, least_found);
        }
    }
    sets
}

#[test]
fn kgw_hf_is_transformers() {
    for set in assert_lists("kgw-hf", 0.8) {
        let width = set.config["context_width"].as_u64().unwrap() as usize;
        let is_self = set.config["seeding_scheme"] == "selfhash";
        let first = if is_self { width - 1 } else { width };
        for row in &set.rows {
            // The index of its detector's first position among ours, unless it is before them.
            let Some(skipped) = first.checked_sub(row.number("first") as usize) else { continue };
            let counted = &row.json["green"].as_str().unwrap()[skipped..];
            let greens = counted.matches('1').count();
            assert_eq!((counted.len() as f64, greens as f64), (row.number("n"), row.number("w")));
        }
    }
}

#[test]
fn kgw_is_lm_watermarkings() {
    assert_lists("kgw", 0.8);
}

#[test]
fn kgw_tgi_is_text_generation_inferences() {
    assert_lists("kgw-tgi", 0.8);
}

/// By hand: with the default width 1 the list of `selfhash` depends on the token alone.
#[test]
fn a_list_of_the_token_alone_counts_each_token_once() {
    let key = import("kgw-hf", &serde_json::json!({"seeding_scheme": "selfhash", "vocab_size": 500}));
    let evidence = Evidence::new(&key.prf(), &[], &[4, 5, 6, 5, 7, 4, 6]);
    assert_eq!(evidence.scored_mask(), [true, true, false, true, true, false]);
}

#[test]
fn a_ring_of_several_families_names_the_one_that_marked() {
    let schemes = ["vllm-gumbel", "sglang-gumbel", "textseal", "kgw", "kgw-tgi"];
    // The fifth of kgw is its selfhash; the first would share its key and seeds with that of kgw-tgi.
    let place = |scheme: &str| if scheme == "kgw" { 4 } else { 0 };
    let all: Vec<Set> = schemes.iter().map(|scheme| sets(scheme).remove(place(scheme))).collect();
    let own = Key::new(Preset::Secret, Secret::new(vec![3; 32].into())).unwrap();
    let number = all.len() as u64 + 1;
    let keys = all.iter().map(|set| copy(&set.key)).chain([own]);
    let detector = Detector::builder(Keyring::new(keys.collect()).unwrap()).build().unwrap();
    for set in &all {
        let alone = Detector::builder(copy(&set.key)).build().unwrap();
        let row =
            set.rows.iter().filter(|row| row.marked).max_by(|a, b| a.ids.len().cmp(&b.ids.len())).unwrap();
        let input = || Input::tokens(&row.ids).after_prompt(&row.prompt[..]);
        let report = detector.score(input()).unwrap();
        assert_eq!((report.key_id, report.keys_tried), (set.key.id(), Some(number)), "{}", set.config);
        assert_eq!(report.verdict, Verdict::Watermarked);
        let log10_alone = alone.score(input()).unwrap().log10_p.unwrap();
        let paid = report.log10_p.unwrap() - log10_alone;
        assert!((paid - (number as f64).log10()).abs() < 1e-9, "{paid}");
        let named = detector.attribute(input()).unwrap();
        assert_eq!(named.keys.iter().map(|key| key.key_id.clone()).collect::<Vec<_>>(), [set.key.id()]);
        assert!((named.keys[0].log10_p - report.log10_p.unwrap()).abs() < 1e-9);
        assert_eq!((named.detector, named.keys[0].detector), (report.detector, report.detector));
        // A marked text is a marked passage, and its tokens are evidence.
        let passages = alone.segments(input()).unwrap().segments;
        assert_eq!(passages.len(), 1, "{}", set.config);
        let explained = alone.explain(input()).unwrap();
        let nats: f64 = explained.tokens.iter().filter_map(|token| token.evidence).sum();
        assert!(nats > 3.0 && explained.tokens.iter().any(|token| token.in_span), "{} {nats}", set.config);
    }
}

#[test]
fn keys_come_back_from_files_and_from_their_engines_json() {
    for scheme in [
        "vllm-gumbel",
        "vllm-gumbel-dual",
        "sglang-gumbel",
        "sglang-gumbel-dual",
        "textseal",
        "kgw-hf",
        "kgw",
        "kgw-tgi",
    ] {
        for set in sets(scheme) {
            let again = copy(&set.key);
            assert_eq!((again.scheme(), again.id()), (set.key.scheme(), set.key.id()));
            assert!(set.key.derive("acme").is_err());
            if !scheme.starts_with("kgw") {
                let json: Value = serde_json::from_str(&set.key.export_json().unwrap()).unwrap();
                assert_eq!(import(scheme, &json).id(), set.key.id(), "{scheme}");
            }
        }
    }
}

#[test]
fn configurations_are_refused_in_words_that_hold_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    let import = |scheme: &str, json: &str| {
        std::fs::write(&path, json).unwrap();
        Key::import_json(&path, scheme)
    };
    for (scheme, json, expected) in [
        ("vllm-gumbel", "{}", "expected a JSON object with `key`, found no field `key`"),
        (
            "vllm-gumbel",
            r#"{"key": -777}"#,
            "a field of another type or value that ends at line 1, column 12",
        ),
        ("vllm-gumbel", r#"{"key": 1.5e9}"#, "another type or value"),
        ("vllm-gumbel", "[777]", "something else than an object"),
        ("vllm-gumbel", r#"{"key": 777"#, "a syntax error at line 1"),
        ("vllm-gumbel", r#"{"key": 777, "algorithm": "dual_key_gumbel"}"#, "the scheme is vllm-gumbel-dual"),
        (
            "vllm-gumbel",
            r#"{"key": 777, "prf": "hmac_sha256"}"#,
            r#"`prf` = "hmac_sha256" (expected "philox")"#,
        ),
        ("vllm-gumbel", r#"{"key": 777, "context_width": 0}"#, "needs context_width from 1 to 63, found 0"),
        (
            "vllm-gumbel-dual",
            r#"{"key": 777, "algorithm": "dual_key_gumbel", "alpha": 1.5}"#,
            "alpha from 0 to 1",
        ),
        ("sglang-gumbel", r#"{"key": "777x"}"#, "`key` that is not 1 to 16 hexadecimal digits"),
        ("sglang-gumbel", r#"{"key": 777}"#, "another type or value"),
        ("sglang-gumbel", r#"{"key": "777", "key_b": "1"}"#, "the scheme is sglang-gumbel-dual"),
        ("sglang-gumbel-dual", r#"{"key": "777"}"#, "no field `key_b`"),
        (
            "sglang-gumbel-dual",
            r#"{"key": "777", "key_b": "1", "mixing_probability": 1}"#,
            "above 0 and below 1",
        ),
        (
            "textseal",
            r#"{"secret_key": 777, "watermark_type": "dipmark"}"#,
            r#"found `watermark_type` = "dipmark""#,
        ),
        ("kgw-hf", r#"{"hashing_key": 777}"#, "needs vocab_size"),
        ("kgw-hf", r#"{"hashing_key": 777, "vocab_size": 3}"#, "at least one token green and one red"),
        (
            "kgw",
            r#"{"vocab_size": 100, "seeding_scheme": "ff-noncomm_prf-3-False-777"}"#,
            "simple_1, lefthash",
        ),
        ("kgw-tgi", r#"{"vocab_size": 100, "WATERMARK_GAMMA": "half"}"#, "expected a number"),
    ] {
        let error = import(scheme, json).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("777"), "{json}: {error}");
        assert!(!format!("{:?}", import(scheme, json).unwrap_err()).contains("777"));
    }
    let (_, notes) =
        import("vllm-gumbel", r#"{"key": 42, "deduplicate_contexts": "all", "new_field": 1}"#).unwrap();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].contains("new_field") && notes[1].contains("everybody has it"));
    let nested = r#"{"watermarking_config": {"hashing_key": 5, "vocab_size": 100}, "do_sample": true}"#;
    assert_eq!(import("kgw-hf", nested).unwrap().0.scheme().name(), "kgw-hf");
    std::fs::write(&path, r#"{"hashing_key": 5}"#).unwrap();
    let options = ImportOptions::default().vocab_size(Some(100));
    assert!(Key::import_json_with(&path, "kgw-hf", options).is_ok());
}
