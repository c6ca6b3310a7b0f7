//! A mixture of entropy classes: what one marked token's g-bits look like without the model.
//!
//! A token of class k carries g_l = 1 with probability 1/2 + ψ_kl/4, independently over layers. ψ_kl is the mean
//! collision entropy 1 − Σ p_l² that the tournament finds at layer l. Class k has the share π_k of the tokens. Against
//! fair bits the likelihood ratio is
//!
//! LR(g) = Σ_k π_k Π_l (1 + s_l ψ_kl / 2), s_l = 2 g_l − 1.
//!
//! Its mean under the null is exactly 1, whatever π and ψ are: wrong classes cost power, never validity.
//!
//! Weights and ψ are multiples of powers of two, so that a profile is read as it was written. A product uses only `+`
//! and `*` in one order, so that LR is the same `f64` on every machine.

use super::lattice::{CELL_SHIFT, lattice};
use crate::scheme::GBits;
use crate::statistics::null::TableNull;

/// Largest number of classes of a mixture.
pub const MAX_CLASSES: usize = 8;

/// Largest number of layers of a likelihood ratio: its null law is a table over 2^depth patterns.
pub const MAX_DEPTH: usize = 30;

/// Weights are multiples of this share.
pub const WEIGHT_UNITS: u32 = 1 << 16;

/// ψ are multiples of 1 / this.
pub const PSI_UNITS: u16 = 1 << 12;

/// One number a class; zero for classes that a mixture does not have.
pub(super) type Lanes = [f64; MAX_CLASSES];

/// What is wrong with the numbers of a mixture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClassesError {
    /// Too many classes, or none.
    #[error(
        "expected 1 to {MAX_CLASSES} classes with a weight and a row of psi each, found {weights} weights and {rows} \
         rows"
    )]
    Classes {
        /// Weights found.
        weights: usize,
        /// Rows of ψ found.
        rows: usize,
    },
    /// Too many layers, or none.
    #[error("expected rows of psi of one length, 1 to {MAX_DEPTH} layers, found a row of {found}")]
    Depth {
        /// Length of the offending row.
        found: usize,
    },
    /// The weights are not shares.
    #[error(
        "expected weights above 0 that add up to {WEIGHT_UNITS}, found a sum of {found} or a weight of 0"
    )]
    Weights {
        /// Their sum.
        found: u64,
    },
    /// A ψ is not in [0, 1].
    #[error("expected psi between 0 and {PSI_UNITS}, found {found}")]
    Psi {
        /// The offending number.
        found: u16,
    },
}

/// Classes with their weights and ψ.
#[derive(Clone, Debug, PartialEq)]
pub struct EntropyClasses {
    /// π_k · [`WEIGHT_UNITS`].
    weights: Vec<u32>,
    /// ψ_kl · [`PSI_UNITS`], one row a class, layer 0 first.
    psi: Vec<Vec<u16>>,
    start: Lanes,
    /// `factors[l][g]` = 1 ∓ ψ_l / 2.
    factors: Vec<[Lanes; 2]>,
}

impl EntropyClasses {
    /// Makes classes from weights in units of 1 / [`WEIGHT_UNITS`] and ψ in units of 1 / [`PSI_UNITS`], one row a
    /// class.
    ///
    /// # Errors
    /// Returns an error if a number is out of range.
    pub fn new(weights: Vec<u32>, psi: Vec<Vec<u16>>) -> Result<Self, ClassesError> {
        let classes = weights.len();
        if !(1..=MAX_CLASSES).contains(&classes) || psi.len() != classes {
            return Err(ClassesError::Classes { weights: classes, rows: psi.len() });
        }
        let depth = psi[0].len();
        if let Some(row) = psi.iter().find(|row| row.len() != depth || !(1..=MAX_DEPTH).contains(&row.len()))
        {
            return Err(ClassesError::Depth { found: row.len() });
        }
        let sum = weights.iter().map(|&w| u64::from(w)).sum();
        if sum != u64::from(WEIGHT_UNITS) || weights.contains(&0) {
            return Err(ClassesError::Weights { found: sum });
        }
        if let Some(&found) = psi.iter().flatten().find(|&&x| x > PSI_UNITS) {
            return Err(ClassesError::Psi { found });
        }
        let mut start = [0.0; MAX_CLASSES];
        let mut factors = vec![[[0.0; MAX_CLASSES]; 2]; depth];
        for (k, (&weight, row)) in weights.iter().zip(&psi).enumerate() {
            start[k] = f64::from(weight) / f64::from(WEIGHT_UNITS);
            for (factor, &x) in factors.iter_mut().zip(row) {
                let half = f64::from(x) / f64::from(2 * u32::from(PSI_UNITS));
                (factor[0][k], factor[1][k]) = (1.0 - half, 1.0 + half);
            }
        }
        Ok(Self { weights, psi, start, factors })
    }

