//! The library's front door: a key and a tokenizer make a [`Detector`], a text makes a [`Report`].
//!
//! ```no_run
//! # #[cfg(feature = "text")] {
//! # use wmdetect::{detect::Detector, scheme::Key, text::Tokenizer};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let detector = Detector::new(Key::read("k.bin")?, Tokenizer::open("tokenizer.json")?)?;
//! let report = detector.score("some text")?;
//! println!("{}", report.verdict.name());
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! Making a detector takes about a millisecond; keep it and share it between threads.

#[cfg(feature = "text")]
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use crate::report::{GValuesRow, Report, SCHEMA_VERSION, Scores};
#[cfg(feature = "text")]
use crate::scheme::TokenizerBinding;
use crate::scheme::{Key, KeyError, Prf, TextGValues};
use crate::statistics::{DetectorKind, LayerCounts, Mean, PKind, PValue, WeightedMean};
#[cfg(feature = "text")]
use crate::text::{TextError, Tokenizer};
use crate::verdict::Verdict;

/// The false positive rate of a detector that was told none.
pub const DEFAULT_FPR: f64 = 0.001;

/// What can go wrong before or while a text is scored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetectError {
    /// The key cannot be read, or belongs to another tokenizer.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The tokenizer fails.
    #[cfg(feature = "text")]
    #[error(transparent)]
    Text(#[from] TextError),
    /// The directory cannot be listed.
    #[error("cannot read the keyring {path}: {source}; expected a directory of key files")]
    Keyring {
        /// The directory.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// No key to try.
    #[error("the keyring {path} has no key; expected key files in it, such as `wmgen keygen` makes")]
    EmptyKeyring {
        /// The directory, or what stands for it.
        path: String,
    },
    /// A text for a detector that knows only token ids.
    #[error("this detector has no tokenizer, so it scores token ids and not text; make it with one")]
    NoTokenizer,
    /// A rate that decides nothing.
    #[error(
        "the false positive rate must lie between 0 and 1 (both excluded), found {found}; the usual rate is 0.001"
    )]
    Fpr {
        /// What was asked for.
        found: f64,
    },
}

/// Several keys that are tried on each text. The p-value of the best is multiplied by their number.
#[derive(Debug)]
pub struct Keyring {
    keys: Vec<Key>,
}

impl Keyring {
    /// A ring of `keys`; a key that is in it twice counts once.
    ///
    /// # Errors
    /// [`DetectError::EmptyKeyring`] without keys.
    pub fn new(keys: Vec<Key>) -> Result<Self, DetectError> {
        Self::named(keys, "that was given")
    }

    /// Every file in the directory `path`, in order of name; names that begin with a dot are left out.
    ///
    /// # Errors
    /// The directory cannot be read or is empty, or a file in it is not a key: a key that is silently missing would
    /// turn its texts into unmarked ones.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DetectError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let list = || -> std::io::Result<Vec<_>> {
            let mut files = Vec::new();
            for entry in std::fs::read_dir(path)? {
                let file = entry?.path();
                let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
                if !hidden && file.is_file() {
                    files.push(file);
                }
            }
            files.sort();
            Ok(files)
        };
        let files = list().map_err(|source| DetectError::Keyring { path: name.clone(), source })?;
        Self::named(files.into_iter().map(Key::read).collect::<Result<_, _>>()?, &name)
    }

    fn named(mut keys: Vec<Key>, path: &str) -> Result<Self, DetectError> {
        let mut ids = HashSet::new();
        keys.retain(|key| ids.insert(key.id()));
        if keys.is_empty() {
            return Err(DetectError::EmptyKeyring { path: path.into() });
        }
        Ok(Self { keys })
    }

    /// The keys.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }
}

/// Scores texts under one key or a keyring.
#[derive(Debug)]
pub struct Detector {
    keys: Vec<Entry>,
    /// Whether `keys` is a ring, whose reports say how many keys it has.
    ring: bool,
    #[cfg(feature = "text")]
    tokenizer: Option<Arc<Tokenizer>>,
    kind: DetectorKind,
    fpr: f64,
}

