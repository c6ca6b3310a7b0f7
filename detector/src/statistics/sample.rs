//! The values of a text's tokens, as a statistic sums them.

use std::ops::RangeInclusive;
use std::slice;

use super::method::Method;
use super::scored::Scored;
use crate::scheme::{Evidence, EvidenceKind, GBits, Share, TextGValues};

/// The values of tokens under one key, in order of the text, and which of them count.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    kind: EvidenceKind,
    /// What the keyed function says of each token.
    g: &'a [GBits],
    /// Which tokens count; all of them if `None`.
    mask: Option<&'a [bool]>,
    /// How much tokens count; if `None`, those that count do so wholly.
    shares: Option<&'a [Share]>,
}

impl<'a> Sample<'a> {
    /// Takes the positions of a text that `mask` selects: [`Evidence::scored_mask`] or [`Evidence::reference_mask`]. They
    /// count wholly. The p of [`Detector::score`](crate::Detector::score) is that of [`scored`](Self::scored), which has
    /// the shares of `synthid-sha256-v2`.
    pub fn new(evidence: &'a Evidence, mask: &'a [bool]) -> Self {
        Self { mask: Some(mask), ..Self::bits(evidence.kind(), evidence.g_bits()) }
    }

    /// Takes tokens that all count, with the bits of a keyed function whose texts have evidence of this kind.
    pub fn bits(kind: EvidenceKind, g: &'a [GBits]) -> Self {
        Self { kind, g, mask: None, shares: None }
    }

    /// Takes the positions of a text that count in a p-value.
    pub fn scored(values: &'a TextGValues) -> Self {
        let shares = Some(&*values.shares);
        Self { mask: Some(&values.scored), shares, ..Self::layers(values.depth, &values.g) }
    }

    /// Takes the positions of a text that count in the scores of the scheme's reference implementation.
    pub fn reference(values: &'a TextGValues) -> Self {
        Self { mask: Some(&values.reference_mask), ..Self::layers(values.depth, &values.g) }
    }

    /// Takes tokens that all count, by their g-bits of `depth` layers.
    pub fn layers(depth: usize, g: &'a [GBits]) -> Self {
        Self::bits(EvidenceKind::Layers { depth }, g)
    }

    /// Returns the kind of the values.
    pub fn kind(self) -> EvidenceKind {
        self.kind
    }

    /// Returns how many tokens count, and how much.
    pub fn tokens(self) -> Scored {
        match self.shares {
            Some(shares) => Scored::of(shares.iter().copied()),
            None => Scored::full(self.masked()),
        }
    }

    /// Returns how many tokens the mask selects.
    fn masked(self) -> u64 {
        self.mask.map_or(self.g.len(), |mask| mask.iter().filter(|&&counts| counts).count()) as u64
    }

    /// Calls `add` with the g-bits and the share of each token that counts, for `method`, which needs `depth` layers.
    pub(super) fn for_each_share(
        self,
        method: Method,
        depth: usize,
        mut add: impl FnMut(GBits, Share),
    ) -> Result<(), UnsupportedEvidence> {
        match (self.kind, self.shares) {
            (EvidenceKind::Layers { depth: found }, Some(shares)) if found == depth => {
                let counting = self.g.iter().zip(shares).filter(|(_, share)| **share != Share::Nothing);
                counting.for_each(|(g, share)| add(*g, *share));
            }
            _ => self.g_bits(method, &(depth..=depth))?.for_each(|g| add(g, Share::Full)),
        }
        Ok(())
    }

    /// Returns the g-bits that count, for `method`, which needs a number of layers within `depths`.
    pub(super) fn g_bits(
        self,
        method: Method,
        depths: &RangeInclusive<usize>,
    ) -> Result<Selected<'a, GBits>, UnsupportedEvidence> {
        match self.kind {
            EvidenceKind::Layers { depth } if depths.contains(&depth) => Ok(self.selected()),
            found => Err(UnsupportedEvidence::layers(method, depths, found)),
        }
    }

    /// Returns the bits that count, for `method`, which needs this kind of evidence.
    pub(super) fn of_kind(
        self,
        method: Method,
        expected: EvidenceKind,
    ) -> Result<Selected<'a, GBits>, UnsupportedEvidence> {
        if self.kind == expected {
            Ok(self.selected())
        } else {
            Err(UnsupportedEvidence::new(method, expected.to_string(), self.kind))
        }
    }

    fn selected(self) -> Selected<'a, GBits> {
        Selected { values: self.g.iter(), mask: self.mask.map(<[bool]>::iter) }
    }
}

/// The values that a mask selects.
#[derive(Clone, Debug)]
pub(super) struct Selected<'a, T> {
    values: slice::Iter<'a, T>,
    mask: Option<slice::Iter<'a, bool>>,
}

impl<T: Copy> Iterator for Selected<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let Some(mask) = &mut self.mask else { return self.values.next().copied() };
        self.values.by_ref().zip(mask).find(|(_, counts)| **counts).map(|(value, _)| *value)
    }

    /// Folds over the selected values, with one loop for either case in place of a decision for each token.
    fn fold<B, F: FnMut(B, T) -> B>(self, start: B, mut add: F) -> B {
        match self.mask {
            None => self.values.fold(start, |sum, value| add(sum, *value)),
            Some(mask) => self
                .values
                .zip(mask)
                .fold(start, |sum, (value, counts)| if *counts { add(sum, *value) } else { sum }),
        }
    }
}

/// A statistic was asked of values that it cannot sum.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{method} expects {expected}, found {found}")]
pub struct UnsupportedEvidence {
    method: Method,
    expected: String,
    found: EvidenceKind,
}

impl UnsupportedEvidence {
    /// Makes the error of `method`, which needs what `expected` says.
    pub(super) fn new(method: Method, expected: String, found: EvidenceKind) -> Self {
        Self { method, expected, found }
    }

    /// Makes the error of `method`, which needs a number of layers within `depths`.
    pub(super) fn layers(method: Method, depths: &RangeInclusive<usize>, found: EvidenceKind) -> Self {
        Self::new(method, format!("g-bits of {} layers", number(depths)), found)
    }

    /// Returns the method that was asked.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Returns the kind of the values that were found.
    pub fn found(&self) -> EvidenceKind {
        self.found
    }
}

/// Returns `30`, or `1 to 64`.
fn number(depths: &RangeInclusive<usize>) -> String {
    if depths.start() == depths.end() {
        depths.start().to_string()
    } else {
        format!("{} to {}", depths.start(), depths.end())
    }
}
