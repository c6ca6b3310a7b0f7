//! The null law of a token's likelihood ratio: all 2^m patterns of g-bits, counted once.
//!
//! Layers are not independent in this model, so nothing shorter gives the law. The patterns are walked depth first and
//! carry the logits along. The last layers of each branch are computed side by side. That takes 2^m logistic functions,
//! some seconds at m = 30. The result is a table of about a thousand counts.
//!
//! The statistic is the ratio rounded down to the lattice of [`llr`](crate::statistics::llr). The walk computes each
//! ratio by the same operations in the same order as [`BayesianModel::ratio`]. IEEE 754 defines all of them exactly. So
//! on any machine the ratio lands in the cell in which `score` puts the pattern, and p is exact.

use super::model::{BayesianModel, factor};
use super::sigmoid::sigmoid;
use crate::pool;
use crate::statistics::llr::lattice::{CELL_SHIFT, lattice_of_cell};
use crate::statistics::llr::laws::Laws;

/// Number of layers whose patterns are counted. The p-value of a detector with more layers comes from its first 30.
/// Their ratio has mean 1 as well, since a layer's factor depends only on earlier layers.
pub const EXACT_LAYERS: usize = 30;

/// Number of layers at the end of a branch that are computed side by side: 2^10 ratios fit the first-level cache.
const SIDE_BY_SIDE: usize = 10;

/// Number of layers at the start whose patterns are dealt out to threads.
const DEALT: usize = 6;

/// The cells from a ratio of 2^−31, below (1/2)^30, to 2^18, above (3/2)^30.
const FIRST_CELL: u64 = (1023 - 31) << (52 - CELL_SHIFT);
const CELLS: usize = (31 + 18) << (52 - CELL_SHIFT);

/// Counts the lattice scores of `model`'s first `layers` layers, at most [`EXACT_LAYERS`], over all their patterns,
/// and sums the probabilities that the model itself gives them in marked text. Uses up to `threads` threads; with
/// one, none is started. The counts do not depend on `threads`.
pub(super) fn enumerate(model: &BayesianModel, layers: usize, threads: usize) -> Laws {
    let dealt = layers.saturating_sub(SIDE_BY_SIDE).min(DEALT);
    let starts = 1 << dealt;
    let threads = threads.clamp(1, starts);
    let part = |index: usize| {
        let mut histogram = Histogram::new();
        let mut walk = Walk::new(model, layers, |ratios| histogram.add(ratios));
        for start in (index..starts).step_by(threads) {
            walk.visit_start(start, dealt);
        }
        histogram
    };
    let mut total = Histogram::new();
    for part in pool::on_each(threads, part) {
        total.merge(&part);
    }
    total.laws(layers)
}

/// Visits all patterns of a model's first layers, a block of ratios at a time.
struct Walk<'a, F> {
    model: &'a BayesianModel,
    layers: usize,
    side_by_side: usize,
    /// Ratios of the patterns of a branch's last layers; bit i of the index is the i-th of these layers.
    ratios: Vec<f64>,
    /// Logits of one of these layers, for the patterns of those before it.
    logits: Vec<f64>,
    visit: F,
}

impl<'a, F: FnMut(&[f64])> Walk<'a, F> {
    fn new(model: &'a BayesianModel, layers: usize, visit: F) -> Self {
        let side_by_side = layers.min(SIDE_BY_SIDE);
        Self {
            model,
            layers,
            side_by_side,
            ratios: vec![0.0; 1 << side_by_side],
            logits: vec![0.0; 1 << side_by_side.saturating_sub(1)],
            visit,
        }
    }

    /// Visits the patterns whose first `dealt` layers are the bits of `start`.
    fn visit_start(&mut self, start: usize, dealt: usize) {
        let mut logits = self.model.beta()[..self.layers].to_vec();
        let mut ratio = 1.0;
        for l in 0..dealt {
            let bit = (start >> l & 1) as u64;
            ratio *= factor(sigmoid(logits[l]), bit);
            if bit == 1 {
                self.set(l, &mut logits[l + 1..]);
            }
        }
        self.branch(dealt, ratio, &logits[dealt..]);
    }

    /// Adds the weights of g_layer = 1 to the logits of the layers after it.
    fn set(&self, layer: usize, logits: &mut [f64]) {
        for (i, logit) in logits.iter_mut().enumerate() {
            *logit += self.model.delta(layer + 1 + i)[layer];
        }
    }

    /// Visits both branches at `layer`, after bits that give this ratio and these logits of the layers from `layer` on.
    fn branch(&mut self, layer: usize, ratio: f64, logits: &[f64]) {
        if layer + self.side_by_side == self.layers {
            return self.block(layer, ratio, logits);
        }
        let q = sigmoid(logits[0]);
        self.branch(layer + 1, ratio * factor(q, 0), &logits[1..]);
        let mut after = [0.0; EXACT_LAYERS];
        let after = &mut after[..logits.len() - 1];
        after.copy_from_slice(&logits[1..]);
        self.set(layer, after);
        self.branch(layer + 1, ratio * factor(q, 1), after);
    }

