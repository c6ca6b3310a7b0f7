//! Key files: round trips, and an error of its own for everything that can be wrong with one.

use std::fs;
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use wmdetect::scheme::key::permission_warning;
use wmdetect::scheme::{
    GBits, Key, KeyError, Preset, SamplingTable, Scheme, Secret, TokenizerBinding, synthid,
};
use zeroize::Zeroizing;

const LAYER_KEYS: [i64; 3] = [i64::MAX, 7_310_582_946_173_058_264, -4_917_305_826_174_038_295];

fn native(secret: impl Into<Vec<u8>>) -> Key {
    Key::new(Preset::Secret, Secret::new(Zeroizing::new(secret.into()))).unwrap()
}

fn generate(depth: usize, ngram_len: usize) -> Result<Key, KeyError> {
    Key::generate(Preset::Secret.with_parameters(Some(depth), Some(ngram_len), None)?)
}

fn counting() -> Key {
    native((0..32).collect::<Vec<u8>>())
}

fn compat(scheme: Scheme, keys: &[i64]) -> Result<Key, KeyError> {
    let secret = keys.iter().flat_map(|key| key.to_le_bytes()).collect();
    Key::new(scheme, Secret::new(Zeroizing::new(secret)))
}

fn hf(table: SamplingTable) -> Key {
    compat(Scheme::Hf(synthid::Hf { depth: 3, ngram_len: 5, context_history_size: 1024, table }), &LAYER_KEYS)
        .unwrap()
}

fn deepmind() -> Key {
    compat(
        Scheme::DeepMind(synthid::DeepMind { depth: 3, ngram_len: 20, context_history_size: 16 }),
        &LAYER_KEYS,
    )
    .unwrap()
}

/// One key of each form that a file can take.
fn forms() -> Vec<Key> {
    let binding =
        TokenizerBinding { name: "gemma-2 – ジェマ".into(), fingerprint: [0xa5; 32], rules: None };
    let whole = TokenizerBinding { rules: Some([0x5a; 32]), ..binding.clone() };
    let explicit = SamplingTable::Explicit(vec![0, 1, 1, 0, 1, 0, 0, 1, 1]);
    let labelled = binding.clone();
    vec![
        counting(),
        generate(64, 64).unwrap(),
        generate(1, 2).unwrap().with_tokenizer(Some(binding.clone())),
        generate(1, 2).unwrap().with_tokenizer(Some(whole.clone())),
        counting().with_tokenizer(Some(whole)).derive("acme").unwrap(),
        hf(SamplingTable::Seeded { size: 65_537, seed: (1 << 40) + 5 }),
        hf(explicit).with_tokenizer(Some(binding)),
        deepmind(),
        counting().derive("ジェマ/2026").unwrap(),
        generate(1, 2).unwrap().with_tokenizer(Some(labelled)).derive("acme").unwrap(),
        Key::generate(Preset::Balanced).unwrap(),
        Key::generate(synthid::Sha256V2 {
            depth: 9,
            shortest_context: 2,
            longest_context: 3,
            channels: 1024,
        })
        .unwrap(),
    ]
}

/// Equal in every part: the bytes of the container hold all of them.
fn assert_same(found: &Key, expected: &Key) {
    assert_eq!(found.scheme(), expected.scheme());
    assert_eq!((found.tokenizer(), found.label()), (expected.tokenizer(), expected.label()));
    assert_eq!(found.id(), expected.id());
    assert_eq!(*found.to_bytes(), *expected.to_bytes());
    let context: Vec<u32> = (0..expected.scheme().context_len() as u32).collect();
    let g = |key: &Key| -> Vec<GBits> {
        (0..50).map(|token| key.prf().context(&context).g_bits(token)).collect()
    };
    assert_eq!(g(found), g(expected));
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn with(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

#[test]
fn every_form_comes_back_from_its_file() {
    let folder = Folder::new();
    for (i, key) in forms().iter().enumerate() {
        let path = folder.path(&format!("{i}.bin"));
        key.write(&path, false).unwrap();
        assert_same(&Key::read(&path).unwrap(), key);
    }
    assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), forms().len(), "no temporary file stays");
}

