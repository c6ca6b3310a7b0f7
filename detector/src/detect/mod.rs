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

mod attribute;
mod error;
mod explain;
mod ignore;
mod keyring;
mod segments;
#[cfg(feature = "text")]
mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

pub use error::DetectError;
pub use keyring::Keyring;
#[cfg(feature = "text")]
pub use stream::StreamOptions;

use crate::ignore::IgnoreList;
#[cfg(feature = "text")]
use crate::report::Changes;
use crate::report::{GValuesRow, Report, SCHEMA_VERSION, Scores};
#[cfg(feature = "text")]
use crate::scheme::TokenizerBinding;
use crate::scheme::{Key, Prf, TextGValues};
use crate::statistics::{
    Bayesian, Decider, EvidenceKind, Mean, Method, PKind, PValue, Profile, Sample, Statistic, WeightedMean,
};
#[cfg(feature = "text")]
use crate::text::normalise::Normaliser;
#[cfg(feature = "text")]
use crate::text::{Encoded, Tokenizer};
use crate::verdict::Verdict;

/// The false positive rate of a detector that was told none.
pub const DEFAULT_FPR: f64 = 0.001;

/// Scores texts under one key or a keyring.
#[derive(Debug)]
pub struct Detector {
    keys: Vec<Entry>,
    /// Whether `keys` is a ring, whose reports say how many keys it has.
    ring: bool,
    #[cfg(feature = "text")]
    tokenizer: Option<Arc<Tokenizer>>,
    #[cfg(feature = "text")]
    normaliser: Normaliser,
    decider: Decider,
    fpr: f64,
    /// N-grams that do not count.
    ignore: Option<Arc<IgnoreList>>,
}

/// What is kept of a key.
struct Entry {
    prf: Prf,
    id: String,
    /// Its label or its file's name, in a ring.
    name: Option<String>,
    /// The tokenizer that the key belongs to, if it says so.
    #[cfg(feature = "text")]
    binding: Option<TokenizerBinding>,
    plan: Arc<Plan>,
}

/// What keys of one depth share.
#[derive(Debug)]
struct Plan {
    depth: usize,
    /// For the scores that every report has.
    mean: Mean,
    weighted_mean: Arc<WeightedMean>,
    /// What decides.
    statistic: Arc<dyn Statistic>,
    /// Scored tokens from which on its silence means something, once somebody asks.
    required_tokens: OnceLock<u64>,
}

impl Plan {
    /// For keys of `depth` layers.
    fn new(depth: usize, weighted_mean: Arc<WeightedMean>, decider: &Decider) -> Arc<Self> {
        let statistic = match decider {
            Decider::WeightedMean => Arc::clone(&weighted_mean) as Arc<dyn Statistic>,
            decider => decider
                .statistic(EvidenceKind::Layers { depth })
                .expect("every statistic sums the g-bits of layers"),
        };
        Arc::new(Self {
            depth,
            mean: Mean::new(depth),
            weighted_mean,
            statistic,
            required_tokens: OnceLock::new(),
        })
    }
}

/// The sum of a statistic that was made for the depth of `sample`.
fn sum(statistic: &dyn Statistic, sample: Sample<'_>) -> i64 {
    statistic.sum(sample).expect("the statistic was made for keys of this depth")
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("key_id", &self.id).finish_non_exhaustive()
    }
}

/// What a statistic needs of one text under one key; grows with each part of it.
#[derive(Default)]
struct Tally {
    /// Positions that a p-value may count.
    tokens: u64,
    /// The deciding statistic's sum over them.
    sum: i64,
    /// Positions that the reference implementation scores.
    reference_tokens: u64,
    /// The deciding statistic's sum over them.
    reference_sum: i64,
    /// The sums of the mean and the weighted mean over them.
    reference_means: [i64; 2],
    /// The deciding statistic's Σ ln ratio over them, where it has a prior.
    reference_ln: f64,
    /// Positions with a complete context, less the ignored ones.
    positions: u64,
    /// Positions that an ignore list took out.
    ignored: u64,
}

