//! One token's weighted sum under a tilt: moments, the saddle point, and where its characteristic function is small.

use std::f64::consts::PI;
use std::ops::Range;
use std::sync::OnceLock;

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
    /// For each cell a lower bound of Σ_l sin²(a_l ω/2) in it. Away from 0 the sum has further valleys: for depth 30
    /// down to 0.69 near ω = 8π/9, where |φ| = 0.70^n. They cannot be left out for n below some hundreds.
    spread: Vec<f64>,
    /// The cells with the least bounds, in ascending order of the bounds. For many tokens the other cells do not
    /// matter.
    narrow: Vec<u32>,
    /// The bounds for tokens of several shares, once there are any.
    multiples: OnceLock<Box<Multiples>>,
}

/// Lower bounds of Σ_l sin²(m a_l ω/2) for m = 1, 2 and 3.
#[derive(Clone, Debug)]
struct Multiples {
    /// Where the first cell begins.
    start: f64,
    /// Width of a cell.
    step: f64,
    least: [Vec<f64>; MULTIPLES],
}

/// The largest multiplier.
const MULTIPLES: usize = 3;

/// Number of cells that [`Weights`] keeps in order.
const NARROW: usize = 512;

/// The least θσ.
const LEAST_TILT: f64 = 3.0;

impl Weights {
    /// Prepares the weights, which takes half a millisecond at depth 30.
    pub(super) fn new(weights: &[u32]) -> Self {
        let total: u64 = weights.iter().map(|&a| u64::from(a)).sum();
        let largest = f64::from(weights.iter().copied().max().unwrap_or(1));
        // The curvature of Σ sin²(a ω/2) is at most Σ a²/2; over half a cell it may add up to this much.
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
        Self { each: weights.to_vec(), total, largest, cell, spread, narrow, multiples: OnceLock::new() }
    }

    /// Returns the weights a_l.
    pub(super) fn as_slice(&self) -> &[u32] {
        &self.each
    }

    /// Returns the largest a_l.
    pub(super) fn largest(&self) -> f64 {
        self.largest
    }

    /// Returns the largest value that W can take for n tokens, n Σ a_l.
    pub(super) fn max(&self, n: u64) -> u64 {
        n * self.total
    }

    /// Returns where the first cell begins.
    pub(super) fn start(&self) -> f64 {
        PI / self.largest
    }

    /// Returns the cells whose bound is below `enough`, in ascending order.
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

    /// Returns where |φ| may matter for tokens whose weights are multiplied by 1, 2 or 3.
    ///
    /// These are the stretches from π / (3 max a) to π in which Σ_p c_p Σ_l sin²(m_p a_l ω/2) may be below `enough`.
    /// `parts` has the multipliers m_p and the factors c_p.
    pub(super) fn cells_of_multiples(&self, parts: &[(u64, f64)], enough: f64) -> Vec<Range<f64>> {
        let Multiples { start, step, least } = &**self.multiples.get_or_init(|| Box::new(self.multiples()));
        let parts: Vec<(&[f64], f64)> = parts.iter().map(|&(m, c)| (&*least[m as usize - 1], c)).collect();
        let mut cells: Vec<Range<f64>> = Vec::new();
        for i in 0..least[0].len() {
            let bound: f64 = parts.iter().map(|(least, c)| c * least[i]).sum();
            if bound < enough {
                let (low, high) = (start + i as f64 * step, start + (i + 1) as f64 * step);
                match cells.last_mut() {
                    Some(last) if last.end >= low => last.end = high,
                    _ => cells.push(low..high),
                }
            }
        }
        // Rounding must not leave out the last node.
        if let Some(last) = cells.last_mut().filter(|last| last.end >= PI - step / 2.0) {
            last.end = 2.0 * PI;
        }
        cells
    }