/// The container's layout, byte by byte, as `docs/concepts/scheme.md` has it.
#[test]
fn the_container_is_as_documented() {
    let mut expected = b"WMGENKEY\x01\x00\x26\x00\x00\x00\x01\x1e\x05\x20\x00".to_vec();
    expected.extend(0..32u8);
    expected.push(0);
    expected.extend_from_slice(&Sha256::digest(&expected)[..8]);
    assert_eq!(*counting().to_bytes(), expected);

    let child = counting().derive("acme").unwrap().to_bytes();
    assert_eq!(child[..14], *b"WMGENKEY\x02\x00\x2c\x00\x00\x00");
    assert_eq!(child[14 + 38..14 + 44], *b"\x04\x00acme");
}

#[test]
fn a_file_cut_anywhere_is_truncated() {
    for key in forms() {
        let bytes = key.to_bytes();
        for len in 0..bytes.len() {
            match Key::from_bytes(&bytes[..len], "k.bin").unwrap_err() {
                KeyError::NotAKey { found: 0, .. } => assert_eq!(len, 0),
                KeyError::Truncated { found, expected, .. } => assert!(found == len && expected > len),
                other => panic!("cut to {len}: {other}"),
            }
        }
        let longer = [&bytes[..], b"\n"].concat();
        assert!(matches!(Key::from_bytes(&longer, "k.bin"), Err(KeyError::Corrupted { .. })));
    }
}

#[test]
fn a_changed_bit_is_never_accepted() {
    for key in forms() {
        let mut bytes = key.to_bytes().to_vec();
        for i in 0..bytes.len() {
            for bit in 0..8 {
                bytes[i] ^= 1 << bit;
                let error = Key::from_bytes(&bytes, "k.bin").expect_err("one bit was changed");
                let right = match i {
                    0..8 => matches!(error, KeyError::NotAKey { .. }),
                    8..10 => matches!(error, KeyError::FutureVersion { .. } | KeyError::Corrupted { .. }),
                    10..14 => matches!(error, KeyError::Truncated { .. } | KeyError::Corrupted { .. }),
                    _ => matches!(error, KeyError::Corrupted { what: "its checksum does not fit", .. }),
                };
                assert!(right, "byte {i}, bit {bit}: {error}");
                bytes[i] ^= 1 << bit;
            }
        }
    }
}

/// A container whose checksum fits, around any body.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut bytes = b"WMGENKEY\x01\x00".to_vec();
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(body);
    let checksum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&checksum[..8]);
    bytes
}

#[test]
fn a_right_checksum_excuses_nothing() {
    let parse = |body: &[u8]| Key::from_bytes(&sealed(body), "k.bin");
    let body = |head: &[u8], tail: &[u8]| [head, &[32, 0], &[9; 32], tail].concat();
    assert!(parse(&body(&[1, 30, 5], &[0])).is_ok());
    assert!(matches!(parse(&body(&[1, 0, 5], &[0])), Err(KeyError::Depth { found: 0 })));
    assert!(matches!(parse(&body(&[1, 65, 5], &[0])), Err(KeyError::Depth { found: 65 })));
    assert!(matches!(parse(&body(&[1, 30, 1], &[0])), Err(KeyError::NgramLen { found: 1 })));
    assert!(matches!(parse(&body(&[1, 30, 65], &[0])), Err(KeyError::NgramLen { found: 65 })));
    let bound = [&[1], &[0; 32][..], &[2, 0, 0xff, 0xfe]].concat();
    for bad in [
        body(&[0, 30, 5], &[0]),
        body(&[4, 30, 5], &[0]),
        body(&[1, 30, 5], &[]),
        body(&[1, 30, 5], &[0, 0]),
        body(&[1, 30, 5], &bound),
        vec![],
        vec![1, 30, 5, 255, 255, 0],
        vec![2, 30, 5, 0, 4, 0, 0, 2, 0, 0, 1, 0],
        vec![2, 30, 5, 0, 4, 0, 0, 1, 255, 255, 255, 255],
    ] {
        assert!(matches!(parse(&bad), Err(KeyError::Corrupted { .. })), "{bad:?}");
    }
    let short = [&[1, 30, 5, 31, 0], &[9; 31][..], &[0]].concat();
    assert!(matches!(parse(&short), Err(KeyError::SecretLength { expected: 32, found: 31, .. })));
}

