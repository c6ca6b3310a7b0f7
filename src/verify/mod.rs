//! Looks for a key's mark in a text with the help of the model that may have written it.
//!
//! A [`Verifier`] has one model and one or several keys, and judges texts one by one. Its [`Reader`] returns the distributions from
//! which the model would have drawn each token. [`wmdetect::model_ratio`] turns them and the key into a likelihood ratio.
//! [`VerifyReport`] is the result for one text. A text has the [forms](Normaliser::forms) that `wmdetect` tries, and the model
//! reads each form once for all keys.

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

use wmdetect::model_ratio::{self, Evidence};
use wmdetect::report::Changes;
use wmdetect::scheme::{Key, Prf};
use wmdetect::segments::Window;
use wmdetect::statistics::{PKind, PValue};
use wmdetect::text::Tokenizer;
use wmdetect::text::normalise::{Cut, Normaliser};
use wmdetect::verdict::{DEFAULT_FPR, check_fpr};

use crate::model::Gemma;
use crate::text::SpecialTokens;
use watched::{Progress, Watched};

/// Options for judging texts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Share of unmarked texts that may be called watermarked.
    pub fpr: f64,
    /// Number of random keys under which a text is judged as well, for a sharper p; 0 for none. If a text has several forms, or
    /// several keys are tried, more random keys are used, so that p can become as small.
    pub random_keys: u32,
    /// Whether reading ends once p is at most `fpr`. Ignored with random keys.
    pub stop_early: bool,
    /// Whether texts are assumed to be exactly as generated. The test is then sharper, but a few edits defeat it.
    pub unedited: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { fpr: DEFAULT_FPR, random_keys: 0, stop_early: false, unedited: false }
    }
}

impl Options {
    /// Checks the options. This needs no model.
    ///
    /// # Errors
    /// Returns an error if the false positive rate is one that [`check_fpr`] refuses, or is out of reach for the random
    /// keys.
    pub fn check(&self) -> Result<(), VerifyError> {
        let Self { fpr, random_keys: found, .. } = *self;
        check_fpr(fpr)?;
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

/// Looks for the mark of one key, or of any of several, with one model.
pub struct Verifier<'a> {
    model: &'a Gemma,
    name: &'a str,
    tokenizer: &'a Tokenizer,
    /// The keys, at least one.
    keys: Vec<&'a Key>,
    options: Options,
    /// Tokens that the generator never draws.
    never: Vec<u32>,
    normaliser: Normaliser,
    progress: Progress<'a>,
}

/// A form of a text as tokens, and what the model reads before it.
struct Text {
    prompt: Vec<u32>,
    ids: Vec<u32>,
    /// The bytes that each token covers; `None` if the input was token ids.
    offsets: Option<Vec<Range<usize>>>,
    changes: Changes,
}

impl<'a> Verifier<'a> {
    /// Makes a verifier. `name` is the model's name in reports.
    ///
    /// # Errors
    /// Returns an error if there is no key, or if the options are out of range. Also returns an error if a key belongs to
    /// another tokenizer, or to the mark of another engine.
    pub fn new(
        model: &'a Gemma,
        name: &'a str,
        tokenizer: &'a Tokenizer,
        keys: impl IntoIterator<Item = &'a Key>,
        options: Options,
    ) -> Result<Self, VerifyError> {
        options.check()?;
        let keys: Vec<&Key> = keys.into_iter().collect();
        if keys.is_empty() {
            return Err(VerifyError::NoKey);
        }
        for key in &keys {
            key.scheme().check_tournament()?;
            tokenizer.check_key(key)?;
        }
        let never = SpecialTokens::new(tokenizer, model.config().vocab, &model.config().eos).never;
        let normaliser = Normaliser::default();
        Ok(Self { model, name, tokenizer, keys, options, never, normaliser, progress: &|_, _| () })
    }

    /// Prepares texts with `normaliser` before they are cut into tokens. The default is that of `wmdetect`.
    #[must_use]
    pub fn with_normaliser(self, normaliser: Normaliser) -> Self {
        Self { normaliser, ..self }
    }

    /// Calls `progress` for each token that is read, with the numbers of tokens read so far and of all tokens in the text's forms.
    #[must_use]
    pub fn with_progress(self, progress: &'a (dyn Fn(usize, usize) + Sync)) -> Self {
        Self { progress, ..self }
    }

