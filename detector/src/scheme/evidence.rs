//! What a text says under one key: the values of its positions, and which of them count.

use std::fmt;

/// What a keyed function says of one (context, token), as bits; [`EvidenceKind`] says how they are read. In a tournament
/// bit l is the g-value of layer l, layer 0 the least significant; higher bits are 0. For a green list it is 1 where the
/// token is green, else 0. For uniform numbers see [`Uniforms`].
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

/// How much a position counts in a p-value, which depends on the text alone. A token that could be foreseen from the
/// text tells less about the key.
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
/// Each kind has values and the same two masks, with one entry for each position t ≥ `first`. A text of at most `first`
/// tokens has no entries.
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
        /// Probability of green under the null hypothesis, γ, or a bound of it.
        rate: f64,
    },
    /// [`Evidence::Uniform`].
    Uniform(Uniforms),
}

/// How the bits of a scheme with uniform numbers are read. Under the null hypothesis each number n is uniform among 0
/// to `steps` − 1. So n / `steps` is a uniform number of [0, 1), rounded down.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Uniforms {
    /// How many numbers there are: at most 2^32 with two keys, else at most 2^53.
    pub steps: u64,
    /// Share of the second key in a scheme with two keys. A token then has two numbers: the first key's in the low 32
    /// bits, the second key's in the high 32 bits. `None` if a token has one number.
    pub second_share: Option<f64>,
}

impl Uniforms {
    /// Returns the numbers of a token in [0, 1): that of the key, or those of the first and the second key.
    pub fn read(self, g: GBits) -> [Option<f64>; 2] {
        let unit = |number: u64| number as f64 / self.steps as f64;
        match self.second_share {
            None => [Some(unit(g.0)), None],
            Some(_) => [Some(unit(g.0 & u64::from(u32::MAX))), Some(unit(g.0 >> 32))],
        }
    }

    /// Returns −ln(1 − u) of a token; with two keys, the mean weighted by their shares. Its expectation is at most 1
    /// under the null hypothesis.
    pub fn exponential(self, g: GBits) -> f64 {
        let exponential = |u: Option<f64>| u.map_or(0.0, |u| -(-u).ln_1p());
        let [first, second] = self.read(g).map(exponential);
        match self.second_share {
            None => first,
            Some(share) => (1.0 - share) * first + share * second,
        }
    }
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layers { depth } => write!(f, "g-bits of {depth} layers"),
            Self::Green { rate } => write!(f, "green bits at rate {rate}"),
            Self::Uniform(Uniforms { second_share: None, .. }) => f.write_str("uniform numbers"),
            Self::Uniform(_) => f.write_str("uniform numbers of two keys"),
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
    /// True where the position counts with at least two thirds. Statistics without shares count these positions wholly,
    /// and no others.
    pub scored: Vec<bool>,
    /// How much each position counts.
    pub shares: Vec<Share>,
    /// The mask that the reference implementation would use for its scores; our own for our own schemes.
    pub reference_mask: Vec<bool>,
}

/// Which tokens of a text are on their position's green list. Under the null hypothesis a scored position is green
/// with a probability of at most `rate`.
#[derive(Clone, PartialEq, Debug)]
pub struct TextGreens {
    /// Index of the first position in the text that has a value.
    pub first: usize,
    /// Probability of green under the null hypothesis, γ, or a bound of it.
    pub rate: f64,
    /// 1 where the token of position `first` + i is green, else 0.
    pub green: Vec<GBits>,
    /// True where the position counts in a p-value.
    pub scored: Vec<bool>,
    /// The mask that the reference implementation would use for its scores.
    pub reference_mask: Vec<bool>,
}

/// The numbers that the tokens of a text were drawn by. Under the null hypothesis the number of a scored position is
/// uniform in [0, 1), or at most such a number.
#[derive(Clone, PartialEq, Debug)]
pub struct TextUniforms {
    /// Index of the first position in the text that has a value.
    pub first: usize,
    /// How the numbers are read.
    pub law: Uniforms,
    /// The number of position `first` + i, or the two numbers.
    pub numbers: Vec<GBits>,
    /// True where the position counts in a p-value.
    pub scored: Vec<bool>,
    /// The mask that the reference implementation would use for its scores.
    pub reference_mask: Vec<bool>,
}

impl Evidence {
    /// Returns the kind of evidence.
    pub fn kind(&self) -> EvidenceKind {
        match self {
            Self::Layers(values) => EvidenceKind::Layers { depth: values.depth },
            Self::Green(values) => EvidenceKind::Green { rate: values.rate },
            Self::Uniform(values) => EvidenceKind::Uniform(values.law),
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

    /// Returns for each position whether it counts, and under `synthid-sha256-v2` at least two thirds. The weighted mean
    /// also counts thirds: see [`shares`](Self::shares).
    pub fn scored_mask(&self) -> &[bool] {
        match self {
            Self::Layers(values) => &values.scored,
            Self::Green(values) => &values.scored,
            Self::Uniform(values) => &values.scored,
        }
    }

    /// Returns what the keyed function says of each position's token.
    pub fn g_bits(&self) -> &[GBits] {
        match self {
            Self::Layers(values) => &values.g,
            Self::Green(values) => &values.green,
            Self::Uniform(values) => &values.numbers,
        }
    }

    /// Returns how much each position counts. In kinds without shares it counts wholly or not at all.
    pub fn shares(&self) -> Vec<Share> {
        match self {
            Self::Layers(values) => values.shares.clone(),
            Self::Green(_) | Self::Uniform(_) => {
                let share = |&scored: &bool| if scored { Share::Full } else { Share::Nothing };
                self.scored_mask().iter().map(share).collect()
            }
        }
    }

    /// Takes the i-th position out of those that count. The choice may depend on the text alone, or p is not valid.
    ///
    /// # Panics
    /// Panics if there is no such position.
    pub fn leave_out(&mut self, i: usize) {
        match self {
            Self::Layers(values) => {
                values.scored[i] = false;
                values.shares[i] = Share::Nothing;
            }
            Self::Green(values) => values.scored[i] = false,
            Self::Uniform(values) => values.scored[i] = false,
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
    /// Returns the g-values of the positions that count, and under `synthid-sha256-v2` at least two thirds.
    pub fn scored(&self) -> impl Iterator<Item = GBits> + '_ {
        select(&self.g, &self.scored)
    }

    /// Returns the g-values that the reference implementation's scores count.
    pub fn reference_scored(&self) -> impl Iterator<Item = GBits> + '_ {
        select(&self.g, &self.reference_mask)
    }
}

impl TextGreens {
    /// Returns for each position that a p-value may count whether its token is green.
    pub fn scored(&self) -> impl Iterator<Item = bool> + '_ {
        select(&self.green, &self.scored).map(|g| g.0 == 1)
    }
}

impl TextUniforms {
    /// Returns −ln(1 − u) of each position that a p-value may count; see [`Uniforms::exponential`].
    pub fn scored(&self) -> impl Iterator<Item = f64> + '_ {
        select(&self.numbers, &self.scored).map(|g| self.law.exponential(g))
    }
}

fn select<'a, T: Copy>(values: &'a [T], mask: &'a [bool]) -> impl Iterator<Item = T> + 'a {
    values.iter().zip(mask).filter_map(|(&value, &keep)| keep.then_some(value))
}