#[test]
fn what_is_no_key_says_so() {
    let folder = Folder::new();
    for bytes in [&b""[..], b"hello", &[7; 31], &[7; 33], &[7; 4096]] {
        let error = Key::read(folder.with("other", bytes)).unwrap_err();
        assert!(matches!(error, KeyError::NotAKey { found, .. } if found == bytes.len()), "{error}");
    }
    let missing = Key::read(folder.path("none.bin")).unwrap_err();
    assert!(matches!(missing, KeyError::Missing { .. }));
    assert!(matches!(Key::read(folder.0.path()), Err(KeyError::Directory { .. })));
    assert_eq!(permission_warning(folder.0.path()), None, "no advice on what is not a key");

    let mut future = counting().to_bytes().to_vec();
    future[8] = 3;
    match Key::from_bytes(&future, "k.bin").unwrap_err() {
        KeyError::FutureVersion { found: 3, supported: 2, .. } => {}
        other => panic!("{other}"),
    }
    let huge = folder.path("huge");
    fs::File::create(&huge).unwrap().set_len(1 << 30).unwrap();
    assert!(matches!(Key::read(&huge), Err(KeyError::TooLarge { .. })), "not read to its end");
    #[cfg(unix)]
    {
        // It has no length and no end.
        let message = Key::read("/dev/zero").unwrap_err().to_string();
        assert_eq!(message, "/dev/zero: not a key file: expected at most 16781312 bytes, found more");
        assert!(matches!(Key::import_json("/dev/zero", "synthid-hf"), Err(KeyError::TooLarge { .. })));
    }
}

#[test]
fn thirty_two_raw_bytes_are_a_default_key() {
    let folder = Folder::new();
    let path = folder.with("raw", (0..32).collect::<Vec<u8>>());
    assert_same(&Key::read(path).unwrap(), &counting());
}

#[test]
fn a_key_is_not_overwritten_unless_told() {
    let folder = Folder::new();
    let path = folder.path("k.bin");
    counting().write(&path, false).unwrap();
    let error = native([1; 32]).write(&path, false).unwrap_err();
    assert!(matches!(error, KeyError::Exists { .. }), "{error}");
    assert_same(&Key::read(&path).unwrap(), &counting());
    native([1; 32]).write(&path, true).unwrap();
    assert_same(&Key::read(&path).unwrap(), &native([1; 32]));
    assert!(matches!(counting().write(folder.path("none/k.bin"), false), Err(KeyError::Write { .. })));
    assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), 1, "no temporary file stays");
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_a_new_key() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new();
    let path = folder.path("k.bin");
    for overwrite in [false, true] {
        counting().write(&path, overwrite).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(permission_warning(&path), None);
    }
    for mode in [0o644, 0o640, 0o602] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let warning = permission_warning(&path).expect("others have rights");
        assert!(warning.contains(&format!("{mode:o}")) && warning.contains("chmod 600"), "{warning}");
        assert!(Key::read(&path).is_ok(), "a warning, not an error");
    }
}