/// What is kept of a key.
struct Entry {
    prf: Prf,
    id: String,
    /// The tokenizer that the key belongs to, if it says so.
    #[cfg(feature = "text")]
    binding: Option<TokenizerBinding>,
    weighted_mean: Arc<WeightedMean>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("key_id", &self.id).finish_non_exhaustive()
    }
}

/// What one key makes of one text.
struct Outcome {
    scored_tokens: u64,
    /// Positions with a complete context.
    positions: u64,
    score: Option<f64>,
    p: Option<PValue>,
    scores: Scores,
}

impl Detector {
    /// For texts, under one key.
    ///
    /// # Errors
    /// [`KeyError::WrongTokenizer`], which names both, if the key belongs to another tokenizer.
    #[cfg(feature = "text")]
    pub fn new(key: Key, tokenizer: impl Into<Arc<Tokenizer>>) -> Result<Self, DetectError> {
        Self::for_tokens(key).with_tokenizer(tokenizer)
    }

    /// For token ids, under one key.
    pub fn for_tokens(key: Key) -> Self {
        Self::build(vec![key], false)
    }

    /// For token ids, under each key of a ring; [`with_tokenizer`](Self::with_tokenizer) makes it one for texts.
    pub fn for_keyring(ring: Keyring) -> Self {
        Self::build(ring.keys, true)
    }

    fn build(keys: Vec<Key>, ring: bool) -> Self {
        // One null distribution a depth, however many keys.
        let mut nulls: BTreeMap<usize, Arc<WeightedMean>> = BTreeMap::new();
        let keys = keys
            .into_iter()
            .map(|key| {
                let depth = key.scheme().depth();
                let weighted_mean = nulls.entry(depth).or_insert_with(|| Arc::new(WeightedMean::new(depth)));
                Entry {
                    prf: key.prf(),
                    id: key.id(),
                    #[cfg(feature = "text")]
                    binding: key.tokenizer().cloned(),
                    weighted_mean: Arc::clone(weighted_mean),
                }
            })
            .collect();
        Self {
            keys,
            ring,
            #[cfg(feature = "text")]
            tokenizer: None,
            kind: DetectorKind::default(),
            fpr: DEFAULT_FPR,
        }
    }

    /// Splits texts with this tokenizer.
    ///
    /// # Errors
    /// [`KeyError::WrongTokenizer`], which names both, if a key belongs to another one.
    #[cfg(feature = "text")]
    pub fn with_tokenizer(mut self, tokenizer: impl Into<Arc<Tokenizer>>) -> Result<Self, DetectError> {
        let tokenizer = tokenizer.into();
        let found = tokenizer.fingerprint().0;
        for entry in &self.keys {
            if let Some(binding) = &entry.binding
                && binding.fingerprint != found
            {
                return Err(DetectError::Key(KeyError::WrongTokenizer {
                    key_id: entry.id.clone(),
                    expected: describe(&binding.name, &binding.fingerprint),
                    found: describe(tokenizer.name(), &found),
                }));
            }
        }
        self.tokenizer = Some(tokenizer);
        Ok(self)
    }

    /// Lets another statistic decide (the default is the weighted mean).
    pub fn detector(mut self, kind: DetectorKind) -> Self {
        self.kind = kind;
        self
    }

    /// Lets unmarked texts be called watermarked at this rate (the default is [`DEFAULT_FPR`]).
    ///
    /// # Errors
    /// [`DetectError::Fpr`] unless 0 < `fpr` < 1.
    pub fn fpr(mut self, fpr: f64) -> Result<Self, DetectError> {
        if !(fpr > 0.0 && fpr < 1.0) {
            return Err(DetectError::Fpr { found: fpr });
        }
        self.fpr = fpr;
        Ok(self)
    }

