//! Known boilerplate that does not count.
//!
//! A block of text that many documents share, such as a form letter, a licence or a signature, has the same g-bits in
//! all of them. So a block that is unlucky under the deployed key raises every document's score. A position whose
//! n-gram is listed is left out. That depends on the text alone, so p stays valid.
//!
//! The file is either plain text, one passage a line, or the JSON that calibration writes ([`IgnoreFile`]):
//!
//! ```json
//! {"schema_version": 1, "ngram_len": 5, "tokenizer": "413263…",
//!  "passages": [{"tokens": [651, 2430, 13, 7, 9, 1], "text": "…", "documents": 120}, {"text": "Kind regards,"}]}
//! ```
//!
//! A passage lists every n-gram inside it, but no n-gram that reaches over its ends. Its text is normalised and cut as
//! the detector's texts are, in each form that the detector tries, with and without a space in front.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

#[cfg(feature = "text")]
use crate::text::normalise::Normaliser;
#[cfg(feature = "text")]
use crate::text::{TextError, Tokenizer};

/// The format version of the JSON file.
pub const IGNORE_VERSION: u32 = 1;

/// The JSON file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IgnoreFile {
    /// [`IGNORE_VERSION`].
    pub schema_version: u32,
    /// H + 1 of the key that the file was made for; a key with longer n-grams finds fewer of them listed.
    pub ngram_len: u32,
    /// Fingerprint of the tokenizer that the `tokens` belong to, in hexadecimal; null if the texts came as ids.
    pub tokenizer: Option<String>,
    /// The passages.
    pub passages: Vec<IgnorePassage>,
}

/// One passage of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IgnorePassage {
    /// Its token ids; absent if it was written by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<u32>>,
    /// Its text. Without a tokenizer that cuts it, only the `tokens` count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// How many documents had it, for the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents: Option<u64>,
}

/// What is wrong with an ignore file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IgnoreError {
    /// It cannot be read.
    #[error("cannot read the ignore file {path}: {source}; expected plain text or JSON")]
    Read {
        /// The file.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It is plain text without a passage, as a file cut short may be.
    #[error(
        "the ignore file {path} is empty; expected plain text with one passage a line, or the JSON that calibration writes"
    )]
    Empty {
        /// The file.
        path: String,
    },
    /// It is other JSON.
    #[error(
        "the ignore file {path} is not the JSON of one: {message}; expected that, or plain text with one passage a line"
    )]
    Json {
        /// The file.
        path: String,
        /// Where and why.
        message: String,
    },
    /// It comes from a newer program.
    #[error("the ignore file {path} has schema_version {found}; this program reads {IGNORE_VERSION}")]
    Version {
        /// The file.
        path: String,
        /// Its version.
        found: u32,
    },
    /// Its token ids belong to another vocabulary.
    #[error(
        "the ignore file {path} has the token ids of the tokenizer {expected}, found the tokenizer {found}; make it \
         again with this one, or list its passages as plain text"
    )]
    WrongTokenizer {
        /// The file.
        path: String,
        /// The file's fingerprint.
        expected: String,
        /// The detector's.
        found: String,
    },
    /// It lists text, but there is no tokenizer to cut it.
    #[error(
        "the ignore file {path} lists passages as text, which need a tokenizer; pass one, or list their token ids"
    )]
    NeedsTokenizer {
        /// The file.
        path: String,
    },
    /// The tokenizer fails on a passage.
    #[cfg(feature = "text")]
    #[error(transparent)]
    Text(#[from] TextError),
}

/// N-grams that do not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IgnoreList {
    /// The n-grams by their length, which is H + 1 of some key.
    ngrams: BTreeMap<usize, HashSet<Box<[u32]>>>,
    /// Passages that are too short to hold an n-gram.
    short: usize,
}

impl IgnoreList {
    /// Makes an empty list for keys whose n-grams have these lengths, in tokens
    /// ([`Scheme::ngram_lens`](crate::scheme::Scheme::ngram_lens)).
    pub fn new(ngram_lens: impl IntoIterator<Item = usize>) -> Self {
        Self { ngrams: ngram_lens.into_iter().map(|len| (len.max(1), HashSet::new())).collect(), short: 0 }
    }