#[test]
fn parameters_that_cannot_work_are_refused() {
    for depth in [0, 65, 256, 1_000_000] {
        assert!(matches!(generate(depth, 5), Err(KeyError::Depth { found }) if found == depth));
    }
    let balanced = |ngram_len, channels| Preset::Balanced.with_parameters(None, ngram_len, channels);
    for found in [0, 1_025, 65_536] {
        assert!(
            matches!(balanced(None, Some(found)), Err(KeyError::Channels { found: seen }) if seen == found)
        );
    }
    for ngram_len in [0, 1, 6] {
        assert!(
            matches!(balanced(Some(ngram_len), None), Err(KeyError::LongNgram { found, .. }) if found == ngram_len)
        );
    }
    let secret = Preset::Secret.with_parameters(None, None, Some(4)).unwrap_err();
    assert!(matches!(secret, KeyError::NoChannels { found: 4, .. }), "{secret}");
    for ngram_len in [0, 1, 65, 256] {
        let error = generate(30, ngram_len).unwrap_err();
        assert!(matches!(error, KeyError::NgramLen { found } if found == ngram_len), "{error}");
    }
    let deepmind = |depth, keys: &[i64]| {
        compat(Scheme::DeepMind(synthid::DeepMind { depth, ngram_len: 5, context_history_size: 1024 }), keys)
    };
    assert!(matches!(deepmind(3, &[4, 9, 4]), Err(KeyError::DuplicateLayerKeys)));
    assert!(matches!(deepmind(3, &[4, 9]), Err(KeyError::SecretLength { expected: 24, found: 16, .. })));
    assert!(matches!(deepmind(0, &[]), Err(KeyError::Depth { found: 0 })));
    assert!(matches!(deepmind(65, &(0..65).collect::<Vec<_>>()), Err(KeyError::Depth { found: 65 })));
    assert!(deepmind(64, &(0..64).collect::<Vec<_>>()).is_ok());
    let history = Scheme::DeepMind(synthid::DeepMind { depth: 1, ngram_len: 5, context_history_size: 0 });
    assert!(matches!(compat(history, &[1]), Err(KeyError::ContextHistorySize { found: 0 })));
    let hf = |table| {
        compat(Scheme::Hf(synthid::Hf { depth: 1, ngram_len: 5, context_history_size: 1024, table }), &[1])
    };
    assert!(matches!(hf(SamplingTable::Explicit(vec![0])), Err(KeyError::TableSize { found: 1 })));
    assert!(matches!(hf(SamplingTable::Explicit(vec![0, 1, 2])), Err(KeyError::TableEntry { found: 2 })));
    let size = (1 << 24) + 1;
    assert!(matches!(hf(SamplingTable::Seeded { size, seed: 0 }), Err(KeyError::TableSize { .. })));
}

