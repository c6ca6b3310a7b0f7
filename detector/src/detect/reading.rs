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
#[cfg(feature = "text")]
use crate::text::normalise::{Cut, Normaliser};

/// A text as token ids.
pub(super) struct Tokens<'a> {
    pub ids: Cow<'a, [u32]>,
    /// The prompt's; none if it is not known.
    pub prompt: Cow<'a, [u32]>,
    /// Where they came from, unless the input was token ids.
    pub text: Option<Text>,
    /// The text as it was given; nothing if the input was token ids.
    #[cfg(feature = "text")]
    original: &'a [u8],
}

/// The text that token ids came from.
pub(super) struct Text {
    /// For each token the bytes of the original that it covers; none before they are [located](Detector::locate).
    pub offsets: Vec<Range<usize>>,
    pub changes: Changes,
    #[cfg(feature = "text")]
    form: Normaliser,
}

/// When it is noted where in a text its tokens are. That takes four times as much memory as the tokens do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Offsets {
    Now,
    /// When they are [located](Detector::locate), if ever.
    Later,
}

/// The different token sequences of one text, at least one: that of the text as it was given comes first. Their number
/// depends on the text alone, so the least of their p-values times that number is a p-value.
pub(super) struct Forms<'a>(pub Vec<Tokens<'a>>);

impl<'a> Forms<'a> {
    /// The text as it was given.
    pub(super) fn into_given(self) -> Tokens<'a> {
        self.0.into_iter().next().expect("a text has at least one form")
    }
}

/// An input, opened.
pub(super) enum Source<'a> {
    Whole(Forms<'a>),
    #[cfg(feature = "text")]
    Stream(Stream<'a>),
}

/// What the keys make of a text: each of its forms tokenized once, and hashed once under each key. Report, passages and
/// explanation are views of it.
pub(super) struct Reading<'d, 'a> {
    pub detector: &'d Detector,
    /// The form with the least p.
    pub tokens: Tokens<'a>,
    /// How many forms the text has.
    pub forms: usize,
    pub best: Best,
}

/// The form and the key with the least p, the first of them if there are several. Of the others nothing is kept.
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
    #[cfg_attr(not(feature = "text"), expect(unused_variables, reason = "without text there are no offsets"))]
    pub(super) fn open<'a>(&self, input: Input<'a>, offsets: Offsets) -> Result<Source<'a>, DetectError> {
        let prompt = match input.prompt {
            Prompt::Tokens(ids) => Cow::Borrowed(ids),
            #[cfg(feature = "text")]
            Prompt::Text("") => Cow::Borrowed(&[][..]),
            #[cfg(feature = "text")]
            Prompt::Text(text) => Cow::Owned(self.needed_tokenizer()?.encode(text)?.ids),
        };
        Ok(match input.content {
            Content::Tokens(ids) => Source::Whole(Forms(vec![Tokens {
                ids: Cow::Borrowed(ids),
                prompt,
                text: None,
                #[cfg(feature = "text")]
                original: &[],
            }])),
            #[cfg(feature = "text")]
            Content::Bytes(bytes) => {
                let tokens = |cut: Cut| Tokens {
                    ids: Cow::Owned(cut.encoded.ids),
                    prompt: prompt.clone(),
                    text: Some(Text {
                        offsets: cut.encoded.offsets,
                        changes: cut.changes,
                        form: cut.forms[0],
                    }),
                    original: bytes,
                };
                let cuts = self.cut(&self.normaliser.forms(), bytes, offsets == Offsets::Now)?;
                Source::Whole(Forms(cuts.into_iter().map(tokens).collect()))
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
        offsets: Offsets,
    ) -> Result<Forms<'a>, DetectError> {
        match self.open(input.into(), offsets)? {
            Source::Whole(forms) => Ok(forms),
            #[cfg(feature = "text")]
            Source::Stream(_) => Err(DetectError::NeedsWholeText { what }),
        }
    }

    /// Notes where in the text its tokens are, of a form that was opened with [`Offsets::Later`].
    pub(super) fn locate(&self, tokens: &mut Tokens<'_>) -> Result<(), DetectError> {
        #[cfg(feature = "text")]
        if let Some(text) = &mut tokens.text {
            text.offsets = text.form.offsets(self.needed_tokenizer()?, tokens.original)?;
        }
        #[cfg(not(feature = "text"))]
        let _ = tokens;
        Ok(())
    }

    /// Scores each form of the text under each key. At most two keys' values are in memory at once.
    pub(super) fn read<'a>(&self, forms: Forms<'a>) -> Reading<'_, 'a> {
        let number = forms.0.len();
        let mut best: Option<(Tokens<'a>, Best)> = None;
        for tokens in forms.0 {
            let mut best_here: Option<Best> = None;
            for (key, entry) in self.keys.iter().enumerate() {
                let (values, ignored) = self.values(entry, &tokens);
                let plan = self.plan(entry);
                let mut tally = Tally::default();
                tally.add(&values, ignored, plan);
                let outcome = tally.outcome(entry, plan);
                let known = best_here.as_ref().or(best.as_ref().map(|(_, best)| best));
                if known.is_none_or(|best| outcome.is_less_than(&best.outcome)) {
                    best_here = Some(Best { key, outcome, values });
                }
            }
            if let Some(best_here) = best_here {
                best = Some((tokens, best_here));
            }
        }
        let (tokens, best) = best.expect("a text has at least one form, and a keyring at least one key");
        Reading { detector: self, tokens, forms: number, best }
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