    /// Makes classes from shares and ψ as real numbers. Both are rounded, ψ is clamped to [0, 1], and a class whose
    /// share rounds to 0 is left out.
    ///
    /// # Errors
    /// Returns an error if the numbers of classes or layers do not fit.
    pub fn from_real(shares: &[f64], psi: &[Vec<f64>]) -> Result<Self, ClassesError> {
        let total: f64 = shares.iter().sum();
        let units = |share: f64| (share / total * f64::from(WEIGHT_UNITS)).round() as u32;
        let kept: Vec<usize> = (0..shares.len().min(psi.len())).filter(|&k| units(shares[k]) > 0).collect();
        let mut weights: Vec<u32> = kept.iter().map(|&k| units(shares[k])).collect();
        // The largest class gets what rounding left over.
        let missing = i64::from(WEIGHT_UNITS) - weights.iter().map(|&w| i64::from(w)).sum::<i64>();
        if let Some(largest) = weights.iter_mut().max() {
            *largest = (i64::from(*largest) + missing).max(1) as u32;
        }
        let rows = kept
            .iter()
            .map(|&k| {
                psi[k].iter().map(|x| (x.clamp(0.0, 1.0) * f64::from(PSI_UNITS)).round() as u16).collect()
            })
            .collect();
        Self::new(weights, rows)
    }

    /// Returns π_k in units of 1 / [`WEIGHT_UNITS`].
    pub fn weights(&self) -> &[u32] {
        &self.weights
    }

    /// Returns ψ_kl in units of 1 / [`PSI_UNITS`], one row a class.
    pub fn psi(&self) -> &[Vec<u16>] {
        &self.psi
    }

    /// Returns the number of classes.
    pub fn count(&self) -> usize {
        self.weights.len()
    }

    /// Returns the number of layers m.
    pub fn depth(&self) -> usize {
        self.factors.len()
    }

    /// Returns the same classes with only their first `depth` layers: at least 1, at most all.
    pub fn truncated(&self, depth: usize) -> Self {
        let depth = depth.clamp(1, self.depth());
        let mut mixture = self.clone();
        mixture.factors.truncate(depth);
        mixture.psi.iter_mut().for_each(|row| row.truncate(depth));
        mixture
    }

    /// Returns LR(g). Bits at `depth` and above are ignored.
    pub fn likelihood_ratio(&self, g: GBits) -> f64 {
        let (low, high) = self.parts(g);
        let mut sum = low[0] * high[0];
        for k in 1..MAX_CLASSES {
            sum += low[k] * high[k];
        }
        sum
    }

    /// Returns π_k Π_l (1 + s_l ψ_kl / 2), one entry a class. The entries are in proportion to the probabilities of the
    /// classes given g.
    pub fn joint(&self, g: GBits) -> [f64; MAX_CLASSES] {
        let (mut low, high) = self.parts(g);
        low.iter_mut().zip(high).for_each(|(low, high)| *low *= high);
        low
    }

    /// Returns the law of Σ a_l g_l of one token of such text, with positive integer weights a_l; layers beyond the
    /// classes' own are fair bits.
    pub(crate) fn weighted_ones(&self, weights: &[u32]) -> TableNull {
        let top: u32 = weights.iter().sum();
        let mut law = vec![0.0; top as usize + 1];
        for (&share, psi) in self.weights.iter().zip(&self.psi) {
            let mut class = vec![0.0; law.len()];
            class[0] = f64::from(share) / f64::from(WEIGHT_UNITS);
            let mut reached = 0;
            for (l, &a) in weights.iter().enumerate() {
                let one =
                    0.5 + psi.get(l).map_or(0.0, |&x| f64::from(x) / f64::from(4 * u32::from(PSI_UNITS)));
                reached += a as usize;
                for w in (0..=reached).rev() {
                    let before = if w >= a as usize { class[w - a as usize] } else { 0.0 };
                    class[w] = (1.0 - one) * class[w] + one * before;
                }
            }
            law.iter_mut().zip(class).for_each(|(sum, p)| *sum += p);
        }
        TableNull::new(0, &law).expect("a law of positive probabilities")
    }

    /// Returns the number of layers in the first of the two halves that a product is made of.
    pub(super) fn split(&self) -> usize {
        self.depth() / 2
    }

    /// Returns the products over the two halves of the layers; the first includes the weights.
    fn parts(&self, g: GBits) -> (Lanes, Lanes) {
        let (first, second) = self.factors.split_at(self.split());
        (product(self.start, first, g.0), product([1.0; MAX_CLASSES], second, g.0 >> self.split()))
    }

