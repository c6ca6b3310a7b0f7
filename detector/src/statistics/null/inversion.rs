//! The tail of a tilted weighted sum from a few nodes of its characteristic function.
//!
//! The number of tokens and the tilt alone decide a list of complex numbers, one a node. The value w only rotates them.
//! So the tails of all unmarked texts of n tokens come from one list, at a sine and a cosine a node.

use std::f64::consts::{LN_2, PI, TAU};
use std::ops::Range;

use super::weights::Weights;

/// The neglected part may be e^−ACCURACY of p.
const ACCURACY: f64 = 36.0;

/// Up to this number of tokens φ is computed by rotations: the rounding of the phase, some 1e-15, counts n-fold.
pub(super) const FEW_TOKENS: u64 = 2048;

/// The same limit for a list that serves many values: far below the tilted mean the terms cancel, up to 100-fold.
const FEW_TOKENS_IN_LIST: u64 = 128;

/// Number of nodes after which the rotations start again, so that rounding does not add up.
const FRESH: u64 = 16;

/// The law of n tokens' W under a tilt. Tokens with multiplied weights form another part, and W is the sum over the
/// parts.
pub(super) struct Tilted<'w> {
    weights: &'w Weights,
    theta: f64,
    parts: Vec<Part>,
    sigma: f64,
    /// ln M(θ) − θ · `middle`.
    cumulant: f64,
    /// Half of the largest W.
    middle: f64,
}

/// Tokens with the same weights.
struct Part {
    n: f64,
    /// The multiplier of a_l.
    multiplier: f64,
    layers: Vec<Layer>,
}

/// φ^n at the nodes. Each value that needs this many nodes takes its tail from them.
#[derive(Clone, Debug)]
pub(super) struct Nodes {
    law: Law,
    /// n Σ a_l, and how much less the tilted mean is; `None` if φ's argument is known only up to full turns.
    mean: Option<[f64; 2]>,
    each: Vec<Node>,
}

/// Node k: ω = 2π k / N.
#[derive(Clone, Copy, Debug)]
struct Node {
    k: u64,
    /// |φ|^n / |1 − e^{−θ−iω}|².
    size: f64,
    /// The argument of φ^n, without the mean's part if the mean is known.
    phase: f64,
    /// 1 − e^{−θ−iω}.
    x: f64,
    y: f64,
}

/// The tail of one value, and of the values below it down to the middle.
#[derive(Clone, Debug)]
pub(super) struct Inversion {
    law: Law,
    /// The largest w for which N is large enough.
    limit: u64,
    terms: Vec<Term>,
}

/// φ^n e^{−iω · limit} / (1 − e^{−θ−iω}).
#[derive(Clone, Copy, Debug)]
struct Term {
    k: u64,
    re: f64,
    im: f64,
}

/// The numbers that turn the sum over the nodes into a tail.
#[derive(Clone, Copy, Debug)]
struct Law {
    theta: f64,
    /// As in [`Tilted`].
    cumulant: f64,
    middle: f64,
    /// N.
    nodes: u64,
    /// 1 / (1 − e^{−θ}): the term of node 0.
    zero: f64,
    /// A bound of the omitted terms.
    omitted: f64,
}

impl<'w> Tilted<'w> {
    pub(super) fn new(weights: &'w Weights, n: u64, theta: f64) -> Self {
        Self::of_parts(weights, &[(1, n)], theta)
    }

    /// Makes the law of tokens whose weights are multiplied: (multiplier, tokens).
    pub(super) fn of_parts(weights: &'w Weights, parts: &[(u64, u64)], theta: f64) -> Self {
        let part = |&(multiplier, n): &(u64, u64)| {
            let multiplier = multiplier as f64;
            let layer = |&a: &u32| Layer::new(multiplier * f64::from(a), theta);
            Part { n: n as f64, multiplier, layers: weights.as_slice().iter().map(layer).collect() }
        };
        let middle = weights.max(parts.iter().map(|(m, n)| m * n).sum()) as f64 / 2.0;
        let parts: Vec<Part> = parts.iter().map(part).collect();
        let sum = |of: &dyn Fn(&Layer) -> f64| -> f64 {
            parts.iter().map(|part| part.n * part.layers.iter().map(of).sum::<f64>()).sum()
        };
        let sigma = sum(&|y| y.a * y.a * y.variance).sqrt();
        // ln M(θ) − θ w, from the middle, where nothing cancels. It bounds ln p (Chernoff).
        let cumulant = sum(&|y| ln_cosh(theta * y.a / 2.0));
        Self { weights, theta, parts, sigma, cumulant, middle }
    }

