//! What a text says under one key: the values of its positions, and which of them count.

use std::fmt;

/// What a keyed function says of one (context, token), as bits. In a tournament bit l is the g-value of layer l, layer
/// 0 the least significant; higher bits are 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct GBits(pub u64);

impl GBits {
    /// Returns g of layer `layer`, 0 to 63, as 0 or 1.
    pub fn layer(self, layer: usize) -> u64 {
        self.0 >> layer & 1
    }

    /// Returns the layers as text, layer 0 first: `"0110…"`, `depth` characters, at most 64.
    pub fn to_string(self, depth: usize) -> String {
        (0..depth).map(|layer| if self.layer(layer) == 1 { '1' } else { '0' }).collect()
    }
}

/// How much a position counts in a p-value: a choice by the text alone. A token that could be foreseen from the text tells
/// less of the key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Share {
    /// Not at all: its context is incomplete, or has come up before.
    #[default]
    Nothing,
    /// A third: its token has followed the one before it already.
    Third,
    /// Two thirds: its token has come up already.
    TwoThirds,
    /// Wholly.
    Full,
}

impl Share {
    /// Returns the share in thirds, 0 to 3.
    pub fn thirds(self) -> u8 {
        self as u8
    }
}

/// The evidence of a text under one key, position by position from the first with a complete context.
///
/// Each kind has the same two masks beside its values, with one entry for each position t ≥ `first`; a text of at most
/// `first` tokens has none.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Evidence {
    /// g-bits of the layers of a tournament.
    Layers(TextGValues),
    /// Green or not.
    Green(TextGreens),
    /// Numbers of [0, 1).
    Uniform(TextUniforms),
}

/// Which [`Evidence`] a scheme's texts give.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum EvidenceKind {
    /// [`Evidence::Layers`].
    Layers {
        /// Layers, m.
        depth: usize,
    },
    /// [`Evidence::Green`].
    Green {
        /// Probability of green under the null hypothesis, γ.
        rate: f64,
    },
    /// [`Evidence::Uniform`].
    Uniform,
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layers { depth } => write!(f, "g-bits of {depth} layers"),
            Self::Green { rate } => write!(f, "green bits at rate {rate}"),
            Self::Uniform => f.write_str("uniform numbers"),
        }
    }
}

/// The g-values of a text. Under the null hypothesis each bit of a scored position is a fair coin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TextGValues {
    /// Index of the first position in the text that has a complete context.
    pub first: usize,
    /// Layers.
    pub depth: usize,
    /// g-values of position `first` + i.
    pub g: Vec<GBits>,
    /// True where the position counts with two thirds at least. Statistics that know no shares count it wholly, and no
    /// others.
    pub scored: Vec<bool>,
    /// How much each position counts.
    pub shares: Vec<Share>,
    /// The mask that the reference implementation would use for its scores; our own for our own schemes.
    pub reference_mask: Vec<bool>,
}

/// Which tokens of a text are on their position's green list. Under the null hypothesis a scored position is green
/// with probability `rate`.
#[derive(Clone, PartialEq, Debug)]
pub struct TextGreens {
    /// Index of the first position in the text that has a value.
    pub first: usize,
    /// Probability of green under the null hypothesis, γ.
    pub rate: f64,
    /// Whether the token of position `first` + i is green.
    pub green: Vec<bool>,
    /// True where the position counts in a p-value.
    pub scored: Vec<bool>,
    /// The mask that the reference implementation would use for its scores.
    pub reference_mask: Vec<bool>,
}

/// The numbers that the tokens of a text were drawn by. Under the null hypothesis that of a scored position is uniform
/// in [0, 1), or below such a number.
#[derive(Clone, PartialEq, Debug)]
pub struct TextUniforms {
    /// Index of the first position in the text that has a value.
    pub first: usize,
    /// The number of position `first` + i.
    pub u: Vec<f64>,
    /// True where the position counts in a p-value.
    pub scored: Vec<bool>,
    /// The mask that the reference implementation would use for its scores.
    pub reference_mask: Vec<bool>,
}

impl Evidence {
    /// Returns which evidence it is.
    pub fn kind(&self) -> EvidenceKind {
        match self {
            Self::Layers(values) => EvidenceKind::Layers { depth: values.depth },
            Self::Green(values) => EvidenceKind::Green { rate: values.rate },
            Self::Uniform(_) => EvidenceKind::Uniform,
        }
    }

    /// Returns the index of the first position in the text that has a value.
    pub fn first(&self) -> usize {
        match self {
            Self::Layers(values) => values.first,
            Self::Green(values) => values.first,
            Self::Uniform(values) => values.first,
        }
    }

    /// Returns the number of positions that have a value.
    pub fn len(&self) -> usize {
        self.scored_mask().len()
    }

    /// Returns whether no position has a value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns for each position whether it counts in a p-value.
    pub fn scored_mask(&self) -> &[bool] {
        match self {
            Self::Layers(values) => &values.scored,
            Self::Green(values) => &values.scored,
            Self::Uniform(values) => &values.scored,
        }
    }

    /// Returns [`scored_mask`](Self::scored_mask), to take positions out of it. Which ones may depend on the text alone,
    /// or p is not valid.
    pub fn scored_mask_mut(&mut self) -> &mut [bool] {
        match self {
            Self::Layers(values) => &mut values.scored,
            Self::Green(values) => &mut values.scored,
            Self::Uniform(values) => &mut values.scored,
        }
    }

    /// Returns for each position whether it counts in the reference implementation's scores.
    pub fn reference_mask(&self) -> &[bool] {
        match self {
            Self::Layers(values) => &values.reference_mask,
            Self::Green(values) => &values.reference_mask,
            Self::Uniform(values) => &values.reference_mask,
        }
    }

    /// Returns the g-values, if the evidence is that of a tournament.
    pub fn layers(&self) -> Option<&TextGValues> {
        match self {
            Self::Layers(values) => Some(values),
            Self::Green(_) | Self::Uniform(_) => None,
        }
    }

    /// Returns [`layers`](Self::layers) by value.
    pub fn into_layers(self) -> Option<TextGValues> {
        match self {
            Self::Layers(values) => Some(values),
            Self::Green(_) | Self::Uniform(_) => None,
        }
    }
}

impl TextGValues {
    /// Returns the g-values that a p-value may count.
    pub fn scored(&self) -> impl Iterator<Item = GBits> + '_ {
        select(&self.g, &self.scored)
    }

    /// Returns the g-values that the reference implementation's scores count.
    pub fn reference_scored(&self) -> impl Iterator<Item = GBits> + '_ {
        select(&self.g, &self.reference_mask)
    }
}

impl TextGreens {
    /// Returns the greens that a p-value may count.
    pub fn scored(&self) -> impl Iterator<Item = bool> + '_ {
        select(&self.green, &self.scored)
    }

    /// Returns the greens that the reference implementation's scores count.
    pub fn reference_scored(&self) -> impl Iterator<Item = bool> + '_ {
        select(&self.green, &self.reference_mask)
    }
}

impl TextUniforms {
    /// Returns the numbers that a p-value may count.
    pub fn scored(&self) -> impl Iterator<Item = f64> + '_ {
        select(&self.u, &self.scored)
    }

    /// Returns the numbers that the reference implementation's scores count.
    pub fn reference_scored(&self) -> impl Iterator<Item = f64> + '_ {
        select(&self.u, &self.reference_mask)
    }
}

fn select<'a, T: Copy>(values: &'a [T], mask: &'a [bool]) -> impl Iterator<Item = T> + 'a {
    values.iter().zip(mask).filter_map(|(&value, &keep)| keep.then_some(value))
}