    /// Returns the products over the two halves for all patterns of their bits: 2^split and 2^(depth − split) entries.
    pub(super) fn tables(&self) -> (Vec<Lanes>, Vec<Lanes>) {
        let (first, second) = self.factors.split_at(self.split());
        let all = |start: Lanes, factors: &[[Lanes; 2]]| {
            (0..1_u64 << factors.len()).map(|bits| product(start, factors, bits)).collect()
        };
        (all(self.start, first), all([1.0; MAX_CLASSES], second))
    }
}

/// The products of up to [`TRACKS`] mixtures over eight layers at a time, for all patterns of their bits. Four look-ups
/// a token then serve all mixtures, in place of a product over all layers for each.
///
/// They are in single precision, and only give the cell of LR on the lattice. Where another rounding could give another
/// cell, [`EntropyClasses::likelihood_ratio`] decides.
#[derive(Clone, Debug)]
pub(crate) struct LatticeTable {
    mixtures: Vec<EntropyClasses>,
    /// The largest number of classes of a mixture.
    classes: usize,
    /// For each chunk of eight layers, each pattern and each class, one number a mixture.
    products: Vec<[f32; TRACKS]>,
    /// The lattice points of the cells from 2^−32 to 2^32, which no likelihood ratio leaves.
    cells: Vec<i16>,
}

/// Number of mixtures of a [`LatticeTable`].
pub(crate) const TRACKS: usize = 4;

/// Number of chunks of eight layers.
const CHUNKS: usize = MAX_DEPTH.div_ceil(8);

/// Units in the last place of single precision by which a sum may be off: each of up to eight terms is a product of
/// four rounded numbers. Subnormal numbers do not occur: the smallest is 2^−30 times the least weight.
const MARGIN: u32 = 1 << 4;

/// Number of bits of an `f32` that a cell ignores.
const SHIFT: u32 = CELL_SHIFT - 29;

/// The cell of 2^−32.
const FIRST_CELL: u32 = (127 - 32) << (23 - SHIFT);

impl LatticeTable {
    /// Makes the table for at most [`TRACKS`] mixtures.
    pub(crate) fn new(mixtures: Vec<EntropyClasses>) -> Self {
        debug_assert!(mixtures.len() <= TRACKS);
        let classes = mixtures.iter().map(EntropyClasses::count).max().unwrap_or(1);
        let mut products = vec![[0.0; TRACKS]; CHUNKS * 256 * classes];
        for (track, mixture) in mixtures.iter().enumerate() {
            for chunk in 0..CHUNKS {
                let factors = mixture.factors.chunks(8).nth(chunk).unwrap_or_default();
                let start = if chunk == 0 { mixture.start } else { [1.0; MAX_CLASSES] };
                for bits in 0..256 {
                    let lanes = product(start, factors, bits as u64);
                    let rows = &mut products[(chunk * 256 + bits) * classes..][..classes];
                    rows.iter_mut().zip(lanes).for_each(|(row, lane)| row[track] = lane as f32);
                }
            }
        }
        // A missing mixture gets a ratio in the middle of a cell, so that it never seems near an edge.
        for row in products.chunks_exact_mut(classes).take(CHUNKS * 256).enumerate() {
            row.1[0][mixtures.len()..].fill(if row.0 < 256 { 1.01 } else { 1.0 });
        }
        let cell = |index: u32| f32::from_bits((FIRST_CELL + index) << SHIFT);
        let cells = (0..64 << (23 - SHIFT)).map(|index| lattice(f64::from(cell(index))) as i16).collect();
        Self { mixtures, classes, products, cells }
    }

    /// Returns the lattice points of the likelihood ratios of `g`, one a mixture.
    pub(crate) fn points(&self, g: GBits) -> [i32; TRACKS] {
        // The numbers of classes that most profiles have are worth an unrolled loop.
        let ratios = match self.classes {
            2 => self.ratios::<2>(g),
            4 => self.ratios::<4>(g),
            _ => self.ratios::<MAX_CLASSES>(g),
        };
        let mut near = false;
        for ratio in ratios {
            near |= is_near_edge(ratio);
        }
        if near {
            return self.careful_points(g, ratios);
        }
        // A loop, since `map` of an array compiles to calls here.
        let mut points = [0; TRACKS];
        for (point, ratio) in points.iter_mut().zip(ratios) {
            *point = self.point(ratio);
        }
        points
    }

    fn point(&self, ratio: f32) -> i32 {
        let cell = (ratio.to_bits() >> SHIFT).wrapping_sub(FIRST_CELL);
        self.cells.get(cell as usize).map_or_else(|| lattice(f64::from(ratio)), |&point| point.into())
    }

    #[cold]
    fn careful_points(&self, g: GBits, ratios: [f32; TRACKS]) -> [i32; TRACKS] {
        let mut points = ratios.map(|ratio| self.point(ratio));
        for ((point, mixture), ratio) in points.iter_mut().zip(&self.mixtures).zip(ratios) {
            if is_near_edge(ratio) {
                *point = lattice(mixture.likelihood_ratio(g));
            }
        }
        points
    }