    fn largest_multiplier(&self) -> f64 {
        self.parts.iter().map(|part| part.multiplier).fold(1.0, f64::max)
    }

    /// Returns N for the value `w`, top/2 < w < top, or for all in top/2 < w' ≤ `w`.
    pub(super) fn count(&self, w: u64) -> u64 {
        let Self { theta, sigma, .. } = *self;
        let value = w as f64;
        let scale = self.cumulant - theta * (value - self.middle);
        let count = nodes(theta, sigma, scale, self.largest_multiplier() * self.weights.largest())
            .min(value + 45.0 / theta)
            .ceil();
        // Odd, so that every node but 0 has a conjugate.
        count as u64 | 1
    }

    /// Returns the values at N = `count` nodes. φ comes from rotations where they keep the digits of the argument of
    /// φ^n.
    pub(super) fn nodes(&self, count: u64, rotate: bool) -> Nodes {
        let Self { weights, theta, ref parts, sigma, .. } = *self;
        let gap = -(-theta).exp_m1();
        let ratio = (-theta).exp();
        let step = TAU / count as f64;

        // p is about e^scale / (1 + λ √(2π)), λ = θσ, and no less than e^scale times a hundredth for small λ.
        let cut = ACCURACY - gap.ln() + (theta * sigma / 3.0).ln().max(0.0);
        let mut each = Vec::new();
        let mut add = |k: u64, magnitude: f64, phase: f64| {
            let omega = k as f64 * step;
            let half = (omega / 2.0).sin();
            let (x, y) = (gap + 2.0 * ratio * half * half, ratio * omega.sin());
            each.push(Node { k, size: magnitude / (x * x + y * y), phase, x, y });
        };
        let least = (-cut).exp();
        let mut rotations: Option<Vec<Rotations<'_>>> =
            rotate.then(|| parts.iter().map(|part| Rotations::new(part, count, cut)).collect());
        let mut at = |k: u64| {
            // Several parts give the product.
            let both = |(magnitude, phase): (f64, f64), of_part: Option<(f64, f64)>| {
                of_part.map(|(other, more)| (magnitude * other, phase + more))
            };
            let value = match &mut rotations {
                Some(rotations) => rotations.iter_mut().map(|part| part.at(k)).try_fold((1.0, 0.0), both),
                None => parts
                    .iter()
                    .map(|part| characteristic(part, k as f64 * step, cut))
                    .try_fold((1.0, 0.0), both),
            };
            let value = value.filter(|(magnitude, _)| *magnitude >= least);
            value.map(|(magnitude, phase)| add(k, magnitude, phase)).is_some()
        };
        // Up to ω = π / max a every factor of |φ| falls.
        let first = ((weights.start() / self.largest_multiplier() / step) as u64).min(count / 2);
        let mut k = 1;
        while k <= first && at(k) {
            k += 1;
        }
        // |φ|² = Π (1 − 4 v_l sin²(a_l ω/2))^n, so ln |φ| ≤ −2 n min(v) Σ sin²(a_l ω/2).
        let factor =
            |part: &Part| 2.0 * part.n * part.layers.iter().map(|y| y.variance).fold(f64::INFINITY, f64::min);
        let cells: Vec<Range<f64>> = match &parts[..] {
            [part] if part.multiplier == 1.0 => weights.cells_below(cut / factor(part)).collect(),
            parts => {
                let parts: Vec<(u64, f64)> =
                    parts.iter().map(|part| (part.multiplier as u64, factor(part))).collect();
                weights.cells_of_multiples(&parts, cut)
            }
        };
        for omega in cells {
            let edge = |omega: f64| ((omega / step).ceil() as u64).clamp(first + 1, count / 2 + 1);
            let end = if omega.end >= PI { count / 2 + 1 } else { edge(omega.end) };
            for k in edge(omega.start)..end {
                at(k);
            }
        }
        let below: f64 =
            parts.iter().map(|part| part.n * part.layers.iter().map(|y| y.a * y.zero).sum::<f64>()).sum();
        let law = Law {
            theta,
            cumulant: self.cumulant,
            middle: self.middle,
            nodes: count,
            zero: 1.0 / gap,
            omitted: (-cut).exp() / gap,
        };
        Nodes { law, mean: (!rotate).then_some([2.0 * self.middle, below]), each }
    }
}