    /// Scores a text.
    ///
    /// # Errors
    /// [`DetectError::NoTokenizer`], or the tokenizer's own.
    #[cfg(feature = "text")]
    pub fn score(&self, text: &str) -> Result<Report, DetectError> {
        self.score_with_prompt("", text)
    }

    /// Scores the response to a known prompt: contexts that the prompt has, and contexts that span the border, are
    /// not marked and do not count.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    #[cfg(feature = "text")]
    pub fn score_with_prompt(&self, prompt: &str, text: &str) -> Result<Report, DetectError> {
        let tokenizer = self.tokenizer.as_ref().ok_or(DetectError::NoTokenizer)?;
        let prompt = if prompt.is_empty() { Vec::new() } else { tokenizer.encode(prompt)?.ids };
        let ids = tokenizer.encode(text)?.ids;
        let mut report = self.score_tokens_with_prompt(&prompt, &ids);
        report.tokenizer = Some(tokenizer.name().to_owned());
        let unbound = self.keys.iter().filter(|entry| entry.binding.is_none()).count();
        if unbound > 0 {
            let subject = if self.ring {
                format!("{unbound} of {} keys name no tokenizer", self.keys.len())
            } else {
                format!("key {} names no tokenizer", report.key_id)
            };
            report.warnings.push(format!(
                "{subject}; if the texts were written with another one than {}, their mark is not found",
                tokenizer.name()
            ));
        }
        Ok(report)
    }

    /// Scores the content of a file: a byte order mark is no part of the text, and bytes that are not UTF-8 become
    /// U+FFFD, with a warning.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    #[cfg(feature = "text")]
    pub fn score_bytes(&self, bytes: &[u8]) -> Result<Report, DetectError> {
        let text = text_of_bytes(bytes);
        let mut report = self.score(&text)?;
        if matches!(text, Cow::Owned(_)) {
            report.warnings.push("the text is not UTF-8; what is not was replaced by U+FFFD".into());
        }
        Ok(report)
    }

    /// The token ids that [`score_bytes`](Self::score_bytes) looks at.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    #[cfg(feature = "text")]
    pub fn tokens_of_bytes(&self, bytes: &[u8]) -> Result<Vec<u32>, DetectError> {
        let tokenizer = self.tokenizer.as_ref().ok_or(DetectError::NoTokenizer)?;
        Ok(tokenizer.encode(&text_of_bytes(bytes))?.ids)
    }

    /// Scores token ids, without any that a tokenizer adds in front.
    pub fn score_tokens(&self, ids: &[u32]) -> Report {
        self.score_tokens_with_prompt(&[], ids)
    }

    /// Scores the token ids of the response to a known prompt, as [`score_with_prompt`](Self::score_with_prompt).
    pub fn score_tokens_with_prompt(&self, prompt: &[u32], ids: &[u32]) -> Report {
        let outcomes = self.keys.iter().map(|entry| (entry, self.outcome(entry, prompt, ids)));
        let ln = |outcome: &Outcome| outcome.p.map_or(f64::INFINITY, |p| p.log10);
        let (entry, best) =
            outcomes.min_by(|a, b| ln(&a.1).total_cmp(&ln(&b.1))).expect("a detector has at least one key");

        let tries = self.keys.len();
        let p = best.p.map(|p| p.corrected(tries));
        let scheme = entry.prf.scheme();
        let log10_p = p.map(|p| p.log10);
        let mut warnings = Vec::new();
        if scheme.is_compat() {
            warnings.push(format!(
                "the g-values of {} are not independent under the null hypothesis, so p is approximate",
                scheme.name()
            ));
        }
        if best.scored_tokens < best.positions / 2 {
            warnings.push(format!(
                "{} of {} positions repeat an earlier context and do not count",
                best.positions - best.scored_tokens,
                best.positions
            ));
        }
        Report {
            schema_version: SCHEMA_VERSION,
            input: String::new(),
            scheme: scheme.name().into(),
            key_id: entry.id.clone(),
            tokenizer: None,
            tokens: ids.len() as u64,
            scored_tokens: best.scored_tokens,
            detector: self.kind,
            score: best.score,
            p_value: p.map(PValue::p),
            log10_p,
            p_kind: match p_kind(&entry.prf) {
                // Bonferroni's bound.
                PKind::Exact if tries > 1 => PKind::Conservative,
                kind => kind,
            },
            fpr: self.fpr,
            verdict: Verdict::new(log10_p, best.scored_tokens, scheme.depth(), self.fpr, tries),
            scores: best.scores,
            warnings,
            keys_tried: self.ring.then_some(tries as u64),
        }
    }