impl Tally {
    /// Counts `values`, of whose positions `ignored` were taken out.
    fn add(&mut self, values: &TextGValues, ignored: u64, plan: &Plan) {
        let (scored, reference) = (Sample::scored(values), Sample::reference(values));
        let same = values.scored == values.reference_mask;
        let (statistic, method) = (&*plan.statistic, plan.statistic.method());
        let deciding = sum(statistic, scored);
        let deciding_reference = if same { deciding } else { sum(statistic, reference) };
        let tokens = scored.tokens();
        self.tokens += tokens;
        self.sum += deciding;
        self.reference_tokens += if same { tokens } else { reference.tokens() };
        self.reference_sum += deciding_reference;
        let means: [&dyn Statistic; 2] = [&plan.mean, &*plan.weighted_mean];
        for (total, mean) in self.reference_means.iter_mut().zip(means) {
            *total += if mean.method() == method { deciding_reference } else { sum(mean, reference) };
        }
        if let Some(posterior) = statistic.posterior() {
            self.reference_ln +=
                posterior.ln_ratio(reference).expect("the statistic was made for keys of this depth");
        }
        self.positions += values.g.len() as u64 - ignored;
        self.ignored += ignored;
    }
}

/// What one key makes of one text.
struct Outcome {
    scored_tokens: u64,
    /// Positions with a complete context, less the ignored ones.
    positions: u64,
    /// Positions that the ignore list took out, if there is one.
    ignored: Option<u64>,
    score: Option<f64>,
    p: Option<PValue>,
    scores: Scores,
}

impl Detector {
    /// For texts, under one key.
    ///
    /// # Errors
    /// [`KeyError::WrongTokenizer`](crate::scheme::KeyError::WrongTokenizer), which names both, if the key belongs to another tokenizer.
    #[cfg(feature = "text")]
    pub fn new(key: Key, tokenizer: impl Into<Arc<Tokenizer>>) -> Result<Self, DetectError> {
        Self::for_tokens(key).with_tokenizer(tokenizer)
    }

    /// For token ids, under one key.
    pub fn for_tokens(key: Key) -> Self {
        Self::build(vec![(key, None)], false)
    }

    /// For token ids, under each key of a ring; `with_tokenizer` makes it one for texts.
    pub fn for_keyring(ring: Keyring) -> Self {
        Self::build(ring.keys, true)
    }

    fn build(keys: Vec<(Key, Option<String>)>, ring: bool) -> Self {
        // One null distribution a depth, however many keys.
        let mut plans: BTreeMap<usize, Arc<Plan>> = BTreeMap::new();
        let keys = keys
            .into_iter()
            .map(|(key, name)| {
                let depth = key.scheme().depth();
                let plan = plans.entry(depth).or_insert_with(|| {
                    Plan::new(depth, Arc::new(WeightedMean::new(depth)), &Decider::default())
                });
                Entry {
                    prf: key.prf(),
                    id: key.id(),
                    name,
                    #[cfg(feature = "text")]
                    binding: key.tokenizer().cloned(),
                    plan: Arc::clone(plan),
                }
            })
            .collect();
        Self {
            keys,
            ring,
            #[cfg(feature = "text")]
            tokenizer: None,
            #[cfg(feature = "text")]
            normaliser: Normaliser::default(),
            decider: Decider::default(),
            fpr: DEFAULT_FPR,
            ignore: None,
        }
    }

    /// Splits texts with this tokenizer.
    ///
    /// # Errors
    /// [`KeyError::WrongTokenizer`](crate::scheme::KeyError::WrongTokenizer), which names both, if a key belongs to another one.
    #[cfg(feature = "text")]
    pub fn with_tokenizer(mut self, tokenizer: impl Into<Arc<Tokenizer>>) -> Result<Self, DetectError> {
        let tokenizer = tokenizer.into();
        let found = tokenizer.binding();
        for entry in &self.keys {
            if let Some(binding) = &entry.binding {
                binding.check(&entry.id, &found)?;
            }
        }
        self.tokenizer = Some(tokenizer);
        Ok(self)
    }

    /// Prepares texts in another way (the default is [`Normaliser::default`]). Prompts are taken as they are.
    #[cfg(feature = "text")]
    pub fn normaliser(mut self, normaliser: Normaliser) -> Self {
        self.normaliser = normaliser;
        self
    }

    /// Lets another statistic decide (the default is the weighted mean).
    pub fn detector(self, method: Method) -> Self {
        self.decider(method.into())
    }