    /// Reads an ignore file of token ids, for keys whose n-grams have these lengths, in tokens. Nothing checks that the
    /// ids belong to the right tokenizer.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, is not an ignore file, or lists a passage as text alone.
    pub fn read(
        path: impl AsRef<Path>,
        ngram_lens: impl IntoIterator<Item = usize>,
    ) -> Result<Self, IgnoreError> {
        let path = path.as_ref();
        let mut list = Self::new(ngram_lens);
        for passage in parse(path)?.passages {
            let tokens = passage.tokens.ok_or_else(|| IgnoreError::NeedsTokenizer { path: shown(path) })?;
            list.add_tokens(&tokens);
        }
        Ok(list)
    }

    /// Reads an ignore file of token ids and of texts, for keys whose n-grams have these lengths, in tokens. The
    /// `tokenizer` and the `normaliser` are the detector's.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is not an ignore file. Also returns an error if its token ids
    /// belong to another tokenizer, or if the tokenizer fails.
    #[cfg(feature = "text")]
    pub fn read_with_tokenizer(
        path: impl AsRef<Path>,
        ngram_lens: impl IntoIterator<Item = usize>,
        tokenizer: &Tokenizer,
        normaliser: Normaliser,
    ) -> Result<Self, IgnoreError> {
        let path = path.as_ref();
        let file = parse(path)?;
        let found = tokenizer.fingerprint().to_string();
        if let Some(expected) = file.tokenizer.filter(|expected| *expected != found) {
            return Err(IgnoreError::WrongTokenizer { path: shown(path), expected, found });
        }
        let mut list = Self::new(ngram_lens);
        for IgnorePassage { tokens, text, .. } in file.passages {
            match (tokens, text) {
                (Some(tokens), text) => {
                    list.add_tokens(&tokens);
                    if let Some(text) = text {
                        list.list_forms(&text, tokenizer, normaliser)?;
                    }
                }
                (None, text) => list.add_text(&text.unwrap_or_default(), tokenizer, normaliser)?,
            }
        }
        Ok(list)
    }

    /// Lists every n-gram of a passage's tokens.
    pub fn add_tokens(&mut self, tokens: &[u32]) {
        let listed = self.list(tokens);
        self.short += usize::from(!listed);
    }

    /// Lists every n-gram of these tokens, and returns whether there are any.
    fn list(&mut self, tokens: &[u32]) -> bool {
        for (&len, ngrams) in &mut self.ngrams {
            ngrams.extend(tokens.windows(len).map(Into::into));
        }
        self.ngrams.keys().any(|&len| tokens.len() >= len)
    }

    /// Lists every n-gram of a passage, alone and after a space, in each form that a detector with this `tokenizer` and
    /// this `normaliser` tries.
    ///
    /// # Errors
    /// Returns an error if the tokenizer fails.
    #[cfg(feature = "text")]
    pub fn add_text(
        &mut self,
        text: &str,
        tokenizer: &Tokenizer,
        normaliser: Normaliser,
    ) -> Result<(), TextError> {
        let listed = self.list_forms(text, tokenizer, normaliser)?;
        self.short += usize::from(!listed);
        Ok(())
    }

    /// Lists every n-gram of a passage's forms, alone and after a space, and returns whether it has any alone.
    #[cfg(feature = "text")]
    fn list_forms(
        &mut self,
        text: &str,
        tokenizer: &Tokenizer,
        normaliser: Normaliser,
    ) -> Result<bool, TextError> {
        let mut listed = false;
        // A passage of a text in a markup language may be given as its readers see it.
        let seen = normaliser.strip.map(|_| Normaliser { strip: None, ..normaliser });
        for normaliser in [Some(normaliser), seen].into_iter().flatten() {
            for start in ["", " "] {
                for cut in normaliser.encode(tokenizer, format!("{start}{text}").as_bytes())? {
                    let any = self.list(&cut.encoded.ids);
                    listed |= any && start.is_empty();
                }
            }
        }
        Ok(listed)
    }

    /// Returns whether the n-gram is listed.
    pub fn contains(&self, ngram: &[u32]) -> bool {
        self.ngrams.get(&ngram.len()).is_some_and(|ngrams| ngrams.contains(ngram))
    }

    /// Returns the number of n-grams.
    pub fn len(&self) -> usize {
        self.ngrams.values().map(HashSet::len).sum()
    }

