//! A piece of a text, and what the rule says of its positions.

use std::borrow::Cow;

use crate::scheme::{Ngrams, Share};

/// A piece of a text, and the end of what was before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece<'a> {
    /// The tokens from the piece's first context on.
    pub ids: Cow<'a, [u32]>,
    /// Index in the piece of its first position that may have a context. A short piece at the start of a text may have
    /// none.
    pub first: usize,
    /// How long the context of each position from `first` on is.
    pub context_lens: ContextLens,
    /// How much each position from `first` on counts in a p-value, which depends on the text alone.
    pub shares: Vec<Share>,
}

/// How long the contexts of the positions of a [`Piece`] are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ContextLens {
    /// The length of all of them, in tokens.
    Same(usize),
    /// The length of each, in tokens; 0 where a position has no context and does not count.
    Each(Vec<u8>),
}

impl Piece<'_> {
    /// Returns the context of each position from `first` on, and its token.
    pub(crate) fn ngrams(&self) -> impl Iterator<Item = &[u32]> {
        let before = self.ids.len() - self.shares.len();
        (0..self.shares.len()).map(move |i| &self.ids[before + i - self.context_len(i)..=before + i])
    }

    /// Returns the length of the context of position `first` + i.
    pub(crate) fn context_len(&self, i: usize) -> usize {
        match &self.context_lens {
            ContextLens::Same(len) => *len,
            ContextLens::Each(lens) => lens[i].into(),
        }
    }

    /// Returns for each position from `first` on whether it counts with at least two thirds.
    pub(crate) fn scored(&self) -> Vec<bool> {
        self.shares.iter().map(|&share| share >= Share::TwoThirds).collect()
    }

    /// Returns the n-grams of the positions that count, by their share and their length. `shares` are those of the
    /// piece, without what is left out.
    pub(crate) fn by_share<'p>(&'p self, shares: &[Share]) -> Vec<(Share, Ngrams<'p>)> {
        let of = |share| {
            let mask: Vec<bool> = shares.iter().map(|&other| other == share).collect();
            self.selected(&mask).into_iter().map(move |ngrams| (share, ngrams))
        };
        let used =
            [Share::Full, Share::TwoThirds, Share::Third].into_iter().filter(|share| shares.contains(share));
        used.flat_map(of).collect()
    }

    /// Returns the n-grams of the positions that `mask` selects and that have a context, by their length.
    pub(crate) fn selected<'p>(&'p self, mask: &[bool]) -> Vec<Ngrams<'p>> {
        let chosen = || self.ngrams().zip(mask).filter(|(_, keep)| **keep).map(|(ngram, _)| ngram);
        match &self.context_lens {
            ContextLens::Same(len) => vec![Ngrams::new(len + 1, chosen())],
            ContextLens::Each(lens) => {
                let longest = usize::from(lens.iter().copied().max().unwrap_or(0));
                let of = |len| Ngrams::new(len, chosen().filter(move |ngram| ngram.len() == len));
                (2..=longest + 1).map(of).collect()
            }
        }
    }
}
