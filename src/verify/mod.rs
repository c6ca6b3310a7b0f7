//! Looks for a key's mark in a text with the help of the model that may have written it.
//!
//! A [`Verifier`] has one model and one key and judges texts one by one. Its [`Reader`] gives the distributions that the
//! model would have drawn each token from; [`wmdetect::model_ratio`] makes a likelihood ratio of them and the key;
//! [`VerifyReport`] is what both say of one text.

mod error;
mod origin;
mod reader;
mod report;
mod warnings;
mod watched;

pub use error::VerifyError;
pub use origin::{Origin, TEMPERATURES};
pub use reader::Reader;
pub use report::{SamplingSource, VerifyDetector, VerifyModel, VerifyReport, VerifySampling, VerifySpan};

use std::f64::consts::LN_10;
use std::ops::Range;

use wmdetect::detect::DEFAULT_FPR;
use wmdetect::model_ratio::{self, Evidence};
use wmdetect::report::Changes;
use wmdetect::scheme::Key;
use wmdetect::segments::Window;
use wmdetect::statistics::PValue;
use wmdetect::text::Tokenizer;
use wmdetect::text::normalise::Normaliser;

use crate::model::Gemma;
use crate::text::SpecialTokens;
use watched::{Progress, Watched};

/// How to judge texts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// The share of unmarked texts that may be called watermarked.
    pub fpr: f64,
    /// Number of random keys that a text is judged under as well, for a sharper p; 0 for none.
    pub random_keys: u32,
    /// Whether reading ends once p is at most `fpr`. Ignored with random keys.
    pub stop_early: bool,
    /// Whether texts are taken to be as they were generated: sharper without edits, lost with a few.
    pub unedited: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { fpr: DEFAULT_FPR, random_keys: 0, stop_early: false, unedited: false }
    }
}

impl Options {
    /// Checks the options, which needs no model.
    ///
    /// # Errors
    /// Returns an error if the false positive rate is not between 0 and 1, or out of reach for the random keys.
    pub fn check(&self) -> Result<(), VerifyError> {
        let Self { fpr, random_keys: found, .. } = *self;
        if !(fpr > 0.0 && fpr < 1.0) {
            return Err(VerifyError::Fpr { found: fpr });
        }
        if found > 0 && 1.0 / (f64::from(found) + 1.0) > fpr {
            let expected = (1.0 / fpr - 1.0 - 1e-9).ceil() as u64;
            return Err(VerifyError::RandomKeys { found, fpr, expected });
        }
        Ok(())
    }
}

/// A text to judge.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Text; bytes that are not UTF-8 are replaced.
    Bytes(&'a [u8]),
    /// Token ids.
    Tokens(&'a [u32]),
}

/// Looks for the mark of one key with one model.
pub struct Verifier<'a> {
    model: &'a Gemma,
    name: &'a str,
    tokenizer: &'a Tokenizer,
    key: &'a Key,
    options: Options,
    /// What the generator never draws.
    never: Vec<u32>,
    progress: Progress<'a>,
}

/// A text as tokens.
#[derive(Default)]
struct Text {
    ids: Vec<u32>,
    /// The bytes that each token covers; none where the input was token ids.
    offsets: Option<Vec<Range<usize>>>,
    changes: Changes,
}

impl<'a> Verifier<'a> {
    /// Makes a verifier. `name` is what reports call the model.
    ///
    /// # Errors
    /// Returns an error if the options are out of range or the key belongs to another tokenizer.
    pub fn new(
        model: &'a Gemma,
        name: &'a str,
        tokenizer: &'a Tokenizer,
        key: &'a Key,
        options: Options,
    ) -> Result<Self, VerifyError> {
        options.check()?;
        tokenizer.check_key(key)?;
        let never = SpecialTokens::new(tokenizer, model.config().vocab, &model.config().eos).never;
        Ok(Self { model, name, tokenizer, key, options, never, progress: &|_, _| () })
    }

    /// Calls `progress` for each token that is read, with the number of those read and of all in the text.
    #[must_use]
    pub fn with_progress(self, progress: &'a (dyn Fn(usize, usize) + Sync)) -> Self {
        Self { progress, ..self }
    }

