//! The law of a weighted sum of fair bits.

use std::f64::consts::LN_2;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::inversion::{FEW_TOKENS, Inversion, Nodes, Tilted};
use super::weights::Weights;
use crate::statistics::scored::Scored;

/// The null law of W = Σ over n tokens of Σ_l a_l g_l, with positive integer weights a_l and fair bits g_l.
///
/// With the tilt θ > 0, A(j) = e^{θj} P(W ≥ j) is summable over the integers. Its Fourier transform is M(θ) φ(ω) / (1 −
/// e^{−θ−iω}), where M is the moment generating function and φ the characteristic function of the tilted law. Inverting
/// it with N equally spaced nodes gives Σ_j A(w + jN): P(W ≥ w) and further terms that are all ≥ 0. So p is overstated,
/// never understated. θ is the saddle point (tilted mean = w), where the nodes' values hardly cancel. But θ is at least
/// 3/σ, since N grows as 1/θ; there the values cancel to a hundredth at most. N is such that the further terms are
/// around 1e-15 of p.
#[derive(Clone, Debug)]
pub(crate) struct WeightedNull {
    weights: Weights,
    /// For each n of [`LISTED`], the inversion that serves all w up to about three σ above the mean, once one is asked
    /// for.
    lists: Vec<OnceLock<Box<Inversion>>>,
    /// For each n below [`LISTED`], what has been computed, once something is asked for.
    few: Vec<OnceLock<Arc<Few>>>,
}

/// Numbers of tokens for which nodes are kept that serve all values. Longer texts take longer to hash than to invert;
/// shorter ones have thousands of nodes.
const LISTED: Range<u64> = 16..2049;

/// The kept part of a few tokens' law. Each tail takes thousands of nodes, but there are few tails.
#[derive(Debug)]
struct Few {
    /// ln P(W ≥ w) as bits, for w from the middle on. 0 marks a value that was not asked for; no such tail has it.
    known: Vec<AtomicU64>,
    /// The nodes of the values up to about three σ above the mean, if these share them.
    nodes: OnceLock<Nodes>,
}

impl WeightedNull {
    /// Makes the law for positive weights. Takes half a millisecond at depth 30: make one and keep it.
    pub(crate) fn new(weights: &[u32]) -> Self {
        Self {
            weights: Weights::new(weights),
            lists: LISTED.map(|_| OnceLock::new()).collect(),
            few: (0..LISTED.start).map(|_| OnceLock::new()).collect(),
        }
    }

    /// Returns the weights a_l.
    pub(crate) fn weights(&self) -> &[u32] {
        self.weights.as_slice()
    }

    /// Returns the largest value that W can take for n tokens, n Σ a_l.
    pub(crate) fn max(&self, n: u64) -> u64 {
        self.weights.max(n)
    }

    /// Returns ln P(W ≥ w) for n tokens; −∞ for w above [`WeightedNull::max`].
    pub(crate) fn tail(&self, n: u64, w: u64) -> f64 {
        let top = self.max(n);
        if w == 0 {
            0.0
        } else if w > top {
            f64::NEG_INFINITY
        } else if w == top {
            -(n as f64) * self.weights().len() as f64 * LN_2
        } else if w <= top / 2 {
            // W and top − W have the same law.
            (-self.tail(n, top - w + 1).exp()).ln_1p()
        } else {
            self.upper(n, w)
        }
    }

    /// Returns ln P(Σ m W_m ≥ w) for tokens that count by shares: W_m is the sum of those of m thirds.
    pub(crate) fn tail_of_shares(&self, scored: Scored, w: u64) -> f64 {
        let parts: Vec<(u64, u64)> = scored.parts().into_iter().filter(|part| part.1 > 0).collect();
        match parts[..] {
            [] => self.tail(0, w),
            [(m, n)] => self.tail(n, w.div_ceil(m)),
            _ => {
                let top = self.max(scored.thirds());
                if w == 0 {
                    0.0
                } else if w > top {
                    f64::NEG_INFINITY
                } else if w == top {
                    -(scored.tokens() as f64) * self.weights().len() as f64 * LN_2
                } else if w <= top / 2 {
                    // The sum and top less the sum have the same law.
                    (-self.tail_of_shares(scored, top - w + 1).exp()).ln_1p()
                } else {
                    let theta = self.weights.tilt_of_parts(&parts, w);
                    let tilted = Tilted::of_parts(&self.weights, &parts, theta);
                    tilted.nodes(tilted.count(w), scored.tokens() <= FEW_TOKENS).ln_tail(w)
                }
            }
        }
    }

