//! Detectors that see the text alone: each turns the g-bits of the scored tokens into a score and a p-value.
//!
//! Null hypothesis: the text does not depend on the key. Then the g-bits of distinct (context, token) pairs are
//! independent fair coins, whatever the text is, so the null law of a statistic depends only on the number of
//! scored tokens and the depth. A position is scored if its context is complete and has not come up before, which
//! makes the pairs distinct.
//!
//! | file | what |
//! |---|---|
//! | [`mean`] | share of ones |
//! | [`weighted_mean`] | share of ones, early layers weigh more |
//! | [`llr`] | likelihood ratio against fair bits, from a profile of marked text |
//! | [`bayesian`] | posterior of a trained detector |
//! | [`null`] | the null distributions that they share |
//! | [`power`] | how long a text must be |
//! | [`attribution`] | which of many keys |

pub mod attribution;
pub mod bayesian;
pub mod llr;
pub mod mean;
pub mod null;
pub mod power;
pub mod weighted_mean;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use bayesian::Bayesian;
pub use llr::{Llr, Profile};
pub use mean::Mean;
pub use null::TableNull;
pub use weighted_mean::WeightedMean;

use crate::scheme::gvalues::GBits;

/// How often each layer's g-bit was one among the scored tokens of a text: all that the mean and the weighted mean
/// need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerCounts {
    tokens: u64,
    /// `ones[l]` ≤ `tokens`, for each layer l < depth.
    ones: Vec<u64>,
}

/// The bits of a byte as the bytes of a word.
const SPREAD: [u64; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut bit = 0;
        while bit < 8 {
            table[byte] |= (byte as u64 >> bit & 1) << (8 * bit);
            bit += 1;
        }
        byte += 1;
    }
    table
};

impl LayerCounts {
    /// Counts over the g-bits of the scored tokens; bits at `depth` and above are ignored.
    pub fn new(depth: usize, scored: impl IntoIterator<Item = GBits>) -> Self {
        let (mut tokens, mut ones) = (0, vec![0; depth]);
        // Eight layers to a word, a byte each; a byte can count 255 tokens.
        let mut sums = [0_u64; 8];
        let used = depth.div_ceil(8).min(8);
        let mut flush = |sums: &mut [u64; 8]| {
            for (ones, sum) in ones.chunks_mut(8).zip(sums) {
                ones.iter_mut().zip(sum.to_le_bytes()).for_each(|(ones, byte)| *ones += u64::from(byte));
                *sum = 0;
            }
        };
        for g in scored {
            for (sum, byte) in sums[..used].iter_mut().zip(g.0.to_le_bytes()) {
                *sum += SPREAD[usize::from(byte)];
            }
            tokens += 1;
            if tokens % 255 == 0 {
                flush(&mut sums);
            }
        }
        flush(&mut sums);
        Self { tokens, ones }
    }

    /// Adds the counts of another part of the text, of the same depth.
    pub fn add(&mut self, other: &Self) {
        debug_assert_eq!(self.depth(), other.depth());
        self.tokens += other.tokens;
        self.ones.iter_mut().zip(&other.ones).for_each(|(sum, ones)| *sum += ones);
    }

    /// Number of scored tokens n.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Number of layers m.
    pub fn depth(&self) -> usize {
        self.ones.len()
    }

    /// Ones per layer, `depth` entries, layer 0 first.
    pub fn ones(&self) -> &[u64] {
        &self.ones
    }
}

/// What a p-value promises under the null hypothesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PKind {
    /// The probability itself of a score at least this high (rounding errors around 1e-12 of it aside).
    Exact,
    /// An upper bound of it: P(p ≤ a) ≤ a, possibly much less.
    Conservative,
    /// Computed as if the scheme's g-bits were independent fair coins, which its hash does not guarantee.
    Approximate,
}

/// A p-value, kept as its logarithm since it goes far below the smallest `f64`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PValue {
    /// log₁₀ p, finite and ≤ 0.
    pub log10: f64,
    /// What it promises.
    pub kind: PKind,
}

impl PValue {
    /// From ln p, as [`null`] gives it.
    pub(crate) fn from_ln(ln: f64, kind: PKind) -> Self {
        // `+ 0.0` turns -0.0 into 0.0, which would be printed with its sign.
        Self { log10: (ln * std::f64::consts::LOG10_E).min(0.0) + 0.0, kind }
    }

    /// p itself, never below the smallest normal `f64`: a p-value of 0 would be wrong, a larger one is safe.
    pub fn p(self) -> f64 {
        10f64.powf(self.log10).max(f64::MIN_POSITIVE)
    }

