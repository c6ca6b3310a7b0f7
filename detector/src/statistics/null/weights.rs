//! One token's weighted sum under a tilt: moments, the saddle point, and where its characteristic function is small.

use std::f64::consts::PI;
use std::ops::Range;

/// Positive weights a_l of fair bits.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    each: Vec<u32>,
    /// Σ a_l.
    total: u64,
    /// Largest a_l.
    largest: f64,
    /// Width of the cells that `spread` divides π / max(a) ≤ ω ≤ π into.
    cell: f64,
    /// For each cell a lower bound of Σ_l sin²(a_l ω/2) in it. Away from 0 the sum has further valleys, for depth
    /// 30 down to 0.69 near ω = 8π/9 (where |φ| = 0.70^n): they cannot be left out for n below some hundreds.
    spread: Vec<f64>,
    /// The cells with the least bounds, in ascending order of them: for many tokens there is no need to look at
    /// others.
    narrow: Vec<u32>,
}

/// Cells that [`Weights`] keeps in order.
const NARROW: usize = 512;

/// The least θσ.
const LEAST_TILT: f64 = 3.0;

impl Weights {
    /// Takes half a millisecond at depth 30.
    pub(super) fn new(weights: &[u32]) -> Self {
        let total: u64 = weights.iter().map(|&a| u64::from(a)).sum();
        let largest = f64::from(weights.iter().copied().max().unwrap_or(1));
        // The curvature of Σ sin²(a ω/2) is at most Σ a²/2; over half a cell it may make this much.
        let slack = 0.05;
        let quarter = weights.iter().map(|&a| f64::from(a) * f64::from(a)).sum::<f64>() / 4.0;
        let range = PI - PI / largest;
        let cells = (range * (quarter / slack).sqrt() / 2.0).ceil();
        let cell = if cells > 0.0 { range / cells } else { 0.0 };
        let spread = spread(weights, PI / largest, cell, cells as usize, slack);
        let mut narrow: Vec<u32> = (0..spread.len() as u32).collect();
        let by_bound = |a: &u32, b: &u32| spread[*a as usize].total_cmp(&spread[*b as usize]);
        if narrow.len() > NARROW {
            narrow.select_nth_unstable_by(NARROW - 1, by_bound);
            narrow.truncate(NARROW);
        }
        narrow.sort_unstable_by(by_bound);
        Self { each: weights.to_vec(), total, largest, cell, spread, narrow }
    }

    /// The weights a_l.
    pub(super) fn as_slice(&self) -> &[u32] {
        &self.each
    }

    /// Largest a_l.
    pub(super) fn largest(&self) -> f64 {
        self.largest
    }

    /// The largest value that W can take for n tokens, n Σ a_l.
    pub(super) fn max(&self, n: u64) -> u64 {
        n * self.total
    }

    /// Where the first cell begins.
    pub(super) fn start(&self) -> f64 {
        PI / self.largest
    }

    /// The cells whose bound is below `enough`, in ascending order.
    pub(super) fn cells_below(&self, enough: f64) -> impl Iterator<Item = Range<f64>> {
        let below = |i: usize| self.spread[i] < enough;
        let count = self.narrow.partition_point(|&i| below(i as usize));
        let cells: Vec<usize> = if count == self.narrow.len() {
            (0..self.spread.len()).filter(|&i| below(i)).collect()
        } else {
            let mut cells: Vec<usize> = self.narrow[..count].iter().map(|&i| i as usize).collect();
            cells.sort_unstable();
            cells
        };
        let edge = |i: usize| {
            // Rounding must not leave out the last node.
            if i == self.spread.len() { 2.0 * PI } else { self.start() + i as f64 * self.cell }
        };
        cells.into_iter().map(move |i| edge(i)..edge(i + 1))
    }

    /// The mean of a token's Σ a_l g_l under the tilt `theta`.
    pub(super) fn tilted_mean(&self, theta: f64) -> f64 {
        self.each.iter().map(|&a| f64::from(a)).map(|a| a / (1.0 + (-theta * a).exp())).sum()
    }

    /// The θ below which the nodes would become too many.
    pub(super) fn least_tilt(&self, n: u64) -> f64 {
        let squares: f64 = self.each.iter().map(|&a| f64::from(a) * f64::from(a)).sum();
        LEAST_TILT / (0.5 * (n as f64 * squares).sqrt())
    }

    /// θ with tilted mean `w`, but no less than [`least_tilt`](Self::least_tilt).
    pub(super) fn tilt(&self, n: u64, w: u64) -> f64 {
        let (missing, n_real) = ((self.max(n) - w) as f64, n as f64);
        let weights = self.each.iter().map(|&a| f64::from(a));
        let least = self.least_tilt(n);
        let mut theta = least;
        // n Σ a / (1 + e^{θa}) falls and is convex, so Newton's steps from the left never pass the solution.
        for _ in 0..60 {
            let (mut short, mut slope) = (0.0, 0.0);
            for a in weights.clone() {
                let one = 1.0 / (1.0 + (theta * a).exp());
                short += a * one;
                slope += a * a * one * (1.0 - one);
            }
            let step = (n_real * short - missing) / (n_real * slope);
            // The solution lies to the left of where the search begins.
            if theta == least && step <= 0.0 {
                break;
            }
            theta += step;
            if step.abs() <= 1e-9 * theta.abs() || !theta.is_finite() {
                break;
            }
        }
        // Any θ > 0 gives the same p; far from the saddle point more digits cancel.
        if theta.is_finite() { theta.max(least) } else { least }
    }
}

/// A lower bound of Σ_l sin²(a_l ω/2) in each of `cells` cells from ω = `start` on: the value f = (m − Σ cos(a_l
/// ω))/2 in the middle, less |f'| times half a cell, less `slack` for the curvature.
fn spread(weights: &[u32], start: f64, cell: f64, cells: usize, slack: f64) -> Vec<f64> {
    let mut sums = vec![[0.0; 2]; cells];
    for a in weights.iter().map(|&a| f64::from(a)) {
        // One rotation a step instead of a sine and a cosine.
        let (sin, cos) = (a * cell).sin_cos();
        let (mut y, mut x) = (a * (start + cell / 2.0)).sin_cos();
        for [cosines, slope] in &mut sums {
            *cosines += x;
            *slope += a * y;
            (x, y) = (x * cos - y * sin, x * sin + y * cos);
        }
    }
    // Rounding is below 1e-9.
    let bound = |[cosines, slope]: [f64; 2]| {
        (weights.len() as f64 - cosines) / 2.0 - (slope / 2.0).abs() * cell / 2.0 - slack - 1e-9
    };
    sums.into_iter().map(bound).collect()
}
