//! One text under every key of a detector.

use std::borrow::Cow;
use std::ops::Range;

use super::input::{Content, Prompt};
use super::keys::{Entry, Pieces};
#[cfg(feature = "text")]
use super::stream::Stream;
use super::tally::{Outcome, Tally, sum};
use super::{DetectError, Detector, Input};
use crate::report::Changes;
use crate::scheme::{Evidence, EvidenceStream, GBits, Ngrams, Piece, Prf, Share};
use crate::statistics::Sample;
#[cfg(feature = "text")]
use crate::text::normalise::{Cut, Normaliser};

/// A text as token ids.
pub(super) struct Tokens<'a> {
    pub ids: Cow<'a, [u32]>,
    /// The prompt's token ids; empty if the prompt is not known.
    pub prompt: Cow<'a, [u32]>,
    /// Where they came from, unless the input was token ids.
    pub text: Option<Text>,
    /// The text as it was given; empty if the input was token ids.
    #[cfg(feature = "text")]
    original: &'a [u8],
}

/// The text that token ids came from.
pub(super) struct Text {
    /// For each token the bytes of the original that it covers; empty before they are [located](Detector::locate).
    pub offsets: Vec<Range<usize>>,
    pub changes: Changes,
    #[cfg(feature = "text")]
    form: Normaliser,
}

/// When a tokenizer notes where in the text its tokens are. That takes four times as much memory as the tokens do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Offsets {
    Now,
    /// When they are [located](Detector::locate), if ever.
    Later,
}

/// The different token sequences of one text, at least one. The sequence of the text as it was given comes first. Their
/// number depends on the text alone, so the least of their p-values times that number is a p-value.
pub(super) struct Forms<'a>(pub Vec<Tokens<'a>>);

impl<'a> Forms<'a> {
    /// Returns the form of the text as it was given.
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

/// The result of a text under the keys. Each form of the text is tokenized once, and hashed once under each key.
/// Report, passages and explanation are views of it.
pub(super) struct Reading<'d, 'a> {
    pub detector: &'d Detector,
    /// The form with the least p.
    pub tokens: Tokens<'a>,
    /// How many forms the text has.
    pub forms: usize,
    pub best: Best,
}

/// The form, the key and the channel with the least p, or the first of several. Nothing is kept of the others.
pub(super) struct Best {
    /// The key's index.
    pub key: usize,
    /// The key's function in the channel.
    pub prf: Prf,
    pub outcome: Outcome,
    pub evidence: Evidence,
}

impl Tokens<'_> {
    /// Returns what was changed in the text; `None` if the input was token ids.
    pub(super) fn changes(&self) -> Option<Changes> {
        self.text.as_ref().map(|text| text.changes)
    }

    /// Returns the bytes of the original text that some of the tokens cover; `None` if the input was token ids.
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

    /// Opens an input as [`open`](Self::open) does, for a question that needs the whole text.
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

    /// Notes where in the text the tokens of a form are that was opened with [`Offsets::Later`].
    pub(super) fn locate(&self, tokens: &mut Tokens<'_>) -> Result<(), DetectError> {
        #[cfg(feature = "text")]
        if let Some(text) = &mut tokens.text {
            text.offsets = text.form.offsets(self.needed_tokenizer()?, tokens.original)?;
        }
        #[cfg(not(feature = "text"))]
        let _ = tokens;
        Ok(())
    }

    /// Returns what the rules of the keys say of the text's positions.
    pub(super) fn pieces<'t>(&self, tokens: &'t Tokens<'_>) -> Pieces<'t> {
        let mut pieces = Pieces::new();
        for entry in self.keys.iter() {
            let rule = entry.prf.scheme().context_rule();
            pieces.entry(rule).or_insert_with(|| Piece::whole(rule, &tokens.prompt, &tokens.ids));
        }
        pieces
    }

    /// Returns how many p-values a form of a text has: one for each channel of each key.
    pub(super) fn tries(&self) -> usize {
        self.keys.iter().map(|entry| entry.channels(self.channel).len()).sum()
    }