    /// Visits all patterns of the layers from `first` on.
    fn block(&mut self, first: usize, ratio: f64, logits: &[f64]) {
        self.ratios[0] = ratio;
        for (k, &logit) in logits.iter().enumerate() {
            let patterns = 1 << k;
            // Patterns with bit j set repeat those without it, plus one weight.
            self.logits[0] = logit;
            for (j, &weight) in self.model.delta(first + k)[first..].iter().enumerate() {
                let (without, with) = self.logits[..2 << j].split_at_mut(1 << j);
                with.iter_mut().zip(without).for_each(|(new, old)| *new = *old + weight);
            }
            let (zeros, ones) = self.ratios[..2 * patterns].split_at_mut(patterns);
            for ((zero, one), z) in zeros.iter_mut().zip(ones).zip(&self.logits[..patterns]) {
                let q = sigmoid(*z);
                *one = *zero * factor(q, 1);
                *zero *= factor(q, 0);
            }
        }
        (self.visit)(&self.ratios);
    }
}

struct Histogram {
    counts: Vec<u64>,
    sums: Vec<f64>,
}

impl Histogram {
    fn new() -> Self {
        Self { counts: vec![0; CELLS], sums: vec![0.0; CELLS] }
    }

    fn add(&mut self, ratios: &[f64]) {
        for ratio in ratios {
            let cell = ((ratio.to_bits() >> CELL_SHIFT) - FIRST_CELL) as usize;
            self.counts[cell] += 1;
            self.sums[cell] += ratio;
        }
    }

    fn merge(&mut self, part: &Self) {
        self.counts.iter_mut().zip(&part.counts).for_each(|(a, b)| *a += b);
        self.sums.iter_mut().zip(&part.sums).for_each(|(a, b)| *a += b);
    }

    fn laws(&self, layers: usize) -> Laws {
        let lattice = |index: usize| lattice_of_cell(FIRST_CELL + index as u64);
        let used = |index: &usize| self.counts[*index] > 0;
        // There is at least one pattern.
        let first = (0..CELLS).find(used).map_or(0, lattice);
        let last = (0..CELLS).rfind(used).map_or(0, lattice);
        let len = (last - first) as usize + 1;
        let mut laws = Laws { first, null: vec![0; len], marked: vec![0.0; len] };
        for index in (0..CELLS).filter(used) {
            let entry = (lattice(index) - first) as usize;
            laws.null[entry] += self.counts[index];
            laws.marked[entry] += self.sums[index] / (1_u64 << layers) as f64;
        }
        laws
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::small;
    use super::*;
    use crate::scheme::GBits;
    use crate::statistics::llr::lattice::lattice;

    /// The walk's ratios equal those that `score` computes, to the last bit.
    #[test]
    fn every_pattern_once_with_the_same_bits() {
        for (depth, layers) in [(1, 1), (4, 4), (10, 10), (13, 13), (18, 12)] {
            let model = small(depth);
            let mut walked = Vec::new();
            let mut walk = Walk::new(&model, layers, |r| walked.extend(r.iter().map(|r| r.to_bits())));
            for start in 0..4.min(1 << (layers.max(10) - 10)) {
                walk.visit_start(start, layers.saturating_sub(10).min(2));
            }
            let mut scored: Vec<u64> =
                (0..1 << layers).map(|g| model.ratio_of_first(layers, GBits(g)).to_bits()).collect();
            walked.sort_unstable();
            scored.sort_unstable();
            assert!(walked == scored, "{depth} {layers}");
        }
    }

    #[test]
    fn laws_are_counts() {
        let (model, layers) = (small(18), 15);
        let laws = enumerate(&model, layers, 1);
        let mut expected =
            Laws { null: vec![0; laws.null.len()], marked: vec![0.0; laws.null.len()], ..laws };
        for g in 0..1 << layers {
            let ratio = model.ratio_of_first(layers, GBits(g));
            expected.null[(lattice(ratio) - laws.first) as usize] += 1;
            expected.marked[(lattice(ratio) - laws.first) as usize] += ratio / f64::from(1 << layers);
        }
        assert_eq!(laws.null, expected.null);
        assert!(laws.marked.iter().zip(&expected.marked).all(|(a, b)| (a - b).abs() < 1e-12));
        assert!((laws.marked.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(enumerate(&model, layers, 5).null, laws.null);
    }

    /// The most extreme weights stay inside the histogram.
    #[test]
    fn ends_of_the_range() {
        let model = BayesianModel::new(&[100.0; 30], &[0.0; 900], 0.5).unwrap();
        for bits in [0, GBits(u64::MAX).0] {
            let cell = model.ratio(GBits(bits)).to_bits() >> CELL_SHIFT;
            assert!((FIRST_CELL..FIRST_CELL + CELLS as u64).contains(&cell));
        }
    }
}
