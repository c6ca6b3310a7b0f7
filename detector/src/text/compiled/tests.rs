use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::super::vocabulary::Parts;
use super::super::{Engine, Tokenizer, WORTH_IT, encode_with, json};
use super::store::Store;
use super::*;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizer").join(name)
}

fn parts() -> Parts {
    let mut inner = tokenizers::Tokenizer::from_file(fixture("tokenizer.json")).unwrap();
    inner.set_encode_special_tokens(true);
    json::build(inner).unwrap()
}

fn gguf_parts() -> Parts {
    use super::super::vocabulary;
    use crate::gguf::Metadata;
    let bytes = std::fs::read(fixture("tokenizer.gguf")).unwrap();
    let metadata = Metadata::read(bytes.as_slice(), bytes.len() as u64, vocabulary::is_needed).unwrap();
    let mut parts = vocabulary::build(&metadata).unwrap();
    parts.inner.set_encode_special_tokens(true);
    parts
}

/// Returns both fixtures' vocabularies, and one in which merges cross everything, with a normalised added token.
fn all() -> Vec<(Parts, Compiled)> {
    let tight = r#"{
        "version": "1.0", "truncation": null, "padding": null, "pre_tokenizer": null, "post_processor": null,
        "added_tokens": [
            {"id": 300, "content": "b c", "single_word": false, "lstrip": false, "rstrip": false,
             "normalized": true, "special": false},
            {"id": 301, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
             "normalized": false, "special": true},
            {"id": 302, "content": "s>a", "single_word": false, "lstrip": false, "rstrip": false,
             "normalized": false, "special": false}],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": {VOCAB},
            "merges": [["a", "a"], ["a", "▁"], ["aa", "aa"], ["b", "a"], ["é", "a"], ["a", "b"], ["aa", "a"],
                       ["▁", "b"], ["a▁", "a▁"]]}
    }"#;
    let mut vocab: Vec<String> = (0..256).map(|byte| format!("\"<0x{byte:02X}>\": {byte}")).collect();
    let pieces = ["a", "b", "▁", "é", "aa", "a▁", "aaaa", "ba", "éa", "ab", "aaa", "▁b", "a▁a▁"];
    vocab.extend(pieces.iter().enumerate().map(|(i, piece)| format!("\"{piece}\": {}", 256 + i)));
    let tight = tight.replace("VOCAB", &vocab.join(", "));
    let mut inner = tokenizers::Tokenizer::from_bytes(tight).unwrap();
    inner.set_encode_special_tokens(true);
    [parts(), gguf_parts(), json::build(inner).unwrap()]
        .into_iter()
        .map(|parts| {
            let compiled = compile(&parts, &[7; 32]).unwrap();
            (parts, compiled)
        })
        .collect()
}

fn check(text: &str) -> Result<(), TestCaseError> {
    thread_local!(static ALL: Vec<(Parts, Compiled)> = all());
    ALL.with(|all| {
        for (i, (parts, compiled)) in all.iter().enumerate() {
            let expected = encode_with(&parts.inner, text).unwrap();
            prop_assert_eq!(compiled.encode(text).unwrap(), expected, "{} {:?}", i, text);
        }
        Ok(())
    })
}

/// Returns texts of what can go wrong: added tokens and what looks like them, both spellings of a space, runs, and
/// characters without a token.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[abcs<>é \n]{0,12}",
        "[a-z ]{0,12}",
        "(a|aa|a |▁|é){0,20}",
        "[ ▁]{1,9}",
        "[\n\t\r]{1,9}",
        "\\PC{0,6}",
        any::<char>().prop_map(String::from),
        ("[ab ]", 1..80_usize).prop_map(|(run, len)| run.repeat(len)),
        Just("<table></table>".to_owned()),
        Just("<start_of_turn>user".to_owned()),
        Just("<end_of_turn".to_owned()),
        Just("<s>a".to_owned()),
        Just("b c".to_owned()),
        Just("<0x41><bos>".to_owned()),
        Just("👩‍👩‍👧🇪🇺 नमस्ते Привет 你好 مرحبا".to_owned()),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn tokens_and_offsets_are_those_of_the_library(text in text()) {
        check(&text)?;
    }
}

#[test]
fn long_runs_and_corners() {
    for text in [
        "",
        " ",
        "▁",
        "▁▁",
        " ▁",
        "<bos>",
        "<b<bos>os>",
        "<s>a",
        "<<s>a>",
        "b c",
        "b▁c",
        "\u{10FFFF}\u{0}a",
        "\n\n\n\n\n\n\n",
        "the the the",
    ] {
        check(text).unwrap();
    }
    for part in ["a", " ", "▁", "é", "\n", "😀", "ab", "aab ", "the "] {
        check(&part.repeat(3000)).unwrap();
    }
}