    /// Judges one text.
    ///
    /// # Errors
    /// Returns an error if the text has tokens that the model does not have, if the origin's settings draw no token, or
    /// if the model cannot read the text.
    pub fn verify(&self, input: Input<'_>, origin: &Origin) -> Result<VerifyReport, VerifyError> {
        let mut text = self.tokens(input)?;
        let mut prompt = origin.prompt.clone();
        // `<bos>` is the start, never drawn.
        let bos = self.tokenizer.bos();
        if bos.is_some() && text.ids.first().copied() == bos {
            text.ids.remove(0);
            if prompt.is_empty() {
                prompt.extend(bos);
            }
        }
        let vocabulary = self.model.config().vocab;
        if let Some(&id) = text.ids.iter().find(|&&id| id as usize >= vocabulary) {
            return Err(VerifyError::Token { id, vocabulary });
        }
        origin.check()?;
        let reader = Reader::new(self.model, bos, origin.settings.clone())?.never(self.never.clone());
        let mut reader = Watched { reader, progress: self.progress };
        let Options { fpr, random_keys, stop_early, unedited } = self.options;
        let options = model_ratio::Options {
            stop_at: stop_early.then_some(fpr),
            monte_carlo: random_keys as usize,
            unedited,
        };
        let evidence = model_ratio::verify(&mut reader, &self.key.prf(), &prompt, &text.ids, options)?;
        let mut report = self.report(origin, &evidence, prompt.len(), text);
        for warning in self.warnings(input, origin, &evidence, report.normalisation.as_ref()) {
            report.warnings.push(warning.message);
            report.warning_codes.push(warning.code);
        }
        Ok(report)
    }

    fn tokens(&self, input: Input<'_>) -> Result<Text, VerifyError> {
        Ok(match input {
            Input::Tokens(ids) => Text { ids: ids.to_vec(), ..Text::default() },
            Input::Bytes(bytes) => {
                let (encoded, changes) = Normaliser::default().encode(self.tokenizer, bytes)?;
                Text { ids: encoded.ids, offsets: Some(encoded.offsets), changes }
            }
        })
    }

    fn model(&self) -> VerifyModel {
        VerifyModel { name: self.name.to_owned(), fingerprint: self.model.fingerprint().map(str::to_owned) }
    }

    fn report(&self, origin: &Origin, evidence: &Evidence, prompt_tokens: usize, text: Text) -> VerifyReport {
        let Text { ids, offsets, changes } = text;
        let fpr = self.options.fpr;
        let p = evidence.deciding();
        let kind = evidence.p_value().kind;
        let span = |window: Window| {
            let p = PValue { log10: window.ln_p / LN_10, kind };
            let covered = offsets.as_ref().and_then(|offsets| offsets.get(window.start..window.end));
            let bytes = covered.and_then(|covered| Some((covered.first()?, covered.last()?)));
            VerifySpan {
                bytes: bytes.map(|(first, last)| [first.start as u64, last.end as u64]),
                tokens: [window.start as u64, window.end as u64],
                score: window.score,
                p_value: p.p(),
                log10_p: p.log10,
                temperature: origin.settings[window.track].temperature,
            }
        };
        let first = &origin.settings[0];
        VerifyReport {
            scheme: self.key.scheme().name().into(),
            key_id: self.key.id(),
            model: self.model(),
            tokenizer: offsets.is_some().then(|| self.tokenizer.name().to_owned()),
            prompt_tokens: prompt_tokens as u64,
            tokens: ids.len() as u64,
            read_tokens: evidence.tokens.len() as u64,
            scored_tokens: evidence.scored_tokens() as u64,
            detector: VerifyDetector::ModelRatio,
            ln_e: evidence.ln_sup,
            ln_ceiling: evidence.ln_ceiling,
            log10_p_text: evidence.text_only.map(|p| p.log10),
            power: evidence.power(fpr).unwrap_or_default(),
            p_value: p.p(),
            log10_p: p.log10,
            p_kind: p.kind,
            random_keys: evidence.monte_carlo.map_or(0, |rank| rank.keys as u64),
            monte_carlo_p: evidence.monte_carlo.map(|rank| rank.p),
            fpr,
            verdict: evidence.verdict(fpr),
            sampling: VerifySampling {
                source: origin.source,
                temperatures: origin.settings.iter().map(|setting| setting.temperature).collect(),
                shares: evidence.shares.clone(),
                top_k: first.top_k as u64,
                top_p: first.top_p,
                repeat_penalty: first.repeat_penalty,
            },
            spans: evidence.passages(fpr).into_iter().map(span).collect(),
            warnings: Vec::new(),
            warning_codes: Vec::new(),
            normalisation: (!changes.is_empty()).then_some(changes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sampling;

    #[test]
    fn rates_and_random_keys_that_decide_nothing_are_refused() {
        for fpr in [0.0, 1.0, -0.1, f64::NAN] {
            assert!(matches!(Options { fpr, ..Options::default() }.check(), Err(VerifyError::Fpr { .. })));
        }
        let keys = |random_keys| Options { random_keys, ..Options::default() }.check();
        assert!(matches!(keys(998), Err(VerifyError::RandomKeys { found: 998, expected: 999, .. })));
        keys(999).unwrap();
        keys(0).unwrap();
    }

    #[test]
    fn settings_that_draw_nothing_are_refused() {
        let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
        assert!(matches!(Origin::given(vec![], greedy).check(), Err(VerifyError::Greedy)));
        Origin::of_any_temperature(vec![], greedy).check().unwrap();
        let wrong = Sampling { top_p: 0.0, ..Sampling::default() };
        assert!(matches!(Origin::of_any_temperature(vec![], wrong).check(), Err(VerifyError::Sample(_))));
    }
}