    /// Computes [`WeightedNull::tail`] for top/2 < w < top.
    fn upper(&self, n: u64, w: u64) -> f64 {
        if let Some(few) = self.few.get(n as usize) {
            return self.upper_of_few(few, n, w);
        }
        if let Some(list) = n.checked_sub(LISTED.start).and_then(|i| self.lists.get(i as usize)) {
            let list = list.get_or_init(|| {
                let theta = self.weights.least_tilt(n);
                // The tilted mean, rounded down, and no less than the middle.
                let limit = (self.weights.tilted_mean(theta) * n as f64) as u64;
                Box::new(Inversion::new(
                    &self.weights,
                    n,
                    limit.clamp(self.max(n) / 2 + 1, self.max(n) - 1),
                    theta,
                    true,
                ))
            });
            if w <= list.limit() {
                return list.ln_tail(w);
            }
        }
        Inversion::new(&self.weights, n, w, self.weights.tilt(n, w), false).ln_tail(w)
    }

    fn upper_of_few(&self, few: &OnceLock<Arc<Few>>, n: u64, w: u64) -> f64 {
        let middle = self.max(n) / 2;
        let few = few.get_or_init(|| {
            let known = (middle..self.max(n)).map(|_| AtomicU64::new(0)).collect();
            Arc::new(Few { known, nodes: OnceLock::new() })
        });
        let known = &few.known[(w - middle) as usize];
        // Threads that meet here compute the same number.
        match known.load(Ordering::Relaxed) {
            0 => {
                let theta = self.weights.tilt(n, w);
                let tilted = Tilted::new(&self.weights, n, theta);
                let count = tilted.count(w);
                let shared = theta == self.weights.least_tilt(n) && count == tilted.count(middle + 1);
                let ln = if shared {
                    few.nodes.get_or_init(|| tilted.nodes(count, true)).ln_tail(w)
                } else {
                    tilted.nodes(count, true).ln_tail(w)
                };
                known.store(ln.to_bits(), Ordering::Relaxed);
                ln
            }
            bits => f64::from_bits(bits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::weighted_mean::weights;
    use super::*;

    /// Kept and shared values equal what each value's own inversion gives, to the bit.
    #[test]
    fn tails_of_few_tokens_are_their_inversions() {
        for depth in [1, 2, 30] {
            let null = WeightedNull::new(&weights(depth));
            for n in 1..LISTED.start {
                let (middle, top) = (null.max(n) / 2, null.max(n));
                for w in [middle + 1, middle + 2, middle + (top - middle) / 9, top - 1] {
                    if (middle + 1..top).contains(&w) {
                        let inversion = Inversion::new(&null.weights, n, w, null.weights.tilt(n, w), false);
                        let expected = inversion.ln_tail(w).to_bits();
                        assert_eq!(
                            [0, 1].map(|_| null.tail(n, w).to_bits()),
                            [expected; 2],
                            "{depth} {n} {w}"
                        );
                        let few = null.few[n as usize].get().unwrap();
                        assert_eq!(few.known[(w - middle) as usize].load(Ordering::Relaxed), expected);
                    }
                }
                // The usual values of three tokens and more do share.
                let shared = null.few[n as usize].get().is_some_and(|few| few.nodes.get().is_some());
                assert!(shared || depth < 30 || n < 3, "{n}");
            }
        }
    }

    /// Any tilt gives the same tail, and a list the same as an inversion for one value: different nodes, one law.
    #[test]
    fn tilts_and_lists_agree() {
        let null = WeightedNull::new(&weights(30));
        let squares: f64 = weights(30).iter().map(|&a| f64::from(a) * f64::from(a)).sum();
        for n in [16, 60, 129, 700, 2048, 5000] {
            let sigma = 0.5 * (n as f64 * squares).sqrt();
            for z in [1e-3, 0.4, 1.0, 2.0, 2.8, 3.2, 8.0] {
                let w = null.max(n) / 2 + 1 + (z * sigma) as u64;
                let found = null.tail(n, w);
                for theta in [z.max(2.0) * 0.8 / sigma, z.max(2.0) * 1.2 / sigma] {
                    for list in [false, true] {
                        let other = Inversion::new(&null.weights, n, w, theta, list).ln_tail(w);
                        assert!((found - other).abs() < 2e-11, "{n} {z} {theta}: {found} and {other}");
                    }
                }
            }
        }
    }
}
