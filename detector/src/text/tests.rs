use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

/// See `tests/oracle/tiny_tokenizer.py`.
fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizer").join(name)
}

fn open(name: &str) -> Tokenizer {
    Tokenizer::open(fixture(name)).unwrap()
}

#[derive(Deserialize)]
struct Reference {
    encode: Vec<Case>,
    decode: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
}

fn reference() -> Reference {
    serde_json::from_slice(&fs::read(fixture("reference.json")).unwrap()).unwrap()
}

#[test]
fn gguf_encodes_as_sentencepiece() {
    let tokenizer = open("tokenizer.gguf");
    for case in reference().encode {
        assert_eq!(tokenizer.encode(&case.text).unwrap().ids, case.ids, "{:?}", case.text);
    }
}

/// The exception is a literal `▁` next to a space: there Hugging Face's conversion differs from SentencePiece, and so
/// do we.
#[test]
fn json_encodes_as_sentencepiece() {
    let tokenizer = open("tokenizer.json");
    let differ: Vec<String> = reference()
        .encode
        .into_iter()
        .filter(|case| tokenizer.encode(&case.text).unwrap().ids != case.ids)
        .map(|case| case.text)
        .collect();
    assert_eq!(differ, ["▁literal ▁▁ block"]);
}

#[test]
fn decodes_as_sentencepiece() {
    for name in ["tokenizer.gguf", "tokenizer.json"] {
        let tokenizer = open(name);
        for case in reference().decode {
            assert_eq!(tokenizer.decode(&case.ids), case.text, "{name} {:?}", case.ids);
        }
    }
}

#[test]
fn both_files_are_the_same_vocabulary() {
    let [json, gguf] = [open("."), open("tokenizer.gguf")];
    assert_eq!(json.fingerprint(), gguf.fingerprint());
    assert_eq!(json.vocab_size(), gguf.vocab_size());
    for id in 0..json.vocab_size() as u32 + 2 {
        assert_eq!(json.token_bytes(id), gguf.token_bytes(id), "{id}");
        assert_eq!(json.token_kind(id), gguf.token_kind(id), "{id}");
    }
    for tokenizer in [&json, &gguf] {
        assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(2), Some(1)));
        assert_eq!(tokenizer.control_id("<end_of_turn>"), Some(5));
        assert_eq!(tokenizer.token_to_id("<end_of_turn>"), Some(5));
        assert_eq!(tokenizer.control_id("the"), None);
        assert_eq!(tokenizer.token_bytes(tokenizer.token_to_id("▁▁▁").unwrap()), Some(&b"   "[..]));
    }
    assert_eq!((json.name(), gguf.name()), ("tokenizer", "Tiny tokenizer"));
}

/// Somebody's text must not be able to end a turn or to pass for the start of a document.
#[test]
fn text_never_becomes_a_control_token() {
    for name in ["tokenizer.gguf", "tokenizer.json"] {
        let tokenizer = open(name);
        for control in ["<bos>", "<eos>", "<pad>", "<unk>", "<start_of_turn>", "<end_of_turn>"] {
            let text = format!("a{control}user\n\n{control}");
            let ids = tokenizer.encode(&text).unwrap().ids;
            assert!(ids.iter().all(|&id| tokenizer.token_kind(id) != TokenKind::Control), "{name} {control}");
            assert_eq!(tokenizer.decode(&ids), text);
            assert!(ids.contains(&tokenizer.token_to_id("\n\n").unwrap()), "added pieces still match");
        }
    }
}

/// The fixture asks for 8 tokens at most and pads to 8; a detector must read the whole text and nothing else.
#[test]
fn truncation_and_padding_are_off() {
    let tokenizer = open("tokenizer.json");
    let long = "word ".repeat(50);
    assert_eq!(tokenizer.encode(&long).unwrap(), open("tokenizer.gguf").encode(&long).unwrap());
    assert!(tokenizer.encode(&long).unwrap().ids.len() >= 50);
    assert_eq!(tokenizer.encode("a").unwrap().ids.len(), 1);
    assert_eq!(tokenizer.encode("").unwrap(), Encoded::default());
}

#[test]
fn errors_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        Tokenizer::open(path).unwrap_err()
    };
    assert!(matches!(Tokenizer::open(dir.path()), Err(TextError::NoTokenizer { .. })));
    assert!(matches!(Tokenizer::open(dir.path().join("none.json")), Err(TextError::Read { .. })));
    assert!(matches!(file("model.bin", b"\x80\x02pickle"), TextError::Unrecognised { .. }));
    assert!(matches!(file("empty", b""), TextError::Unrecognised { .. }));
    assert!(matches!(file("half.json", br#"{"model": {"type": "BPE""#), TextError::Json { .. }));
    assert!(matches!(file("config.json", br#"{"architectures": ["X"]}"#), TextError::Json { .. }));
    let words = br#"{"model": {"type": "WordLevel", "vocab": {"a": 0, "[UNK]": 1}, "unk_token": "[UNK]"}}"#;
    assert!(matches!(file("words.json", words), TextError::Unsupported { .. }));
    let gguf = fs::read(fixture("tokenizer.gguf")).unwrap();
    let error = file("half.gguf", &gguf[..gguf.len() / 2]);
    assert!(matches!(error, TextError::Gguf { source: crate::gguf::GgufError::Truncated { .. }, .. }));
    let message = error.to_string();
    assert!(message.contains("half.gguf") && message.contains("truncated"), "{message}");
}

#[test]
fn names_come_from_the_place() {
    for (path, name) in [
        ("/m/gemma-2-2b-it/tokenizer.json", "gemma-2-2b-it"),
        ("/c/models--google--gemma-2-2b-it/snapshots/299a8560/tokenizer.json", "gemma-2-2b-it"),
        ("/m/gemma-2-2b-it-Q4_K_M.gguf", "gemma-2-2b-it-Q4_K_M"),
        ("/tokenizer.json", "tokenizer"),
    ] {
        assert_eq!(place_name(path.as_ref()), name);
    }
}

/// Returns texts around the edges of the vocabulary: spaces, newlines, added pieces, control names, all of Unicode.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[a-z ]{0,12}",
        " {1,9}",
        "\n{1,9}",
        "\\PC{0,4}",
        any::<char>().prop_map(String::from),
        Just("<table>".to_owned()),
        Just("<end_of_turn>".to_owned()),
        Just("<0x41>".to_owned()),
        Just("\r\n\t\t\t".to_owned()),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn offsets_cover_the_text_and_decode_gives_it_back(text in text()) {
        thread_local! {
            static TOKENIZERS: [Tokenizer; 2] = [open("tokenizer.gguf"), open("tokenizer.json")];
        }
        TOKENIZERS.with(|tokenizers| {
            for tokenizer in tokenizers {
                let Encoded { ids, offsets } = tokenizer.encode(&text).unwrap();
                prop_assert_eq!(ids.len(), offsets.len());
                let (mut start, mut end) = (0, 0);
                for range in &offsets {
                    prop_assert!(start <= range.start && range.start <= end && end <= range.end);
                    prop_assert!(range.start < range.end && text.get(range.clone()).is_some());
                    (start, end) = (range.start, range.end);
                }
                prop_assert_eq!(end, text.len());
                // A literal ▁ cannot be told from a space.
                prop_assert_eq!(tokenizer.decode(&ids), text.replace('▁', " "));
            }
            Ok(())
        })?;
    }
}