/// A run of one character must not take time quadratic in its length.
#[test]
fn a_million_of_one_character() {
    for (_, compiled) in all() {
        for part in ["a", "▁"] {
            assert!(!compiled.encode(&part.repeat(1 << 20)).unwrap().ids.is_empty());
        }
    }
}

#[test]
fn tables_know_what_the_pieces_know() {
    for (parts, compiled) in all() {
        assert_eq!(compiled.vocab_size(), parts.pieces.len());
        assert_eq!(compiled.fingerprint(), parts.pieces.fingerprint());
        assert_eq!((compiled.bos(), compiled.eos()), (parts.bos, parts.eos));
        for id in 0..compiled.vocab_size() as u32 + 2 {
            assert_eq!(compiled.token_bytes(id), parts.pieces.bytes(id), "{id}");
            assert_eq!(compiled.token_kind(id), parts.pieces.kind(id), "{id}");
        }
        for (name, id) in parts.inner.get_vocab(true) {
            assert_eq!(compiled.token_to_id(&name), Some(id), "{name:?}");
        }
        for (name, id) in parts.pieces.controls() {
            assert_eq!((compiled.control_id(name), compiled.token_to_id(name)), (Some(id), Some(id)));
        }
        assert_eq!((compiled.token_to_id("no such piece"), compiled.control_id("the")), (None, None));
    }
}

/// Tokenizers that the tables cannot handle go through the library.
#[test]
fn other_kinds_are_left_to_the_library() {
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(fixture("tokenizer.json")).unwrap()).unwrap();
    let compiles = |json: &serde_json::Value| {
        let inner = tokenizers::Tokenizer::from_bytes(serde_json::to_vec(json).unwrap()).unwrap();
        compile(&json::build(inner).unwrap(), &Key::default()).is_some()
    };
    assert!(compiles(&json));
    for (path, value) in [
        ("/normalizer", serde_json::json!({"type": "NFC"})),
        ("/normalizer/content", "_".into()),
        ("/pre_tokenizer/invert", true.into()),
        ("/pre_tokenizer", serde_json::json!({"type": "Whitespace"})),
        ("/model/byte_fallback", false.into()),
        ("/model/ignore_merges", true.into()),
        ("/model/dropout", 0.5.into()),
        ("/added_tokens/6/lstrip", true.into()),
    ] {
        let mut other = json.clone();
        *other.pointer_mut(path).unwrap() = value;
        assert!(!compiles(&other), "{path}");
    }
    let mut other = json.clone();
    let vocab = other["model"]["vocab"].as_object_mut().unwrap();
    let id = vocab.remove("<0xC3>").unwrap();
    vocab.insert("<another>".to_owned(), id);
    assert!(!compiles(&other), "a byte without a token");
}

fn is_mapped(tokenizer: &Tokenizer) -> bool {
    matches!(&tokenizer.engine, Engine::Compiled(compiled) if compiled.store.is_mapped())
}

/// Returns a copy of the fixture that is large enough for the cache.
fn large(dir: &Path) -> PathBuf {
    let path = dir.join("tokenizer.json");
    let mut json = std::fs::read(fixture("tokenizer.json")).unwrap();
    json.resize(json.len() + WORTH_IT as usize, b' ');
    std::fs::write(&path, json).unwrap();
    path
}

#[test]
fn the_cache_is_used_and_never_believed() {
    let dir = tempfile::tempdir().unwrap();
    let path = large(dir.path());
    let place = dir.path().join("a/b");
    let cache = Cache::new(place.clone());
    let open = || Tokenizer::open_with_cache(&path, Some(&cache)).unwrap();
    let first = open();
    assert!(!is_mapped(&first));
    let files = || std::fs::read_dir(&place).unwrap().map(|f| f.unwrap().path()).collect::<Vec<_>>();
    let [file] = &files()[..] else { panic!("one file, complete") };
    let good = std::fs::read(file).unwrap();
    let text = "the quick <table> naïve ▁▁  café\n\n😀";
    let second = open();
    assert!(is_mapped(&second));
    assert_eq!(second.encode(text).unwrap(), first.encode(text).unwrap());
    assert_eq!((second.name(), second.fingerprint()), (first.name(), first.fingerprint()));
    drop(second);

    // Each kind of damage is detected and repaired. A mapped file is never changed in place, but renamed over.
    for at in [0, 8, 16, 24, 40, 70, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        std::fs::write(file, bad).unwrap();
        assert!(!is_mapped(&open()), "byte {at}");
        assert!(std::fs::read(file).unwrap() == good, "byte {at}");
    }
    for len in [0, 7, 8, 200, good.len() / 2, good.len() - 8] {
        std::fs::write(file, &good[..len]).unwrap();
        assert!(!is_mapped(&open()), "{len} bytes");
        assert!(std::fs::read(file).unwrap() == good, "{len} bytes");
    }
    // Somebody else's vocabulary under our name.
    let other = compile(&gguf_parts(), &[1; 32]).unwrap();
    std::fs::write(file, other.store.bytes()).unwrap();
    assert!(!is_mapped(&open()));
    assert_eq!(files().len(), 1);

    // A change of the tokenizer is another key, even with the old time.
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    let changed = std::fs::read_to_string(&path).unwrap().replacen("\"<table>\"", "\"<tabla>\"", 1);
    std::fs::write(&path, changed).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    assert!(!is_mapped(&open()));
    assert_eq!(files().len(), 2);

    // No cache, and a cache that cannot be written.
    assert!(!is_mapped(&Tokenizer::open(&path).unwrap()));
    assert!(!is_mapped(&Tokenizer::open(&path).unwrap()), "nothing is kept unless asked");
    let nowhere = Cache::new(path.join("under a file"));
    assert!(!is_mapped(&Tokenizer::open_with_cache(&path, Some(&nowhere)).unwrap()));
}

