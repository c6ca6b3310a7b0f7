//! The published test vectors are what the code gives. That the code does what `docs/concepts/scheme.md` says is the business of
//! `tests/oracle/check_vectors.py`, which knows the specification only.
//!
//! `RENEW_VECTORS=1 cargo test -p wmdetect --test scheme_vectors` writes the file again.

mod vectors;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

#[test]
fn the_published_vectors_are_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scheme-vectors.json");
    if std::env::var_os("RENEW_VECTORS").is_some() {
        std::fs::write(&path, vectors::vectors()).unwrap();
    }
    // Parsed, because the order of fields is the JSON library's affair.
    let published: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let current: Value = serde_json::from_str(&vectors::vectors()).unwrap();
    let sections = |file: &Value| file.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(sections(&published), sections(&current));
    for section in sections(&current) {
        let rows = |file: &Value| file[&section].as_array().unwrap().clone();
        assert_eq!(rows(&published).len(), rows(&current).len(), "{section}");
        for (published, current) in rows(&published).iter().zip(rows(&current)) {
            assert_eq!(
                published, &current,
                "{section}: the first lines of this test tell how to renew the file"
            );
        }
    }
}

#[test]
fn there_are_enough_of_each_kind() {
    let file: Value = serde_json::from_str(&vectors::vectors()).unwrap();
    let mut counts = BTreeMap::<&str, usize>::new();
    for key in file["keys"].as_array().unwrap() {
        *counts.entry(key["scheme"].as_str().unwrap()).or_default() +=
            key["vectors"].as_array().unwrap().len();
    }
    assert_eq!(
        counts.keys().copied().collect::<Vec<_>>(),
        ["synthid-deepmind", "synthid-hf", "synthid-sha256", "synthid-sha256-v2"]
    );
    assert!(counts.values().all(|&count| count >= 20), "{counts:?}");
    for id in [0, 65_535, 65_536, 255_999] {
        for scheme in counts.keys() {
            let keys = file["keys"].as_array().unwrap().iter().filter(|key| key["scheme"] == *scheme);
            let vectors = keys.flat_map(|key| key["vectors"].as_array().unwrap());
            let (mut in_context, mut as_token) = (false, false);
            for vector in vectors {
                in_context |= vector[0].as_array().unwrap().contains(&id.into());
                as_token |= vector[1] == id;
            }
            assert!(in_context && as_token, "{scheme} has {id} as a token and in a context");
        }
    }
}

/// The worked examples of docs/concepts/scheme.md.
#[test]
fn the_worked_examples_are_right() {
    use wmdetect::scheme::{Key, Secret, synthid};
    let secret = || Secret::new(zeroize::Zeroizing::new((0..32).collect()));
    let key = Key::new(synthid::Sha256V2::default(), secret()).unwrap();
    assert_eq!(key.id(), "a52e710591235188");
    let g = key.prf().in_channel(3).context(&[4]).g_bits(65_536);
    assert_eq!(g.to_string(30), "010001011111010010101101010100");
    let key = Key::new(synthid::Sha256::default(), secret()).unwrap();
    assert_eq!(key.id(), "1c4a6598e83276cf");
    let g = key.prf().context(&[1, 2, 3, 4]).g_bits(65_536);
    assert_eq!(g.to_string(30), "010010011110001100000101100100");
}