    fn multiples(&self) -> Multiples {
        let start = self.start() / MULTIPLES as f64;
        // A step times a multiplier is at most a cell, so it lies in two cells of the table.
        let count = ((PI - start) / self.cell.max(1e-3) * MULTIPLES as f64).ceil();
        let step = (PI - start) / count;
        let of = |m: f64| {
            let edge = |i: f64| m * (start + i * step);
            (0..count as usize).map(|i| self.least_spread(edge(i as f64), edge(i as f64 + 1.0))).collect()
        };
        Multiples { start, step, least: std::array::from_fn(|i| of((i + 1) as f64)) }
    }

    /// Returns a lower bound of Σ_l sin²(a_l x/2) for x from `low` to `high`, at most a cell apart. The sum is even and
    /// has the period 2π.
    fn least_spread(&self, low: f64, high: f64) -> f64 {
        let folded = |x: f64| {
            let x = x.rem_euclid(2.0 * PI);
            if x > PI { 2.0 * PI - x } else { x }
        };
        let (a, b) = (folded(low), folded(high));
        // A stretch across 0 or π folds over; then it reaches up to that point.
        let crosses = |at: f64| (low / at).floor() != (high / at).floor();
        let (mut a, mut b) = (a.min(b), a.max(b));
        if crosses(PI) {
            if b > PI / 2.0 { b = PI } else { a = 0.0 }
        }
        if a <= self.start() {
            // Below π / max a each term grows with x.
            return self.each.iter().map(|&w| (f64::from(w) * a / 2.0).sin().powi(2)).sum();
        }
        let cell = |x: f64| (((x - self.start()) / self.cell) as usize).min(self.spread.len() - 1);
        // One more cell on either side, since the start of a cell is rounded.
        let (first, last) = (cell(a).saturating_sub(1), (cell(b) + 1).min(self.spread.len() - 1));
        self.spread[first..=last].iter().copied().fold(f64::INFINITY, f64::min).max(0.0)
    }

    /// Returns the mean of a token's Σ a_l g_l under the tilt `theta`.
    pub(super) fn tilted_mean(&self, theta: f64) -> f64 {
        self.each.iter().map(|&a| f64::from(a)).map(|a| a / (1.0 + (-theta * a).exp())).sum()
    }

    /// Returns the θ below which the nodes would become too many.
    pub(super) fn least_tilt(&self, n: u64) -> f64 {
        self.least_tilt_of_parts(&[(1, n)])
    }

    /// Returns the same for tokens whose weights are multiplied: (multiplier, tokens).
    pub(super) fn least_tilt_of_parts(&self, parts: &[(u64, u64)]) -> f64 {
        let squares: f64 = self.each.iter().map(|&a| f64::from(a) * f64::from(a)).sum();
        let tokens: f64 = parts.iter().map(|&(m, n)| (m * m * n) as f64).sum();
        LEAST_TILT / (0.5 * (tokens * squares).sqrt())
    }

    /// Returns θ with tilted mean `w`, but no less than [`least_tilt`](Self::least_tilt).
    pub(super) fn tilt(&self, n: u64, w: u64) -> f64 {
        self.tilt_of_parts(&[(1, n)], w)
    }

    /// Returns the same for tokens whose weights are multiplied: (multiplier, tokens).
    pub(super) fn tilt_of_parts(&self, parts: &[(u64, u64)], w: u64) -> f64 {
        let missing = (self.max(parts.iter().map(|(m, n)| m * n).sum()) - w) as f64;
        let least = self.least_tilt_of_parts(parts);
        let mut theta = least;
        // Σ n a / (1 + e^{θa}) falls and is convex, so Newton's steps from the left never pass the solution.
        for _ in 0..60 {
            let (mut short, mut slope) = (0.0, 0.0);
            for &(m, n) in parts {
                for a in self.each.iter().map(|&a| m as f64 * f64::from(a)) {
                    let one = 1.0 / (1.0 + (theta * a).exp());
                    short += n as f64 * a * one;
                    slope += n as f64 * a * a * one * (1.0 - one);
                }
            }
            let step = (short - missing) / slope;
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

/// Returns a lower bound of Σ_l sin²(a_l ω/2) in each of `cells` cells from ω = `start` on. It is the value f = (m − Σ
/// cos(a_l ω))/2 in the middle, less |f'| times half a cell, less `slack` for the curvature.
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