/// A model in ten formats has one tokenizer, and one entry.
#[test]
fn files_of_one_vocabulary_share_an_entry() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path().join("cache"));
    let good = std::fs::read(fixture("tokenizer.gguf")).unwrap();
    let with = |name: &str, from: &[u8], to: &[u8]| {
        let mut bytes = good.clone();
        let at = bytes.windows(from.len()).position(|part| part == from).unwrap();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes.resize(bytes.len() + WORTH_IT as usize, 0);
        std::fs::write(dir.path().join(name), bytes).unwrap();
        Tokenizer::open_with_cache(dir.path().join(name), Some(&cache)).unwrap()
    };
    assert!(!is_mapped(&with("a.gguf", b"Tiny", b"Tiny")));
    let renamed = with("b.gguf", b"Tiny", b"Tidy");
    assert!(is_mapped(&renamed));
    assert_eq!(renamed.name(), "Tidy tokenizer");
    assert!(!is_mapped(&with("c.gguf", b"<table>", b"<tabla>")));
    assert_eq!(cache.entries().unwrap().len(), 2);
}

/// A file of ours that was damaged and whose checksum fits by chance or on purpose.
#[test]
fn no_damage_of_a_cached_file_panics() {
    let dir = tempfile::tempdir().unwrap();
    let path = large(dir.path());
    let cache = Cache::new(dir.path().join("cache"));
    drop(Tokenizer::open_with_cache(&path, Some(&cache)).unwrap());
    let file = std::fs::read_dir(cache.dir()).unwrap().next().unwrap().unwrap().path();
    let good = std::fs::read(&file).unwrap();
    // Header, table of sections, or anywhere; a bit, a word of ones, or a small number.
    let mut state = 5;
    let mut random = |below: usize| crate::split_mix::next(&mut state) as usize % below;
    let head = 8 * (8 + 2 * super::store::SECTIONS);
    let mut used = 0;
    for round in 0..400 {
        let mut bad = good.clone();
        for _ in 0..=random(3) {
            let word = if round % 3 == 0 { 4 + random(head / 8 - 4) } else { random(bad.len() / 8 - 4) + 4 };
            let half = 8 * word + 4 * random(2);
            match random(4) {
                0 => bad[half] ^= 1 << random(8),
                1 => bad[8 * word..8 * word + 8].fill(0xFF),
                2 => bad[half..half + 4].copy_from_slice(&(random(300) as u32).to_le_bytes()),
                _ => bad[half..half + 4].fill(0xFF),
            }
        }
        Store::seal(&mut bad);
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, bad).unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let tokenizer = Tokenizer::open_with_cache(&path, Some(&cache)).unwrap();
        used += usize::from(is_mapped(&tokenizer));
        for text in ["the quick <table> naïve ▁▁  café\n\n😀<bos> 𝔘 <0x41>", &"aé▁ ".repeat(40), ""]
        {
            let ids = tokenizer.encode(text).unwrap().ids;
            tokenizer.decode(&ids);
        }
        let _ = (tokenizer.bos(), tokenizer.eos(), tokenizer.name().len(), tokenizer.binding());
        let _ = (tokenizer.token_to_id("the"), tokenizer.control_id("<bos>"), tokenizer.token_bytes(7));
    }
    assert!((40..360).contains(&used), "{used} files were used, the others found to be damaged");
}

#[test]
fn writers_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = large(dir.path());
    let cache = Cache::new(dir.path().join("cache"));
    let expected = Tokenizer::open_with_cache(&path, None).unwrap().encode("the old man\n\nsaw").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..4 {
                    let tokenizer = Tokenizer::open_with_cache(&path, Some(&cache)).unwrap();
                    assert_eq!(tokenizer.encode("the old man\n\nsaw").unwrap(), expected);
                }
            });
        }
    });
    assert!(is_mapped(&Tokenizer::open_with_cache(&path, Some(&cache)).unwrap()));
    assert_eq!(std::fs::read_dir(dir.path().join("cache")).unwrap().count(), 1);
}
