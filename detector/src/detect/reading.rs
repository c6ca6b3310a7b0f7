//! One text under every key of a detector.

use std::borrow::Cow;
use std::ops::Range;

use super::input::{Content, Prompt};
use super::keys::Entry;
#[cfg(feature = "text")]
use super::stream::Stream;
use super::tally::{Outcome, Tally};
use super::{DetectError, Detector, Input};
use crate::report::Changes;
use crate::scheme::TextGValues;

/// A text as token ids.
pub(super) struct Tokens<'a> {
    pub ids: Cow<'a, [u32]>,
    /// The prompt's; none if it is not known.
    pub prompt: Cow<'a, [u32]>,
    /// Where they came from, unless the input was token ids.
    pub text: Option<Text>,
}

/// The text that token ids came from.
pub(super) struct Text {
    /// For each token the bytes of the original that it covers.
    pub offsets: Vec<Range<usize>>,
    pub changes: Changes,
}

/// An input, opened.
pub(super) enum Source<'a> {
    Whole(Tokens<'a>),
    #[cfg(feature = "text")]
    Stream(Stream<'a>),
}

/// What the keys make of a text: tokenized once, hashed once under each key. Report, passages and explanation are views
/// of it.
pub(super) struct Reading<'d, 'a> {
    pub detector: &'d Detector,
    pub tokens: Tokens<'a>,
    pub best: Best,
}

/// The key with the least p, the first of them if there are several. Of the other keys nothing is kept.
pub(super) struct Best {
    /// Its index.
    pub key: usize,
    pub outcome: Outcome,
    pub values: TextGValues,
}

impl Tokens<'_> {
    /// What was changed in the text; `None` if the input was token ids.
    pub(super) fn changes(&self) -> Option<Changes> {
        self.text.as_ref().map(|text| text.changes)
    }

    /// The bytes of the original text that some of the tokens cover; `None` if the input was token ids.
    pub(super) fn bytes(&self, tokens: &Range<usize>) -> Option<[u64; 2]> {
        let covered = self.text.as_ref()?.offsets.get(tokens.clone())?;
        Some([covered.first()?.start as u64, covered.last()?.end as u64])
    }
}

impl Detector {
    /// Cuts the input into tokens, unless it is a reader.
    pub(super) fn open<'a>(&self, input: Input<'a>) -> Result<Source<'a>, DetectError> {
        let prompt = match input.prompt {
            Prompt::Tokens(ids) => Cow::Borrowed(ids),
            #[cfg(feature = "text")]
            Prompt::Text("") => Cow::Borrowed(&[][..]),
            #[cfg(feature = "text")]
            Prompt::Text(text) => Cow::Owned(self.needed_tokenizer()?.encode(text)?.ids),
        };
        Ok(match input.content {
            Content::Tokens(ids) => Source::Whole(Tokens { ids: Cow::Borrowed(ids), prompt, text: None }),
            #[cfg(feature = "text")]
            Content::Bytes(bytes) => {
                let (encoded, changes) = self.encode(bytes)?;
                let text = Some(Text { offsets: encoded.offsets, changes });
                Source::Whole(Tokens { ids: Cow::Owned(encoded.ids), prompt, text })
            }
            #[cfg(feature = "text")]
            Content::Reader(reader, options) => {
                self.needed_tokenizer()?;
                Source::Stream(Stream::new(self, reader, &prompt, options))
            }
        })
    }

    /// As [`open`](Self::open), for a question that needs all of the text.
    #[cfg_attr(not(feature = "text"), expect(unused_variables, reason = "without text there are no readers"))]
    pub(super) fn whole<'a>(
        &self,
        input: impl Into<Input<'a>>,
        what: &'static str,
    ) -> Result<Tokens<'a>, DetectError> {
        match self.open(input.into())? {
            Source::Whole(tokens) => Ok(tokens),
            #[cfg(feature = "text")]
            Source::Stream(_) => Err(DetectError::NeedsWholeText { what }),
        }
    }

    /// Scores the text under each key. At most two keys' values are in memory at once.
    pub(super) fn read<'a>(&self, tokens: Tokens<'a>) -> Reading<'_, 'a> {
        let mut best: Option<Best> = None;
        for (key, entry) in self.keys.iter().enumerate() {
            let (values, ignored) = self.values(entry, &tokens);
            let plan = self.plan(entry);
            let mut tally = Tally::default();
            tally.add(&values, ignored, plan);
            let outcome = tally.outcome(entry, plan);
            if best.as_ref().is_none_or(|best| outcome.is_less_than(&best.outcome)) {
                best = Some(Best { key, outcome, values });
            }
        }
        Reading { detector: self, tokens, best: best.expect("a keyring has at least one key") }
    }

    /// The values under one key, with what is ignored taken out of the mask, and how many positions that was.
    pub(super) fn values(&self, entry: &Entry, tokens: &Tokens<'_>) -> (TextGValues, u64) {
        let mut values = TextGValues::new(&entry.prf, &tokens.prompt, &tokens.ids);
        let ignored = self.leave_out(entry, &tokens.ids, &mut values);
        (values, ignored)
    }

    /// Takes the listed n-grams out of the positions of `values` that count; returns their number. `ids` begin with the
    /// context of the first position.
    pub(super) fn leave_out(&self, entry: &Entry, ids: &[u32], values: &mut TextGValues) -> u64 {
        let Some(list) = &self.ignore else { return 0 };
        let mut ignored = 0;
        for (ngram, scored) in ids.windows(entry.prf.scheme().ngram_len()).zip(&mut values.scored) {
            if *scored && list.contains(ngram) {
                *scored = false;
                ignored += 1;
            }
        }
        ignored
    }
}

impl Reading<'_, '_> {
    pub(super) fn entry(&self) -> &Entry {
        &self.detector.keys[self.best.key]
    }
}