    /// Judges one text. The report is about the form and the key with the smallest p.
    ///
    /// # Errors
    /// Returns an error if the text has tokens that the model does not have, the origin's settings draw no token, or the model
    /// cannot read the text.
    pub fn verify(&self, input: Input<'_>, origin: &Origin) -> Result<VerifyReport, VerifyError> {
        let texts = self.forms(input, origin)?;
        let forms = texts.len();
        let channels = |key: &&'a Key| {
            let key = *key;
            let all = key.prf();
            let known = origin.channels(key);
            let channels = known.unwrap_or_else(|| (0..key.scheme().channels()).collect());
            channels.into_iter().map(move |channel| (key, all.in_channel(channel)))
        };
        let (owners, prfs): (Vec<&Key>, Vec<Prf>) = self.keys.iter().flat_map(channels).unzip();
        let tries = forms * prfs.len();
        origin.check()?;
        let bos = self.tokenizer.bos();
        let reader = Reader::new(self.model, bos, origin.settings.clone())?.never(self.never.clone());
        let total = texts.iter().map(|text| text.ids.len()).sum();
        let mut reader = Watched::new(reader, self.progress, total);
        let Options { fpr, random_keys, stop_early, unedited } = self.options;
        let stop_at = (stop_early && random_keys == 0).then_some(fpr / tries as f64);
        let monte_carlo = match random_keys as usize {
            keys if tries == 1 || keys == 0 => keys,
            // Then the smallest rank times the number of tries is no larger than with one try.
            keys => tries * (keys + 1),
        };
        let options = model_ratio::Options { stop_at, monte_carlo, unedited };
        let mut best: Option<(Text, usize, Evidence)> = None;
        for text in texts {
            let all = model_ratio::verify_keys(&mut reader, &prfs, &text.prompt, &text.ids, options)?;
            // Among equal ranks by random keys, the one with more evidence counts.
            let p = |evidence: &Evidence| (evidence.deciding().log10, evidence.p_value().log10);
            let all = all.into_iter().enumerate();
            let least = all.reduce(|best, next| if p(&next.1) < p(&best.1) { next } else { best });
            let (place, next) = least.expect("a verifier has at least one key");
            let enough = stop_at.is_some_and(|level| next.deciding().reaches(level));
            if best.as_ref().is_none_or(|(_, _, best)| p(&next) < p(best)) {
                best = Some((text, place, next));
            }
            if enough {
                break;
            }
        }
        let (text, place, evidence) = best.expect("a text has at least one form");
        let key = owners[place];
        let mut report = self.report(origin, key, &prfs[place], &evidence, [forms, tries], text);
        for warning in self.warnings(input, origin, key, &evidence, report.normalisation.as_ref()) {
            report.warnings.push(warning.message);
            report.warning_codes.push(warning.code);
        }
        Ok(report)
    }

    /// Returns the different token sequences of a text, at least one.
    fn forms(&self, input: Input<'_>, origin: &Origin) -> Result<Vec<Text>, VerifyError> {
        let prompt = &origin.prompt;
        let mut texts = match input {
            Input::Tokens(ids) => vec![Text {
                prompt: prompt.clone(),
                ids: ids.to_vec(),
                offsets: None,
                changes: Changes::default(),
            }],
            Input::Bytes(bytes) => {
                let text = |Cut { encoded, changes, .. }| Text {
                    prompt: prompt.clone(),
                    ids: encoded.ids,
                    offsets: Some(encoded.offsets),
                    changes,
                };
                self.normaliser.encode(self.tokenizer, bytes)?.into_iter().map(text).collect()
            }
        };
        let (bos, vocabulary) = (self.tokenizer.bos(), self.model.config().vocab);
        for Text { prompt, ids, .. } in &mut texts {
            // `<bos>` is the start and is never drawn.
            if bos.is_some() && ids.first().copied() == bos {
                ids.remove(0);
                if prompt.is_empty() {
                    prompt.extend(bos);
                }
            }
            if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
                return Err(VerifyError::Token { id, vocabulary });
            }
        }
        Ok(texts)
    }

    fn model(&self) -> VerifyModel {
        VerifyModel { name: self.name.to_owned(), fingerprint: self.model.fingerprint().map(str::to_owned) }
    }

    /// Reports on one of `forms` forms, and on the key and the channel with the smallest p of `tries`.
    fn report(
        &self,
        origin: &Origin,
        key: &Key,
        prf: &Prf,
        evidence: &Evidence,
        [forms, tries]: [usize; 2],
        text: Text,
    ) -> VerifyReport {
        let Text { prompt, ids, offsets, changes } = text;
        let fpr = self.options.fpr;
        // Level of each try.
        let level = fpr / tries as f64;
        let p = evidence.deciding().corrected(tries);
        let kind = evidence.p_value().kind;
        let span = |window: Window| {
            let p = PValue { log10: window.ln_p / LN_10, kind }.corrected(tries);
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
            scheme: key.scheme().name().into(),
            key_id: key.id(),
            model: self.model(),
            tokenizer: offsets.is_some().then(|| self.tokenizer.name().to_owned()),
            prompt_tokens: prompt.len() as u64,
            tokens: ids.len() as u64,
            read_tokens: evidence.tokens.len() as u64,
            scored_tokens: evidence.scored_tokens() as u64,
            detector: VerifyDetector::ModelRatio,
            ln_e: evidence.ln_sup,
            ln_ceiling: evidence.ln_ceiling,
            log10_p_text: evidence.text_only.map(|p| p.log10),
            power: evidence.power(level).unwrap_or_default(),
            p_value: p.p(),
            log10_p: p.log10,
            p_kind: match p.kind {
                // Bonferroni's bound is conservative.
                PKind::Exact if tries > 1 => PKind::Conservative,
                kind => kind,
            },
            random_keys: evidence.monte_carlo.map_or(0, |rank| rank.keys as u64),
            monte_carlo_p: evidence.monte_carlo.map(|rank| rank.p),
            fpr,
            verdict: evidence.verdict(level),
            sampling: VerifySampling {
                source: origin.source,
                temperatures: origin.settings.iter().map(|setting| setting.temperature).collect(),
                shares: evidence.shares.clone(),
                top_k: first.top_k as u64,
                top_p: first.top_p,
                repeat_penalty: first.repeat_penalty,
                frequency_penalty: first.frequency_penalty,
                presence_penalty: first.presence_penalty,
                min_p: first.min_p,
            },
            spans: evidence.passages(level).into_iter().map(span).collect(),
            warnings: Vec::new(),
            warning_codes: Vec::new(),
            keys_tried: (self.keys.len() > 1).then_some(self.keys.len() as u64),
            channel: (key.scheme().channels() > 1).then(|| prf.channel()),
            channels_tried: (tries > forms * self.keys.len()).then_some((tries / forms) as u64),
            forms_tried: (forms > 1).then_some(forms as u64),
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
        for fpr in [0.0, 1e-301, 1.0, -0.1, f64::NAN] {
            assert!(matches!(Options { fpr, ..Options::default() }.check(), Err(VerifyError::Fpr(_))));
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
