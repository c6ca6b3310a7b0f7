//! The law of the lattice score of one token, counted over all 2^depth patterns of its g-bits.
//!
//! A pattern is a pair of halves. Its likelihood ratio is a sum over classes of products of two tabulated numbers, so
//! 2^30 patterns take seconds. The counts are exact. They are the null law, since all patterns are equally likely.

use crate::pool;

use super::classes::{EntropyClasses, Lanes, MAX_CLASSES};
use super::lattice::{CELL_SHIFT, lattice_of_cell};
use super::laws::Laws;

/// The cell of LR = 1, and how far the histogram reaches to either side: 2^±64. LR of 30 layers and weights of at least
/// 2^-16 lies within 2^±46.
const CELL_OF_ONE: u64 = 1023 << (52 - CELL_SHIFT);
const REACH: u64 = 64 << (52 - CELL_SHIFT);

/// Counts the lattice scores of `mixture` over all patterns, and sums the probabilities that `alternative` gives them.
/// The alternative has the same depth; `None` is the mixture itself. Uses up to `threads` threads; with one, none is
/// started. The counts do not depend on `threads`.
pub(crate) fn enumerate(
    mixture: &EntropyClasses,
    alternative: Option<&EntropyClasses>,
    threads: usize,
) -> Laws {
    let own = Halves::new(mixture);
    let other = alternative.map(Halves::new);
    let rows = own.high.len();
    let threads = threads.clamp(1, rows);
    let part = |index: usize| {
        let mut histogram = Histogram::new();
        for row in (index..rows).step_by(threads) {
            histogram.add_row(&own, other.as_ref(), row);
        }
        histogram
    };
    let mut total = Histogram::new();
    for part in pool::on_each(threads, part) {
        total.merge(&part);
    }
    total.laws(mixture.depth())
}

/// The two tables of products; the first has one row a class.
struct Halves {
    low: Vec<Vec<f64>>,
    high: Vec<Lanes>,
}

impl Halves {
    fn new(mixture: &EntropyClasses) -> Self {
        let (low, high) = mixture.tables();
        let rows = (0..MAX_CLASSES.min(mixture.count()))
            .map(|k| low.iter().map(|lanes| lanes[k]).collect())
            .collect();
        Self { low: rows, high }
    }

    /// Fills `out` with LR of the patterns whose second half is `row`, in the order of their first half, from `start`
    /// on.
    fn fill(&self, row: usize, start: usize, out: &mut [f64]) {
        for (k, low) in self.low.iter().enumerate() {
            let factor = self.high[row][k];
            let low = &low[start..start + out.len()];
            if k == 0 {
                out.iter_mut().zip(low).for_each(|(out, low)| *out = low * factor);
            } else {
                out.iter_mut().zip(low).for_each(|(out, low)| *out += low * factor);
            }
        }
    }
}

struct Histogram {
    counts: Vec<u64>,
    sums: Vec<f64>,
}

impl Histogram {
    fn new() -> Self {
        Self { counts: vec![0; 2 * REACH as usize], sums: vec![0.0; 2 * REACH as usize] }
    }

    fn add_row(&mut self, own: &Halves, other: Option<&Halves>, row: usize) {
        const BLOCK: usize = 512;
        let (mut ratio, mut weight) = ([0.0; BLOCK], [0.0; BLOCK]);
        let patterns = own.low[0].len();
        for start in (0..patterns).step_by(BLOCK) {
            let len = BLOCK.min(patterns - start);
            own.fill(row, start, &mut ratio[..len]);
            match other {
                Some(other) => other.fill(row, start, &mut weight[..len]),
                None => weight[..len].copy_from_slice(&ratio[..len]),
            }
            for (ratio, weight) in ratio[..len].iter().zip(&weight[..len]) {
                let cell = ((ratio.to_bits() >> CELL_SHIFT) - (CELL_OF_ONE - REACH)) as usize;
                self.counts[cell] += 1;
                self.sums[cell] += weight;
            }
        }
    }

    fn merge(&mut self, part: &Self) {
        self.counts.iter_mut().zip(&part.counts).for_each(|(a, b)| *a += b);
        self.sums.iter_mut().zip(&part.sums).for_each(|(a, b)| *a += b);
    }

    fn laws(&self, depth: usize) -> Laws {
        let lattice = |index: usize| lattice_of_cell(CELL_OF_ONE - REACH + index as u64);
        let used = |index: &usize| self.counts[*index] > 0;
        // There is at least one pattern.
        let first = (0..self.counts.len()).find(used).map_or(0, lattice);
        let last = (0..self.counts.len()).rfind(used).map_or(0, lattice);
        let mut laws = Laws {
            first,
            null: vec![0; (last - first) as usize + 1],
            marked: vec![0.0; (last - first) as usize + 1],
        };
        for index in (0..self.counts.len()).filter(used) {
            let entry = (lattice(index) - first) as usize;
            laws.null[entry] += self.counts[index];
            laws.marked[entry] += self.sums[index] / (1_u64 << depth) as f64;
        }
        laws
    }
}

#[cfg(test)]
mod tests {
    use super::super::lattice::{STEP, lattice};
    use super::*;
    use crate::scheme::GBits;

    fn mixture(depth: usize) -> EntropyClasses {
        let row = |start: f64| (0..depth).map(|l| start - 0.01 * l as f64).collect();
        EntropyClasses::from_real(&[0.5, 0.2, 0.3], &[row(0.1), row(0.5), row(0.9)]).unwrap()
    }

    /// Compares with scoring every pattern by itself. The mean of LR is 1, and that of e^{hS} a little less.
    #[test]
    fn laws_are_those_of_the_scores() {
        for depth in [1, 2, 7, 12] {
            let mixture = mixture(depth);
            let laws = enumerate(&mixture, None, 3);
            let (mut counts, mut sums) = (vec![0_u64; laws.null.len()], vec![0.0; laws.null.len()]);
            let mut mean = 0.0;
            for bits in 0..1_u64 << depth {
                let ratio = mixture.likelihood_ratio(GBits(bits));
                let entry = (lattice(ratio) - laws.first) as usize;
                counts[entry] += 1;
                sums[entry] += ratio / (1_u64 << depth) as f64;
                mean += ratio / (1_u64 << depth) as f64;
            }
            assert_eq!(counts, laws.null);
            assert!((mean - 1.0).abs() < 1e-12);
            assert!((laws.marked.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert!(sums.iter().zip(&laws.marked).all(|(a, b)| (a - b).abs() < 1e-12));
            let e_value: f64 =
                (laws.first..).zip(&laws.null).map(|(s, &n)| (f64::from(s) * STEP).exp() * n as f64).sum();
            let e_value = e_value / (1_u64 << depth) as f64;
            assert!(e_value <= 1.0 && e_value > 0.95, "{e_value}");
        }
    }

    #[test]
    fn threads_do_not_change_the_counts_and_another_law_may_follow() {
        let (own, other) = (mixture(11), EntropyClasses::from_real(&[1.0], &[vec![0.3; 11]]).unwrap());
        let one = enumerate(&own, Some(&other), 1);
        let many = enumerate(&own, Some(&other), 7);
        assert_eq!((one.first, &one.null), (many.first, &many.null));
        assert!(one.marked.iter().zip(&many.marked).all(|(a, b)| (a - b).abs() < 1e-12));
        assert!((one.marked.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_ne!(one.marked, enumerate(&own, None, 1).marked);
    }
}