#[test]
fn the_references_json_goes_in_and_out() {
    let folder = Folder::new();
    let path = folder.with(
        "config.json",
        r#"{"keys": [654, 400, 836], "ngram_len": 5, "sampling_table_size": 1000, "sampling_table_seed": 7,
            "context_history_size": 16, "device": "cuda", "debug_mode": false, "skip_first_ngram_calls": true}"#,
    );
    let (key, notes) = Key::import_json(&path, "synthid-hf").unwrap();
    let table = SamplingTable::Seeded { size: 1000, seed: 7 };
    let scheme = Scheme::Hf(synthid::Hf { depth: 3, ngram_len: 5, context_history_size: 16, table });
    assert_same(&key, &compat(scheme, &[654, 400, 836]).unwrap());
    for field in ["device", "debug_mode", "skip_first_ngram_calls"] {
        assert_eq!(notes.iter().filter(|note| note.contains(field)).count(), 1, "{field}: {notes:?}");
    }
    assert_eq!(notes.len(), 3);

    let (key, notes) = Key::import_json(&path, "synthid-deepmind").unwrap();
    let scheme = Scheme::DeepMind(synthid::DeepMind { depth: 3, ngram_len: 5, context_history_size: 16 });
    assert_same(&key, &compat(scheme, &[654, 400, 836]).unwrap());
    assert!(notes.iter().any(|note| note.contains("sampling_table_size")), "{notes:?}");
    assert_eq!(notes.len(), 5);

    let (key, notes) =
        Key::import_json(folder.with("s.json", r#"{"keys": [1], "ngram_len": 2}"#), "synthid-hf").unwrap();
    let table = SamplingTable::Seeded { size: 65_536, seed: 0 };
    let scheme = Scheme::Hf(synthid::Hf { depth: 1, ngram_len: 2, context_history_size: 1024, table });
    assert_eq!((key.scheme(), notes.len()), (&scheme, 0), "the reference's defaults");

    let inside = r#"{"eos_token_id": 1, "watermarking_config": {"keys": [1], "ngram_len": 2}}"#;
    let (from_inside, notes) =
        Key::import_json(folder.with("generation_config.json", inside), "synthid-hf").unwrap();
    assert_same(&from_inside, &key);
    assert!(notes.is_empty(), "{notes:?}");
    for (json, why) in [
        (r#"{"keys": [1]}"#, "it has no field `ngram_len`"),
        (r#"{"watermarking_config": {"seed": 1}}"#, "it has no field `keys`"),
        (
            r#"{"watermarking_config": {"greenlist_ratio": 0.25, "bias": 2.0, "seeding_scheme": "lefthash"}}"#,
            "it is the configuration of another engine's mark, the green lists of KGW",
        ),
        (
            r#"{"keys": "secret", "ngram_len": 5}"#,
            "the field that ends at line 1, column 17 has another type",
        ),
        ("[1, 2]", "it is not an object"),
        (r#"{"keys": [1"#, "a syntax error at line 1, column 11"),
    ] {
        let error = Key::import_json(folder.with("wrong.json", json), "synthid-hf").unwrap_err().to_string();
        assert!(error.contains(&format!("configuration: {why};")) && !error.contains("secret"), "{error}");
    }

    for (place, why) in
        [(folder.path("none.json"), "there is no such file"), (folder.path(""), "it is a directory")]
    {
        for scheme in ["synthid-hf", "vllm-gumbel"] {
            let error = Key::import_json(&place, scheme).unwrap_err().to_string();
            assert_eq!(error, format!("cannot read {}: {why}", place.display()));
        }
    }

    let forms = forms();
    let compat: Vec<&Key> =
        forms.iter().filter(|key| key.scheme().secret_shape().distinct_layer_keys).collect();
    assert!(!compat.is_empty());
    for key in compat {
        let json = key.export_json().unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(value["keys"], serde_json::json!(LAYER_KEYS));
        assert_eq!(value["ngram_len"], key.scheme().ngram_len());
        let (back, notes) = Key::import_json(folder.with("out.json", &*json), key.scheme().name()).unwrap();
        assert_same(&back.with_tokenizer(key.tokenizer().cloned()), key);
        assert!(notes.is_empty(), "{notes:?}");
    }
    assert!(matches!(counting().export_json(), Err(KeyError::NoJson { .. })));
}

#[test]
fn derived_keys_are_distinct_and_stable() {
    let master = counting();
    for wrong in [String::new(), "x".repeat(65_536)] {
        assert!(matches!(master.derive(&wrong), Err(KeyError::Label { found }) if found == wrong.len()));
    }
    let labels = ["e", "acme", "Acme", "acme ", "acme/2026", "derive/acme", "ジェマ", &"x".repeat(10_000)];
    let mut ids: Vec<String> = labels.iter().map(|label| master.derive(label).unwrap().id()).collect();
    // Computed with Python's hmac from the specification in docs/concepts/scheme.md.
    assert_eq!(master.id(), "1c4a6598e83276cf");
    assert_eq!(ids[1], "0be853fad815ef29");
    ids.push(master.id());
    ids.push(master.derive("acme").unwrap().derive("acme").unwrap().id());
    ids.push(native([1; 32]).derive("acme").unwrap().id());
    let distinct: std::collections::HashSet<&String> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());

    assert_eq!(master.derive("acme").unwrap().derive("2026").unwrap().label(), Some("acme/2026"));
    let binding = TokenizerBinding { name: "gemma-2".into(), fingerprint: [1; 32], rules: None };
    let child = counting().with_tokenizer(Some(binding.clone())).derive("acme").unwrap();
    assert_eq!((child.scheme(), child.tokenizer()), (master.scheme(), Some(&binding)));
    assert_same(&child, &master.derive("acme").unwrap().with_tokenizer(Some(binding)));
    assert!(matches!(deepmind().derive("acme"), Err(KeyError::NotDerivable { .. })));
}

#[test]
fn the_id_tells_apart_what_marks_differently() {
    let sha = |depth, ngram_len| {
        let secret = Secret::new(Zeroizing::new(vec![3; 32]));
        Key::new(Scheme::Sha256(synthid::Sha256 { depth, ngram_len }), secret).unwrap()
    };
    let seeded = |size, seed| hf(SamplingTable::Seeded { size, seed });
    let keys = [
        sha(30, 5),
        sha(29, 5),
        sha(30, 4),
        seeded(1000, 7),
        seeded(1000, 8),
        seeded(1001, 7),
        hf(SamplingTable::Explicit(vec![0, 1])),
        hf(SamplingTable::Explicit(vec![0, 1, 1])),
        // The same bytes, were it not said which kind of table they are.
        hf(SamplingTable::Explicit([1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0].to_vec())),
        seeded(257, 1),
        deepmind(),
    ];
    let ids: std::collections::HashSet<String> = keys.iter().map(Key::id).collect();
    assert_eq!(ids.len(), keys.len());
    assert!(ids.iter().all(|id| id.len() == 16 && id.bytes().all(|c| c.is_ascii_hexdigit())));
}

/// Digits of a key must reach neither an error message nor a debug print: both end up in logs.
#[test]
fn no_message_holds_a_key() {
    let folder = Folder::new();
    let mut messages = Vec::new();
    for json in [
        r#"{"keys": [7310582946173058264, "7310582946173058264"], "ngram_len": 5}"#,
        r#"{"keys": "7310582946173058264", "ngram_len": 5}"#,
        r#"{"keys": 7310582946173058264, "ngram_len": 5}"#,
        r#"{"keys": [7310582946173058264.5], "ngram_len": 5}"#,
        r#"{"keys": [17310582946173058264], "ngram_len": 5}"#,
        r#"{"keys": [7310582946173058264"#,
        r#"{"keys": [7310582946173058264]}"#,
        r#"{"keys": {"7310582946173058264": 1}, "ngram_len": 5}"#,
        r#"{"keys": [7310582946173058264, 7310582946173058264], "ngram_len": 5}"#,
        r#"{"keys": [7310582946173058264], "ngram_len": 1}"#,
        r#"{"keys": [7310582946173058264], "ngram_len": 5, "sampling_table": [0]}"#,
        r"[7310582946173058264]",
        r"7310582946173058264",
    ] {
        for scheme in ["synthid-hf", "synthid-deepmind"] {
            match Key::import_json(folder.with("bad.json", json), scheme) {
                Err(error) => messages.push(format!("{error} {error:?}")),
                Ok((key, notes)) => messages.push(format!("{key:?} {notes:?}")),
            }
        }
    }
    for key in forms() {
        messages.push(format!("{key:?} {:?}", key.prf()));
        let mut bytes = key.to_bytes().to_vec();
        let end = bytes.len();
        messages.push(Key::from_bytes(&bytes[..end - 1], "k.bin").unwrap_err().to_string());
        bytes[end - 1] ^= 1;
        messages.push(format!("{:?}", Key::from_bytes(&bytes, "k.bin").unwrap_err()));
    }
    for message in &messages {
        for key in LAYER_KEYS.map(i64::unsigned_abs) {
            // Any eight digits of it in a row, in decimal or in hexadecimal.
            for digits in [key.to_string(), format!("{key:016x}"), format!("{:016x}", key.swap_bytes())] {
                let leak = digits.as_bytes().windows(8).any(|part| {
                    let part = std::str::from_utf8(part).unwrap();
                    message.contains(part) && part != "ffffffff"
                });
                assert!(!leak, "{message}");
            }
        }
        assert!(!message.contains("0001020304050607") && !message.contains("0, 1, 2, 3, 4, 5"), "{message}");
    }
}