    fn ratios<const CLASSES: usize>(&self, g: GBits) -> [f32; TRACKS] {
        let bytes = g.0.to_le_bytes();
        let row = |chunk: usize| {
            let at = (chunk * 256 + usize::from(bytes[chunk])) * self.classes;
            &self.products[at..at + self.classes]
        };
        let [first, second, third, fourth] = [row(0), row(1), row(2), row(3)];
        let mut sums = [0.0; TRACKS];
        for class in 0..CLASSES.min(self.classes) {
            let (a, b, c, d) = (first[class], second[class], third[class], fourth[class]);
            for track in 0..TRACKS {
                sums[track] += a[track] * b[track] * (c[track] * d[track]);
            }
        }
        sums
    }
}

/// Returns whether another rounding of `ratio` could lie in another cell.
fn is_near_edge(ratio: f32) -> bool {
    let low = ratio.to_bits() & ((1 << SHIFT) - 1);
    low.wrapping_sub(MARGIN) >= (1 << SHIFT) - 2 * MARGIN
}

fn product(mut lanes: Lanes, factors: &[[Lanes; 2]], bits: u64) -> Lanes {
    for (l, factor) in factors.iter().enumerate() {
        let factor = &factor[(bits >> l & 1) as usize];
        for (lane, factor) in lanes.iter_mut().zip(factor) {
            *lane *= factor;
        }
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_is_one_and_parts_agree() {
        let mixture =
            EntropyClasses::from_real(&[0.5, 0.3, 0.2], &[vec![0.0; 9], vec![0.4; 9], vec![1.0; 9]]).unwrap();
        let (low, high) = mixture.tables();
        assert_eq!((low.len(), high.len()), (16, 32));
        let mut sum = 0.0;
        for bits in 0..512_u64 {
            let lr = mixture.likelihood_ratio(GBits(bits));
            let (low, high) = (low[bits as usize & 15], high[bits as usize >> 4]);
            let direct = low.iter().zip(high).fold(0.0, |sum, (a, b)| sum + a * b);
            assert_eq!(lr.to_bits(), direct.to_bits());
            assert_eq!(mixture.joint(GBits(bits | 1 << 9)).iter().sum::<f64>(), lr);
            sum += lr;
        }
        assert!((sum / 512.0 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_table_has_the_same_lattice_points() {
        let psi =
            |seed: u16, depth: u16| (0..depth).map(|l| (seed * (l + 3) * 37) % (PSI_UNITS + 1)).collect();
        let third = WEIGHT_UNITS / 3;
        let mixtures = vec![
            EntropyClasses::new(vec![WEIGHT_UNITS / 2, WEIGHT_UNITS / 2], vec![psi(1, 29), psi(5, 29)])
                .unwrap(),
            EntropyClasses::new(vec![WEIGHT_UNITS], vec![psi(7, 30)]).unwrap(),
            EntropyClasses::new(
                vec![third, third, WEIGHT_UNITS - 2 * third],
                vec![psi(2, 8), vec![PSI_UNITS; 8], psi(3, 8)],
            )
            .unwrap(),
        ];
        let table = LatticeTable::new(mixtures.clone());
        for i in 0..100_000_u64 {
            let g = GBits(i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32);
            let points = table.points(g);
            for (mixture, point) in mixtures.iter().zip(points) {
                assert_eq!(point, lattice(mixture.likelihood_ratio(g)), "{g:?}");
            }
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let row = vec![0; 30];
        assert!(matches!(EntropyClasses::new(vec![], vec![]), Err(ClassesError::Classes { .. })));
        assert!(matches!(EntropyClasses::new(vec![WEIGHT_UNITS], vec![]), Err(ClassesError::Classes { .. })));
        assert!(matches!(
            EntropyClasses::new(vec![WEIGHT_UNITS], vec![vec![]]),
            Err(ClassesError::Depth { found: 0 })
        ));
        assert!(matches!(
            EntropyClasses::new(vec![WEIGHT_UNITS], vec![vec![0; 31]]),
            Err(ClassesError::Depth { .. })
        ));
        assert!(matches!(
            EntropyClasses::new(vec![WEIGHT_UNITS - 1], vec![row.clone()]),
            Err(ClassesError::Weights { .. })
        ));
        assert!(matches!(
            EntropyClasses::new(vec![WEIGHT_UNITS, 0], vec![row.clone(), row]),
            Err(ClassesError::Weights { .. })
        ));
        assert!(matches!(
            EntropyClasses::new(vec![WEIGHT_UNITS], vec![vec![4097]]),
            Err(ClassesError::Psi { found: 4097 })
        ));
    }
}