impl Nodes {
    /// Returns ln P(W ≥ w) for a value that needs this many nodes.
    pub(super) fn ln_tail(&self, w: u64) -> f64 {
        self.law.ln_tail(w, self.each.iter().map(|node| self.term(node, w).re).sum())
    }

    fn term(&self, node: &Node, w: u64) -> Term {
        let &Node { k, size, phase, x, y } = node;
        let step = TAU / self.law.nodes as f64;
        let turn = match self.mean {
            // ωw is reduced in integers.
            None => (u128::from(k) * u128::from(w) % u128::from(self.law.nodes)) as f64 * step,
            // ω times w minus the tilted mean.
            Some([top, below]) => k as f64 * step * (below - (top - w as f64)),
        };
        let (sin, cos) = (phase - turn).sin_cos();
        Term { k, re: size * (cos * x + sin * y), im: size * (sin * x - cos * y) }
    }
}

impl Inversion {
    /// Makes the inversion for the value `w` of `n` tokens, top/2 < w < top, or for all in top/2 < w' ≤ `w`, with the
    /// tilt `theta`.
    pub(super) fn new(weights: &Weights, n: u64, w: u64, theta: f64, list: bool) -> Self {
        let tilted = Tilted::new(weights, n, theta);
        let nodes = tilted.nodes(tilted.count(w), n <= if list { FEW_TOKENS_IN_LIST } else { FEW_TOKENS });
        let terms = nodes.each.iter().map(|node| nodes.term(node, w)).collect();
        Self { law: nodes.law, limit: w, terms }
    }

    /// Returns the largest value that [`ln_tail`](Self::ln_tail) is for.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns ln P(W ≥ w) for top/2 < w ≤ `limit`.
    pub(super) fn ln_tail(&self, w: u64) -> f64 {
        // ω (w − limit) = 2π k (w − limit) / N, reduced in integers: both factors are below N.
        let below = (self.limit - w) % self.law.nodes;
        let step = TAU / self.law.nodes as f64;
        let sum: f64 = if below == 0 {
            self.terms.iter().map(|term| term.re).sum()
        } else {
            let turned = self.terms.iter().map(|term| {
                // Both are below 2^32: only lists take other values than `limit`.
                let k = term.k * below % self.law.nodes;
                let (sin, cos) = (k as f64 * step).sin_cos();
                term.re * cos - term.im * sin
            });
            turned.sum()
        };
        self.law.ln_tail(w, sum)
    }
}

impl Law {
    /// Returns ln P(W ≥ w) from the sum over the nodes above 0.
    fn ln_tail(&self, w: u64, sum: f64) -> f64 {
        let scale = self.cumulant - self.theta * (w as f64 - self.middle);
        let sum = (self.zero + 2.0 * sum) / self.nodes as f64 + self.omitted;
        // Rounding cannot bring the sum to zero; if it ever did, the Chernoff bound is still valid.
        if sum > 0.0 && sum < 1.0 { scale + sum.ln() } else { scale }
    }
}

/// Returns N for which the further terms of the sum are below about e^−[`ACCURACY`] of p ≈ e^`scale` / (2 + 2.5 λ), λ =
/// θσ.
///
/// Relative to A(w) the term A(w − N) is at most e^{−θN} / p. In units of the tilted law it is also at most Q(W < w −
/// cN) + e^{−θ(1 − c)N}. With N = 12 σ and c = 3/4 the first of these is a deviation of nine σ. The term A(w + N) is at
/// most Q(W ≥ w + N). By Bernstein's inequality that is below e^−38 at N = 8.8 σ + 40 max(a).
fn nodes(theta: f64, sigma: f64, scale: f64, largest: f64) -> f64 {
    let lambda = theta * sigma;
    let below = (ACCURACY + ((2.0 + 2.5 * lambda).ln() - scale).max(1.0)) / theta;
    let below = if lambda >= 12.0 { below.min(12.0 * sigma + 40.0 * largest) } else { below };
    below.max(8.8 * sigma + 40.0 * largest)
}

