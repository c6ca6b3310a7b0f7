//! Guards the `tokenizers` library: checks what it is given, and catches its panics.
//!
//! The library panics on some damaged files. Examples are a part such as a decoder that is not JSON, a merge that makes
//! more than the longest piece, and a `continuing_subword_prefix` longer than a piece. The known cases are looked for
//! first, the others are caught. A build that aborts on panics cannot catch them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::TextError;

/// The parts of a tokenizer.json in which the library expects valid JSON. Its own reader refuses everything else.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    _normalizer: serde_json::Value,
    #[serde(default)]
    _pre_tokenizer: serde_json::Value,
    #[serde(default)]
    _post_processor: serde_json::Value,
    #[serde(default)]
    _decoder: serde_json::Value,
    model: Model,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Model {
    Fields {
        #[serde(default)]
        continuing_subword_prefix: Option<String>,
    },
    Other(IgnoredAny),
}

/// Reads a tokenizer.json; `path` is for errors.
pub(super) fn read(json: &[u8], path: &Path) -> Result<tokenizers::Tokenizer, TextError> {
    let wrong = |message: String| TextError::Json { path: path.to_owned(), message: short(&message) };
    let head: Head = serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
    if let Model::Fields { continuing_subword_prefix: Some(prefix) } = head.model
        && !prefix.is_empty()
    {
        return Err(TextError::Unsupported {
            expected: "a vocabulary without a continuing_subword_prefix",
            found: format!("the prefix {:?}", short(&prefix)),
        });
    }
    fenced(|| tokenizers::Tokenizer::from_bytes(json))
        .map_err(wrong)?
        .map_err(|error| wrong(error.to_string()))
}

/// Runs `call`, which calls the library, and returns what it panicked with.
pub(super) fn fenced<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    // Everything that the call owned is dropped with it.
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        format!("the tokenizers library panicked: {}", message(&*panic).unwrap_or("it does not say why"))
    })
}

fn message(panic: &(dyn Any + Send)) -> Option<&str> {
    panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied())
}

/// Returns the part of an error that helps: the first line, shortened.
fn short(message: &str) -> String {
    message.lines().next().unwrap_or_default().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Tokenizer;

    fn fixture() -> String {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tokenizer/tokenizer.json");
        std::fs::read_to_string(path).unwrap()
    }

    fn error(json: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), json).unwrap();
        Tokenizer::open(file.path()).unwrap_err().to_string()
    }

    #[test]
    fn a_part_that_is_not_json_is_an_error_with_its_place() {
        for part in ["decoder", "normalizer", "pre_tokenizer", "post_processor", "model"] {
            for rest in ["", "{", "1e999}", "{\"type\":\"Fuse\"", "\u{1}}"] {
                let message = error(&format!("{{\"{part}\":{rest}"));
                assert!(message.contains("is not a valid tokenizer.json"), "{part} {rest}: {message}");
                assert!(!message.contains("panicked"), "{part} {rest}: {message}");
            }
        }
    }

    #[test]
    fn what_the_library_would_cut_out_of_its_pieces_is_refused() {
        let good: serde_json::Value = serde_json::from_str(&fixture()).unwrap();
        let mut prefix = good.clone();
        prefix["model"]["continuing_subword_prefix"] = "longer than any piece".into();
        let message = error(&prefix.to_string());
        assert!(message.contains("expected a vocabulary without a continuing_subword_prefix"), "{message}");
        let mut merge = good;
        let longest = merge["model"]["vocab"].as_object().unwrap().keys().max_by_key(|k| k.len()).unwrap();
        let longest = longest.clone();
        merge["model"]["merges"] = serde_json::json!([[longest, longest]]);
        let message = error(&merge.to_string());
        assert!(message.contains("is not a valid tokenizer.json"), "{message}");
    }

    /// A file cut anywhere, or with a byte changed, gives an error or a tokenizer that cuts texts.
    #[test]
    fn no_damage_panics() {
        let json = fixture();
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut state = 9;
        let mut random = |below: usize| crate::split_mix::next(&mut state) as usize % below;
        for round in 0..120 {
            let mut bytes = json.clone().into_bytes();
            if round % 2 == 0 {
                // Half of the file is the vocabulary: most cuts are near the ends.
                let from_end = round % 4 == 0;
                let at = random(if round % 3 == 0 { bytes.len() } else { 3000 });
                bytes.truncate(if from_end { bytes.len() - at } else { at });
            } else {
                for _ in 0..3 {
                    let at = random(bytes.len());
                    bytes[at] = b"{}[]\",:0e1 \x80"[random(12)];
                }
            }
            std::fs::write(file.path(), bytes).unwrap();
            if let Ok(tokenizer) = Tokenizer::open(file.path()) {
                let _ = tokenizer.encode("the quick naïve <table> 😀\n\n");
            }
        }
    }
}