    /// Lets the likelihood ratio under `profile` decide, through its first layers where a key has fewer. That other
    /// law is enumerated when the first text is scored: some seconds at 29 layers, half of that with each layer less.
    pub fn profile(self, profile: &Profile) -> Self {
        self.decider(profile.clone().into())
    }

    /// Lets the Bayesian detector `detector` decide, through its first layers where a key has fewer.
    pub fn bayesian(self, detector: &Bayesian) -> Self {
        self.decider(detector.clone().into())
    }

    /// Lets this statistic decide.
    pub fn decider(mut self, decider: Decider) -> Self {
        self.decider = decider;
        self.replan();
        self
    }

    /// Makes the plans anew.
    fn replan(&mut self) {
        let mut plans: BTreeMap<usize, Arc<Plan>> = BTreeMap::new();
        for entry in &mut self.keys {
            let plan = plans.entry(entry.plan.depth).or_insert_with(|| {
                let old = &entry.plan;
                Plan::new(old.depth, Arc::clone(&old.weighted_mean), &self.decider)
            });
            entry.plan = Arc::clone(plan);
        }
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
        self.replan();
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
        self.score_encoded(&prompt, self.encode_bytes(text.as_bytes())?)
    }

    /// Scores what [`encode_bytes`](Self::encode_bytes) gave.
    #[cfg(feature = "text")]
    fn score_encoded(&self, prompt: &[u32], text: (Encoded, Changes)) -> Result<Report, DetectError> {
        let tokenizer = self.tokenizer.as_ref().ok_or(DetectError::NoTokenizer)?;
        let (encoded, changes) = text;
        let mut report = self.score_tokens_with_prompt(prompt, &encoded.ids);
        segments::locate(&mut report.spans, &encoded.offsets);
        self.complete(&mut report, tokenizer, changes);
        Ok(report)
    }

    /// Adds what a report says of the text beside its tokens.
    #[cfg(feature = "text")]
    fn complete(&self, report: &mut Report, tokenizer: &Tokenizer, changes: Changes) {
        report.tokenizer = Some(tokenizer.name().to_owned());
        report.warnings.extend(self.text_warnings(&changes));
        report.normalisation = (!changes.is_empty()).then_some(changes);
    }