    /// The p-value of the best of `tries` p-values: min(1, tries · p) (Bonferroni).
    pub fn corrected(self, tries: usize) -> Self {
        Self { log10: (self.log10 + (tries.max(1) as f64).log10()).min(0.0) + 0.0, kind: self.kind }
    }

    /// Whether p ≤ `level`.
    pub fn reaches(self, level: f64) -> bool {
        self.log10 <= level.log10()
    }
}

/// `3.1e-12`, also where p is below the smallest `f64`; rounded up, so that the text never understates p.
impl fmt::Display for PValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.log10 > -3.0 {
            let thousands = (self.p() * 1000.0 * (1.0 - 1e-12)).ceil() / 1000.0;
            return write!(f, "{}", thousands.clamp(0.001, 1.0));
        }
        let mut exponent = self.log10.floor();
        let mut tenths = (10f64.powf(self.log10 - exponent + 1.0) * (1.0 - 1e-9)).ceil() as u32;
        if tenths >= 100 {
            exponent += 1.0;
            tenths = 10;
        }
        write!(f, "{}.{}e{exponent}", tenths / 10, tenths % 10)
    }
}

/// Which statistic decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// [`WeightedMean`].
    #[default]
    WeightedMean,
    /// [`Mean`].
    Mean,
    /// [`Llr`].
    Llr,
    /// [`Bayesian`]; it has no weights of its own and needs those of a detector.
    Bayesian,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::WeightedMean, Self::Mean, Self::Llr, Self::Bayesian];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::WeightedMean => "weighted_mean",
            Self::Mean => "mean",
            Self::Llr => "llr",
            Self::Bayesian => "bayesian",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name is not a detector's.
#[derive(Debug, thiserror::Error)]
#[error("expected the detector weighted-mean, mean, llr or bayesian, found {found:?}")]
pub struct UnknownMethod {
    found: String,
}

/// Accepts the JSON name and the command line's (`weighted_mean`, `weighted-mean`).
impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let name = s.replace('-', "_");
        Self::ALL.into_iter().find(|k| k.name() == name).ok_or_else(|| UnknownMethod { found: s.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_layer_and_ignores_bits_above_the_depth() {
        let counts = LayerCounts::new(3, [GBits(0b1101), GBits(0b0100), GBits(0b1000)]);
        assert_eq!(counts.tokens(), 3);
        assert_eq!(counts.ones(), [1, 0, 2]);
        assert_eq!(LayerCounts::new(64, [GBits(u64::MAX)]).ones(), [1; 64]);
        for (depth, tokens) in [(1, 255), (30, 256), (33, 1000), (64, 511)] {
            let g = |t: u64| GBits(t.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ t << 7);
            let counts = LayerCounts::new(depth, (0..tokens).map(g));
            let ones = |l: usize| (0..tokens).map(|t| g(t).layer(l)).sum::<u64>();
            assert_eq!(counts.ones(), (0..depth).map(ones).collect::<Vec<_>>());
            assert_eq!(counts.tokens(), tokens);
        }
    }

    #[test]
    fn p_values_print_rounded_up() {
        let p = |log10| PValue { log10, kind: PKind::Exact };
        for (log10, text) in [
            (0.0, "1"),
            (0.5f64.log10(), "0.5"),
            (0.0123f64.log10(), "0.013"),
            (-3.0, "1.0e-3"),
            (3.14e-12f64.log10(), "3.2e-12"),
            (9.99e-12f64.log10(), "1.0e-11"),
            (-1537.07, "8.6e-1538"),
        ] {
            assert_eq!(p(log10).to_string(), text);
        }
        assert!(p(-1537.0).p() > 0.0);
    }

    #[test]
    fn correction_for_several_tries_stops_at_one() {
        let p = PValue { log10: -3.0, kind: PKind::Exact };
        assert_eq!(p.corrected(1), p);
        assert!((p.corrected(100).p() - 0.1).abs() < 1e-15);
        assert_eq!(p.corrected(10_000).log10, 0.0);
        assert!(p.reaches(1e-3) && !p.corrected(2).reaches(1e-3));
    }

    #[test]
    fn detector_names() {
        for kind in Method::ALL {
            assert_eq!(kind.name().parse::<Method>().unwrap(), kind);
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        assert_eq!("weighted-mean".parse::<Method>().unwrap(), Method::WeightedMean);
        assert!("median".parse::<Method>().unwrap_err().to_string().contains("weighted-mean"));
    }
}