    /// Scores each form of the text under each key. At most two keys' values are in memory at once.
    pub(super) fn read<'a>(&self, forms: Forms<'a>) -> Reading<'_, 'a> {
        let number = forms.0.len();
        let mut best: Option<(Tokens<'a>, Best)> = None;
        for tokens in forms.0 {
            let mut best_here: Option<Best> = None;
            let pieces = self.pieces(&tokens);
            for (key, entry) in self.keys.iter().enumerate() {
                let piece = &pieces[&entry.prf.scheme().context_rule()];
                let prf = self.best_channel(entry, piece);
                let (evidence, ignored) = self.evidence(&prf, piece);
                let plan = self.plan(entry);
                let mut tally = Tally::default();
                tally.add(&evidence, ignored, plan);
                let outcome = tally.outcome(entry, plan);
                let known = best_here.as_ref().or(best.as_ref().map(|(_, best)| best));
                if known.is_none_or(|best| outcome.is_less_than(&best.outcome)) {
                    best_here = Some(Best { key, prf, outcome, evidence });
                }
            }
            drop(pieces);
            if let Some(best_here) = best_here {
                best = Some((tokens, best_here));
            }
        }
        let (tokens, best) = best.expect("a text has at least one form, and a keyring at least one key");
        Reading { detector: self, tokens, forms: number, best }
    }

    /// Returns the channel of a key in which the deciding statistic of a text is largest. All channels score the same
    /// positions, so its p is least.
    fn best_channel(&self, entry: &Entry, piece: &Piece<'_>) -> Prf {
        let channels = entry.channels(self.channel);
        if channels.len() == 1 {
            return channels.last().unwrap_or_else(|| entry.prf.clone());
        }
        let mut shares = piece.shares.clone();
        self.leave_out_of(piece, &mut shares);
        let ngrams = piece.by_share(&shares);
        let (statistic, kind) = (&*self.plan(entry).statistic, entry.prf.scheme().evidence_kind());
        let mut g: Vec<GBits> = Vec::new();
        let mut of = |prf: &Prf| -> i64 {
            let mut of_share = |(share, ngrams): &(Share, Ngrams<'_>)| {
                prf.g_bits_of(ngrams, &mut g);
                statistic.at_share(sum(statistic, Sample::bits(kind, &g)), *share)
            };
            ngrams.iter().map(&mut of_share).sum()
        };
        let sums = channels.map(|prf| (of(&prf), prf));
        let best = sums.reduce(|best, next| if next.0 > best.0 { next } else { best });
        best.map_or_else(|| entry.prf.clone(), |(_, prf)| prf)
    }

    /// Returns the evidence under one key in one channel, without the ignored positions, and the number of these.
    pub(super) fn evidence(&self, prf: &Prf, piece: &Piece<'_>) -> (Evidence, u64) {
        let mut evidence = EvidenceStream::new(prf).push(piece);
        let ignored = self.leave_out(piece, &mut evidence);
        (evidence, ignored)
    }

    /// Takes the listed n-grams out of the positions of a piece that count, and returns their number.
    pub(super) fn leave_out(&self, piece: &Piece<'_>, evidence: &mut Evidence) -> u64 {
        if self.ignore.is_none() {
            return 0;
        }
        let mut shares = evidence.shares();
        let listed = self.leave_out_of(piece, &mut shares);
        for &i in &listed {
            evidence.leave_out(i);
        }
        listed.len() as u64
    }

    /// Takes the listed n-grams out of the shares alone, and returns which positions that were.
    fn leave_out_of(&self, piece: &Piece<'_>, shares: &mut [Share]) -> Vec<usize> {
        let Some(list) = &self.ignore else { return Vec::new() };
        let mut listed = Vec::new();
        for (i, (ngram, share)) in piece.ngrams().zip(shares).enumerate() {
            if *share != Share::Nothing && list.contains(ngram) {
                *share = Share::Nothing;
                listed.push(i);
            }
        }
        listed
    }
}

impl Reading<'_, '_> {
    pub(super) fn entry(&self) -> &Entry {
        &self.detector.keys[self.best.key]
    }
}