    /// The g-values and the mask of token ids under the first key.
    pub fn g_values(&self, ids: &[u32]) -> GValuesRow {
        let entry = self.keys.first().expect("a detector has at least one key");
        let scheme = entry.prf.scheme();
        let values = TextGValues::new(&entry.prf, &[], ids);
        GValuesRow {
            schema_version: SCHEMA_VERSION,
            input: String::new(),
            ngram_len: scheme.ngram_len() as u32,
            depth: scheme.depth() as u32,
            g_bits: values.g.iter().map(|g| g.to_string(values.depth)).collect(),
            mask: values.reference_mask.iter().map(|&scored| if scored { '1' } else { '0' }).collect(),
        }
    }

    fn outcome(&self, entry: &Entry, prompt: &[u32], ids: &[u32]) -> Outcome {
        let values = TextGValues::new(&entry.prf, prompt, ids);
        let counts = LayerCounts::new(values.depth, values.scored());
        let reference = LayerCounts::new(values.depth, values.reference_scored());
        let (score, p) = match self.kind {
            DetectorKind::Mean => (Mean.score(&counts), Mean.p_value(&counts)),
            DetectorKind::WeightedMean => {
                (entry.weighted_mean.score(&counts), entry.weighted_mean.p_value(&counts))
            }
        };
        Outcome {
            scored_tokens: counts.tokens(),
            positions: values.g.len() as u64,
            score,
            p: p.map(|p| PValue { kind: p_kind(&entry.prf), ..p }),
            scores: Scores {
                mean: Mean.score(&reference),
                weighted_mean: entry.weighted_mean.score(&reference),
            },
        }
    }
}

/// What both statistics promise under a key's scheme.
fn p_kind(prf: &Prf) -> PKind {
    if prf.scheme().is_compat() { PKind::Approximate } else { PKind::Exact }
}

/// Borrowed if the bytes are UTF-8.
#[cfg(feature = "text")]
fn text_of_bytes(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes))
}