    /// Returns whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of passages that were too short to hold an n-gram. They have no effect.
    pub fn short_passages(&self) -> usize {
        self.short
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[derive(Deserialize)]
struct Version {
    schema_version: u32,
}

/// Reads a file of either form, and returns it in the JSON form.
fn parse(path: &Path) -> Result<IgnoreFile, IgnoreError> {
    let read = |source| IgnoreError::Read { path: shown(path), source };
    let bytes = std::fs::read(path).map_err(read)?;
    let text = std::str::from_utf8(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes))
        .map_err(|error| read(std::io::Error::new(std::io::ErrorKind::InvalidData, error)))?;
    if !text.trim_start().starts_with('{') {
        let passage =
            |line: &str| IgnorePassage { tokens: None, text: Some(line.to_owned()), documents: None };
        let passages: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).map(passage).collect();
        if passages.is_empty() {
            return Err(IgnoreError::Empty { path: shown(path) });
        }
        return Ok(IgnoreFile { schema_version: IGNORE_VERSION, ngram_len: 0, tokenizer: None, passages });
    }
    let json = |error: serde_json::Error| IgnoreError::Json { path: shown(path), message: error.to_string() };
    // The version comes first, since a newer file may have unknown fields.
    let Version { schema_version } = serde_json::from_str(text).map_err(json)?;
    if schema_version != IGNORE_VERSION {
        return Err(IgnoreError::Version { path: shown(path), found: schema_version });
    }
    serde_json::from_str(text).map_err(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Detector;
    use crate::scheme::Key;

    fn read(content: &str) -> Result<IgnoreList, IgnoreError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        IgnoreList::read(file.path(), [5])
    }

    #[test]
    fn listed_positions_do_not_count_and_the_others_do() {
        let file = r#"{"schema_version": 1, "ngram_len": 5, "tokenizer": null,
            "passages": [{"tokens": [3, 4, 5, 6, 7, 8], "text": "x", "documents": 9}, {"tokens": [1, 2]}]}"#;
        let list = read(file).unwrap();
        assert_eq!((list.len(), list.short_passages()), (2, 1));
        assert!(list.contains(&[3, 4, 5, 6, 7]) && !list.contains(&[2, 3, 4, 5, 6]));
        let detector =
            Detector::builder(Key::from_bytes(&[1; 32], "test").unwrap()).ignore(list).build().unwrap();
        let report = detector.score(crate::Input::tokens(&(1..=20).collect::<Vec<_>>())).unwrap();
        assert_eq!((report.scored_tokens, report.ignored_tokens), (14, Some(2)));
    }

    /// Files on a Mac are often decomposed, and web pages have soft hyphens.
    #[cfg(feature = "text")]
    #[test]
    fn passages_are_normalised_as_texts_are() {
        use std::sync::Arc;

        let plain = "the river went down to the naïve café again";
        let decomposed = "the river went down to the nai\u{308}ve cafe\u{301} again";
        let hyphenated = "the ri\u{AD}ver went down to the na\u{AD}ïve café again";
        let tokenizer = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tokenizer/tokenizer.json");
        let tokenizer = Arc::new(Tokenizer::open(Path::new(tokenizer)).unwrap());
        let list = |passage: &str, normaliser| {
            let mut list = IgnoreList::new([5]);
            list.add_text(passage, &tokenizer, normaliser).unwrap();
            list
        };
        let words = (0..40).map(|i| format!("word{i} light{i}")).collect::<Vec<_>>().join(" ");
        let text = format!("{words}\n{plain}\n{words}");
        let ignored = |passage: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), passage).unwrap();
            let builder = Detector::builder(Key::from_bytes(&[1; 32], "test").unwrap());
            let builder = builder.tokenizer(Arc::clone(&tokenizer)).ignore_file(file.path());
            let detector = builder.build().unwrap();
            detector.score(&text).unwrap().ignored_tokens.unwrap()
        };
        assert!(ignored(plain) > 0);
        for copied in [decomposed, hyphenated] {
            assert_eq!(list(copied, Normaliser::default()), list(plain, Normaliser::default()), "{copied:?}");
            assert_ne!(list(copied, Normaliser::none()), list(plain, Normaliser::none()), "{copied:?}");
            assert_eq!(ignored(copied), ignored(plain), "{copied:?}");
        }
    }

    #[test]
    fn files_of_another_kind_are_refused() {
        let cases = [
            (r#"{"schema_version": 2, "new": 1}"#, "schema_version 2"),
            (
                r#"{"schema_version": 1, "ngram_len": 5, "tokenizer": null, "passages": [], "x": 1}"#,
                "unknown field",
            ),
            ("{", "not the JSON"),
            ("", "is empty"),
            ("\u{feff} \n\n", "is empty"),
            ("Kind regards,\n", "need a tokenizer"),
        ];
        for (content, expected) in cases {
            let error = read(content).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(IgnoreList::read("no/such/file", [5]).unwrap_err().to_string().contains("no/such/file"));
    }
}