/// φ at neighbouring nodes, by one rotation for each layer and node, where [`characteristic`] takes sines.
///
/// φ(ω) = Π (q_l + p_l e^{i a_l ω}), and φ^n e^{−iωw} is wanted. n and w are integers, so the argument of φ need be
/// known only up to full turns.
struct Rotations<'a> {
    layers: &'a [Layer],
    n: f64,
    step: f64,
    floor: f64,
    /// e^{i a_l ω} at the last node, and e^{i a_l step}.
    at: Vec<[f64; 4]>,
    last: u64,
    since: u64,
}

impl<'a> Rotations<'a> {
    fn new(Part { n, layers, .. }: &'a Part, nodes: u64, cut: f64) -> Self {
        let n = *n;
        let step = TAU / nodes as f64;
        let at = layers.iter().map(|layer| {
            let (sin, cos) = (layer.a * step).sin_cos();
            [1.0, 0.0, cos, sin]
        });
        let floor = (-2.0 * cut / n).exp();
        Self { layers, n, step, floor, at: at.collect(), last: 0, since: 0 }
    }

    /// Returns |φ|^n and the argument of φ^n at node `k`; `None` if |φ|^n < e^{−cut}.
    fn at(&mut self, k: u64) -> Option<(f64, f64)> {
        if k == self.last + 1 && self.since < FRESH {
            self.since += 1;
            for [x, y, cos, sin] in &mut self.at {
                (*x, *y) = (*x * *cos - *y * *sin, *x * *sin + *y * *cos);
            }
        } else {
            self.since = 0;
            for ([x, y, _, _], layer) in self.at.iter_mut().zip(self.layers) {
                (*y, *x) = (layer.a * (k as f64 * self.step)).sin_cos();
            }
        }
        self.last = k;
        let (mut re, mut im) = (1.0, 0.0);
        for ([x, y, _, _], layer) in self.at.iter().zip(self.layers) {
            let (a, b) = (layer.zero + layer.one * x, layer.one * y);
            (re, im) = (re * a - im * b, re * b + im * a);
        }
        let square: f64 = re * re + im * im;
        if square < self.floor {
            return None;
        }
        Some((square.powf(self.n / 2.0), self.n * im.atan2(re)))
    }
}

/// One layer's g-bit under the tilted law.
struct Layer {
    a: f64,
    /// P(g = 1).
    one: f64,
    /// P(g = 0).
    zero: f64,
    /// `one` · `zero`.
    variance: f64,
}

impl Layer {
    fn new(a: f64, theta: f64) -> Self {
        let odds = (-theta * a).exp();
        let (one, zero) = (1.0 / (1.0 + odds), odds / (1.0 + odds));
        Self { a, one, zero, variance: one * zero }
    }
}

/// Returns |φ| and arg φ at `omega`, for the part's tokens and centred at the mean; `None` if |φ| < e^{−cut}.
fn characteristic(Part { n, layers, .. }: &Part, omega: f64, cut: f64) -> Option<(f64, f64)> {
    let n = *n;
    let floor = (-2.0 * cut / n).exp();
    let mut square = 1.0;
    for layer in layers {
        let half = (0.5 * layer.a * omega).sin();
        square *= 1.0 - 4.0 * layer.variance * half * half;
        if square < floor {
            return None;
        }
    }
    let phase: f64 = layers
        .iter()
        .map(|layer| {
            let x = layer.a * omega;
            let half = (0.5 * x).sin();
            (layer.one * x.sin()).atan2(1.0 - 2.0 * layer.one * half * half) - layer.one * x
        })
        .sum();
    Some((square.powf(n / 2.0), n * phase))
}

/// Returns ln cosh x, exact to rounding for small and for large x.
fn ln_cosh(x: f64) -> f64 {
    if x < 1.0 {
        let sinh = x.sinh();
        0.5 * (sinh * sinh).ln_1p()
    } else {
        x + (-2.0 * x).exp().ln_1p() - LN_2
    }
}