/// `gemma-2 (413263ae)`.
#[cfg(feature = "text")]
fn describe(name: &str, fingerprint: &[u8; 32]) -> String {
    let start = fingerprint[..4].iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    format!("{name} ({start})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::Secret;

    fn key(seed: u8) -> Key {
        Key::from_bytes(&[seed; 32], "test").unwrap()
    }

    /// Ids of a text that is marked by brute force: of 8 candidates the one with most ones.
    fn marked(key: &Key, len: usize) -> Vec<u32> {
        let prf = key.prf();
        let mut ids = vec![1, 2, 3, 4];
        while ids.len() < len {
            let context = prf.context(&ids[ids.len() - 4..]);
            let best = (0..8).map(|c| 100 + 8 * ids.len() as u32 + c);
            ids.push(best.max_by_key(|&id| context.g_bits(id).0.count_ones()).unwrap());
        }
        ids
    }

    #[test]
    fn one_key() {
        let ids = marked(&key(1), 104);
        let found = Detector::for_tokens(key(1)).score_tokens(&ids);
        assert_eq!((found.tokens, found.scored_tokens), (104, 100));
        assert_eq!((found.verdict, found.p_kind), (Verdict::Watermarked, PKind::Exact));
        assert_eq!(found.score, found.scores.weighted_mean);
        assert!(found.log10_p.unwrap() < -20.0, "{found:?}");
        let other = Detector::for_tokens(key(2)).score_tokens(&ids);
        assert_eq!(other.verdict, Verdict::NotDetected);
        let mean = Detector::for_tokens(key(1)).detector(DetectorKind::Mean).score_tokens(&ids);
        assert_eq!(mean.score, found.scores.mean);
        assert_ne!(mean.p_value, found.p_value);
    }

    #[test]
    fn nothing_to_score() {
        for ids in [&[][..], &[1, 2, 3, 4]] {
            let report = Detector::for_tokens(key(1)).score_tokens(ids);
            assert_eq!((report.score, report.p_value, report.log10_p), (None, None, None));
            assert_eq!(report.verdict, Verdict::TooShort);
        }
    }

    #[test]
    fn a_prompt_takes_its_contexts() {
        let ids = marked(&key(1), 104);
        let report = Detector::for_tokens(key(1)).score_tokens_with_prompt(&ids[..52], &ids);
        // Of the answer's 100 contexts the prompt has those of positions 4 to 51, and its last four tokens are the
        // context of the answer's first.
        assert_eq!(report.scored_tokens, 51);
        assert!(report.warnings.is_empty());
        let report = Detector::for_tokens(key(1)).score_tokens_with_prompt(&ids, &ids);
        assert!(report.scored_tokens <= 1);
        assert!(report.warnings[0].contains("repeat"));
    }

    #[test]
    fn a_ring_names_the_key_and_corrects_p() {
        let ids = marked(&key(3), 60);
        let ring = Keyring::new((1..=5).map(key).chain([key(3)]).collect()).unwrap();
        assert_eq!(ring.keys().len(), 5);
        let report = Detector::for_keyring(ring).score_tokens(&ids);
        let alone = Detector::for_tokens(key(3)).score_tokens(&ids);
        assert_eq!(report.key_id, key(3).id());
        assert_eq!((report.keys_tried, alone.keys_tried), (Some(5), None));
        assert_eq!((report.p_kind, alone.p_kind), (PKind::Conservative, PKind::Exact));
        let factor = 10f64.powf(report.log10_p.unwrap() - alone.log10_p.unwrap());
        assert!((factor - 5.0).abs() < 1e-9);
    }

    #[test]
    fn a_directory_is_a_ring() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Keyring::open(dir.path()), Err(DetectError::EmptyKeyring { .. })));
        std::fs::write(dir.path().join("b"), [2; 32]).unwrap();
        std::fs::write(dir.path().join("a"), [1; 32]).unwrap();
        std::fs::write(dir.path().join(".hidden"), "no key").unwrap();
        let ids: Vec<_> = Keyring::open(dir.path()).unwrap().keys().iter().map(Key::id).collect();
        assert_eq!(ids, [key(1).id(), key(2).id()]);
        std::fs::write(dir.path().join("c"), "no key").unwrap();
        assert!(matches!(Keyring::open(dir.path()), Err(DetectError::Key(KeyError::NotAKey { .. }))));
        assert!(matches!(Keyring::open(dir.path().join("no")), Err(DetectError::Keyring { .. })));
    }

    #[test]
    fn compat_keys_are_approximate() {
        let scheme = crate::scheme::Scheme::DeepMind { depth: 2, ngram_len: 3, context_history_size: 1024 };
        let secret: Vec<u8> = [5_i64, 7].iter().flat_map(|key| key.to_le_bytes()).collect();
        let key = Key::new(scheme, Secret::new(secret.into())).unwrap();
        let report = Detector::for_tokens(key).score_tokens(&(0..50).collect::<Vec<_>>());
        assert_eq!(report.p_kind, PKind::Approximate);
        assert!(report.warnings[0].contains("approximate"));
    }

    #[test]
    fn rates_that_decide_nothing_are_refused() {
        for fpr in [0.0, 1.0, -0.1, f64::NAN] {
            assert!(matches!(Detector::for_tokens(key(1)).fpr(fpr), Err(DetectError::Fpr { .. })));
        }
    }
}