    /// What is to be said of a text beside its tokens: that keys name no tokenizer, that it was not UTF-8.
    #[cfg(feature = "text")]
    fn text_warnings(&self, changes: &Changes) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut unbound = self.keys.iter().filter(|entry| entry.binding.is_none());
        if let (Some(first), Some(tokenizer)) = (unbound.next(), &self.tokenizer) {
            let subject = if self.ring {
                format!("{} of {} keys name no tokenizer", unbound.count() + 1, self.keys.len())
            } else {
                format!("key {} names no tokenizer", first.id)
            };
            warnings.push(format!(
                "{subject}; if the texts were written with another one than {}, their mark is not found",
                tokenizer.name()
            ));
        }
        if changes.invalid_utf8 > 0 {
            warnings.push("the text is not UTF-8; what is not was replaced by U+FFFD".into());
        }
        warnings
    }

    /// Scores the content of a file: a byte order mark is no part of the text, and bytes that are not UTF-8 become
    /// U+FFFD, with a warning.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    #[cfg(feature = "text")]
    pub fn score_bytes(&self, bytes: &[u8]) -> Result<Report, DetectError> {
        self.score_encoded(&[], self.encode_bytes(bytes)?)
    }

    /// The tokens that [`score_bytes`](Self::score_bytes) looks at, with the bytes of `bytes` that each covers, and
    /// what was changed to get them.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    #[cfg(feature = "text")]
    pub fn encode_bytes(&self, bytes: &[u8]) -> Result<(Encoded, Changes), DetectError> {
        let tokenizer = self.tokenizer.as_ref().ok_or(DetectError::NoTokenizer)?;
        Ok(self.normaliser.encode(tokenizer, bytes)?)
    }

    /// The token ids that [`score_bytes`](Self::score_bytes) looks at.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    #[cfg(feature = "text")]
    pub fn tokens_of_bytes(&self, bytes: &[u8]) -> Result<Vec<u32>, DetectError> {
        Ok(self.encode_bytes(bytes)?.0.ids)
    }

    /// Scores token ids, without any that a tokenizer adds in front.
    pub fn score_tokens(&self, ids: &[u32]) -> Report {
        self.score_tokens_with_prompt(&[], ids)
    }

    /// Scores the token ids of the response to a known prompt, as [`score_with_prompt`](Self::score_with_prompt).
    pub fn score_tokens_with_prompt(&self, prompt: &[u32], ids: &[u32]) -> Report {
        // The g-values of the last key; a detector with one key needs no others.
        let mut last = None;
        let outcomes = self.keys.iter().map(|entry| {
            let (outcome, values) = self.outcome(entry, prompt, ids);
            last = Some((entry, values));
            (entry, outcome)
        });
        let mut report = self.report(ids.len() as u64, outcomes);
        report.spans = match last {
            Some((entry, values)) if entry.id == report.key_id => self.spans(entry, &values, ids),
            _ => match self.keys.iter().find(|entry| entry.id == report.key_id) {
                Some(entry) => self.spans(entry, &self.values(entry, prompt, ids), ids),
                None => Vec::new(),
            },
        };
        report
    }

    /// The report on a text of `tokens` tokens, from what each key makes of it.
    fn report<'a>(&self, tokens: u64, outcomes: impl Iterator<Item = (&'a Entry, Outcome)>) -> Report {
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
        if entry.plan.statistic.fitted_keys().contains(&entry.id) {
            warnings.push(format!(
                "the detector was fitted to texts of key {}; for texts that share passages with those, p is approximate",
                entry.id
            ));
        }
        Report {
            schema_version: SCHEMA_VERSION,
            input: String::new(),
            scheme: scheme.name().into(),
            key_id: entry.id.clone(),
            tokenizer: None,
            tokens,
            scored_tokens: best.scored_tokens,
            detector: self.decider.method(),
            score: best.score,
            p_value: p.map(PValue::p),
            log10_p,
            p_kind: match p_kind(&entry.prf) {
                // Bonferroni's bound.
                PKind::Exact if tries > 1 => PKind::Conservative,
                kind => kind,
            },
            fpr: self.fpr,
            verdict: Verdict::new(log10_p, self.fpr, best.scored_tokens, || {
                let plan = &entry.plan;
                let alpha = self.fpr / tries as f64;
                *plan.required_tokens.get_or_init(|| plan.statistic.required_tokens(alpha))
            }),
            scores: best.scores,
            warnings,
            spans: Vec::new(),
            keys_tried: self.ring.then_some(tries as u64),
            normalisation: None,
            ignored_tokens: best.ignored,
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

    /// The g-values under one key, with what is to be ignored taken out of the mask.
    fn values(&self, entry: &Entry, prompt: &[u32], ids: &[u32]) -> TextGValues {
        let mut values = TextGValues::new(&entry.prf, prompt, ids);
        self.leave_out(ids, &mut values);
        values
    }

    fn outcome(&self, entry: &Entry, prompt: &[u32], ids: &[u32]) -> (Outcome, TextGValues) {
        let mut values = TextGValues::new(&entry.prf, prompt, ids);
        let mut tally = Tally::default();
        let ignored = self.leave_out(ids, &mut values);
        tally.add(&values, ignored, &entry.plan);
        (self.outcome_of(entry, &tally), values)
    }

    fn outcome_of(&self, entry: &Entry, tally: &Tally) -> Outcome {
        let Plan { mean, weighted_mean, statistic, .. } = &*entry.plan;
        let (tokens, [ones, weighted_ones]) = (tally.reference_tokens, tally.reference_means);
        Outcome {
            scored_tokens: tally.tokens,
            positions: tally.positions,
            ignored: self.ignore.is_some().then_some(tally.ignored),
            score: statistic.score(tally.tokens, tally.sum),
            p: statistic.p_value(tally.tokens, tally.sum).map(|p| PValue { kind: p_kind(&entry.prf), ..p }),
            scores: Scores {
                mean: mean.score(tokens, ones),
                weighted_mean: weighted_mean.score(tokens, weighted_ones),
                llr: match statistic.method() {
                    Method::Llr => statistic.score(tokens, tally.reference_sum),
                    _ => None,
                },
                bayesian: statistic.posterior().map(|posterior| posterior.probability(tally.reference_ln)),
            },
        }
    }
}

/// What the statistics promise under a key's scheme.
fn p_kind(prf: &Prf) -> PKind {
    if prf.scheme().is_compat() { PKind::Approximate } else { PKind::Exact }
}
