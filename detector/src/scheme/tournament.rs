//! The sampling side: a distribution over candidates, and what the tournament makes of it.
//!
//! Layer l turns p into p(x)·(1 + g_l(x) − G_l), G_l = Σ p(x) g_l(x): the winner's distribution of a tournament in
//! which pairs of independent draws meet m times and the one with the greater g-value goes on, ties broken by a coin.
//! Averaged over keys the result is p again, so the mark costs no quality (Dathathri et al., theorem on
//! non-distortion with two competitors).

use super::exponential::exponentials;
use super::prf::KeyedContext;
use super::{ContextTracker, GBits, PositionKind, Prf};

/// Candidate tokens and their probabilities, which sum to 1. Not logits: the constructors make the difference.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    tokens: Vec<u32>,
    probabilities: Vec<f64>,
}

/// Why numbers are not a distribution.
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DistributionError {
    /// Nothing to draw from.
    #[error("a distribution needs at least one candidate, found none")]
    Empty,
    /// Lists of different lengths.
    #[error(
        "a distribution needs as many probabilities as tokens, found {probabilities} for {tokens} tokens"
    )]
    Length {
        /// Number of tokens.
        tokens: usize,
        /// Number of probabilities.
        probabilities: usize,
    },
    /// NaN, infinite or negative.
    #[error(
        "candidate {token} has the weight {found}; expected finite numbers (and no negative probability)"
    )]
    Value {
        /// The candidate.
        token: u32,
        /// Its weight.
        found: f64,
    },
    /// All probabilities are 0.
    #[error("all candidates have probability 0; expected a positive sum")]
    NoMass,
}

impl Distribution {
    /// From probabilities, up to a common factor.
    pub fn from_probabilities(tokens: Vec<u32>, probabilities: Vec<f64>) -> Result<Self, DistributionError> {
        check_lengths(&tokens, probabilities.len())?;
        for (&token, &p) in tokens.iter().zip(&probabilities) {
            if !p.is_finite() || p < 0.0 {
                return Err(DistributionError::Value { token, found: p });
            }
        }
        let mut distribution = Self { tokens, probabilities };
        if distribution.probabilities.iter().sum::<f64>() <= 0.0 {
            return Err(DistributionError::NoMass);
        }
        distribution.normalise();
        Ok(distribution)
    }

    /// From logits: their softmax, in f64. A logit of −∞ excludes its token.
    pub fn from_logits(tokens: Vec<u32>, logits: &[f32]) -> Result<Self, DistributionError> {
        check_lengths(&tokens, logits.len())?;
        check_logits(tokens.iter().copied().zip(logits.iter().copied()))?;
        let mut distribution = Self { tokens, probabilities: Vec::new() };
        distribution.softmax(logits.iter().copied());
        Ok(distribution)
    }

    /// Becomes what [`from_logits`](Self::from_logits) makes of these tokens and logits, in the memory that it has.
    /// Unchanged after an error.
    pub fn set_logits(&mut self, entries: &[(u32, f32)]) -> Result<(), DistributionError> {
        if entries.is_empty() {
            return Err(DistributionError::Empty);
        }
        check_logits(entries.iter().copied())?;
        self.tokens.clear();
        self.tokens.extend(entries.iter().map(|entry| entry.0));
        self.softmax(entries.iter().map(|entry| entry.1));
        Ok(())
    }

    fn softmax(&mut self, logits: impl Iterator<Item = f32>) {
        self.probabilities.clear();
        self.probabilities.extend(logits.map(f64::from));
        let max = largest(&self.probabilities);
        exponentials(&mut self.probabilities, max);
        self.normalise();
    }

    /// The candidates.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Their probabilities, in the same order; they sum to 1.
    pub fn probabilities(&self) -> &[f64] {
        &self.probabilities
    }

    /// One token, chosen by `u` in [0, 1): the inverse of the cumulative distribution in candidate order.
    pub fn draw(&self, u: f64) -> u32 {
        let mut rest = u;
        let mut last = self.tokens[0];
        for (&token, &p) in self.tokens.iter().zip(&self.probabilities) {
            if p > 0.0 {
                if rest < p {
                    return token;
                }
                rest -= p;
                last = token;
            }
        }
        last // u so close to 1 that rounding used up all mass
    }

    /// Runs a tournament of `depth` layers with `leaves` ≥ 2 competitors a match; `g` has one entry a candidate.
    ///
    /// With Z the mass of g = 0 in a layer, a token's probability is multiplied by Z^(leaves−1) if its own g is 0 and
    /// by 1 + Z + … + Z^(leaves−1) if it is 1, which for two leaves is 1 + g − G. Only two leaves leave the average
    /// over keys unchanged; more make the mark stronger and the text different.
    ///
    /// # Panics
    /// If `g` is not as long as the candidates or `leaves` is less than 2.
    pub fn tournament(&mut self, g: &[GBits], depth: usize, leaves: u32) {
        assert_eq!(g.len(), self.tokens.len(), "one g-value a candidate");
        assert!(leaves >= 2, "a match needs two competitors");
        if self.tokens.len() < MANY {
            self.layer_by_layer(g, depth, leaves);
        } else {
            self.group_by_group(g, depth, leaves);
        }
        self.normalise();
    }

    /// The tournament as it is defined, a pass a layer: it multiplies by the factors of the layer before and sums for
    /// its own. No branch depends on a g-value, which none could foresee.
    fn layer_by_layer(&mut self, g: &[GBits], depth: usize, leaves: u32) {
        let mut factor = [1.0, 1.0];
        for layer in 0..depth {
            let before = layer.saturating_sub(1);
            let (mut zeros, mut totals) = ([0.0; SIDE_BY_SIDE], [0.0; SIDE_BY_SIDE]);
            let mut take = |place: usize, p: &mut f64, g: GBits| {
                *p *= choose(factor, g.layer(before));
                totals[place] += *p;
                zeros[place] += choose([*p, 0.0], g.layer(layer));
            };
            let (chunks, rest) = self.probabilities.as_chunks_mut::<SIDE_BY_SIDE>();
            let (g_chunks, g_rest) = g.as_chunks::<SIDE_BY_SIDE>();
            for (p, g) in chunks.iter_mut().zip(g_chunks) {
                for place in 0..SIDE_BY_SIDE {
                    take(place, &mut p[place], g[place]);
                }
            }
            for (place, (p, g)) in rest.iter_mut().zip(g_rest).enumerate() {
                take(place, p, *g);
            }
            factor = factors(zeros.iter().sum(), totals.iter().sum(), leaves);
        }
        for (p, g) in self.probabilities.iter_mut().zip(g) {
            *p *= choose(factor, g.layer(depth.saturating_sub(1)));
        }
    }

    /// The same for many candidates, [`GROUP`] layers a pass: candidates whose g-values agree in these layers are
    /// multiplied by the same factors, so the layers' sums need only the mass of each of the 2^`GROUP` patterns.
    fn group_by_group(&mut self, g: &[GBits], depth: usize, leaves: u32) {
        let mut mass = [0.0; 1 << GROUP];
        let mut factor = [1.0; 1 << GROUP];
        let mut before = 0;
        for start in (0..depth).step_by(GROUP) {
            let layers = GROUP.min(depth - start);
            let pattern =
                |g: &GBits, start: usize, layers: usize| (g.0 >> start) as usize & ((1 << layers) - 1);
            mass.fill(0.0);
            for (p, g) in self.probabilities.iter_mut().zip(g) {
                // The factors of the group before, 1 at the start.
                *p *= factor[pattern(g, start - before, before)];
                mass[pattern(g, start, layers)] += *p;
            }
            let (mass, factor) = (&mut mass[..1 << layers], &mut factor[..1 << layers]);
            factor.fill(1.0);
            for layer in 0..layers {
                let total: f64 = mass.iter().sum();
                let zeros = mass.iter().enumerate().filter(|(pattern, _)| pattern >> layer & 1 == 0);
                let factors = factors(zeros.map(|(_, mass)| mass).sum(), total, leaves);
                for (pattern, (mass, factor)) in mass.iter_mut().zip(factor.iter_mut()).enumerate() {
                    *mass *= factors[pattern >> layer & 1];
                    *factor *= factors[pattern >> layer & 1];
                }
            }
            before = layers;
        }
        let start = depth - before;
        for (p, g) in self.probabilities.iter_mut().zip(g) {
            *p *= factor[(g.0 >> start) as usize & ((1 << before) - 1)];
        }
    }

    fn normalise(&mut self) {
        let total = sum(&self.probabilities);
        for p in &mut self.probabilities {
            *p /= total;
        }
    }
}

/// One of two finite numbers, by arithmetic: a choice by the bit becomes a branch that is wrong every other time.
fn choose([if_zero, if_one]: [f64; 2], bit: u64) -> f64 {
    let one = f64::from(bit as i32);
    if_zero * (1.0 - one) + if_one * one
}

/// Numbers that are added or compared side by side: one after the other they would wait for each other.
const SIDE_BY_SIDE: usize = 8;

/// The sum, in an order of its own.
fn sum(xs: &[f64]) -> f64 {
    let mut sums = [0.0; SIDE_BY_SIDE];
    let (chunks, rest) = xs.as_chunks::<SIDE_BY_SIDE>();
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += x;
        }
    }
    sums.iter().chain(rest).sum()
}

/// The largest of numbers without NaN; −∞ of none.
fn largest(xs: &[f64]) -> f64 {
    let greater = |a: f64, b: f64| if b > a { b } else { a };
    let mut largest = [f64::NEG_INFINITY; SIDE_BY_SIDE];
    let (chunks, rest) = xs.as_chunks::<SIDE_BY_SIDE>();
    for chunk in chunks {
        for (largest, x) in largest.iter_mut().zip(chunk) {
            *largest = greater(*largest, *x);
        }
    }
    largest.iter().chain(rest).copied().fold(f64::NEG_INFINITY, greater)
}

/// From how many candidates on a pass over them costs more than one over the patterns of a group of layers.
const MANY: usize = 4096;
/// Layers of a group; two tables of 2^`GROUP` numbers fit the first-level cache.
const GROUP: usize = 10;

/// What a layer multiplies a probability by, if the token's own g is 0 and if it is 1. Dividing by the sum in each layer
/// keeps rounding from adding up over 30 of them.
fn factors(zeros: f64, total: f64, leaves: u32) -> [f64; 2] {
    let z = zeros / total;
    [z.powi(leaves as i32 - 1) / total, (0..leaves as i32).map(|k| z.powi(k)).sum::<f64>() / total]
}

fn check_logits(mut entries: impl Iterator<Item = (u32, f32)> + Clone) -> Result<(), DistributionError> {
    let (mut bad, mut positive) = (false, false);
    for (_, logit) in entries.clone() {
        bad |= logit.is_nan() || logit == f32::INFINITY;
        positive |= logit > f32::NEG_INFINITY;
    }
    if bad && let Some((token, logit)) = entries.find(|(_, logit)| logit.is_nan() || *logit == f32::INFINITY)
    {
        return Err(DistributionError::Value { token, found: logit.into() });
    }
    if positive { Ok(()) } else { Err(DistributionError::NoMass) }
}

fn check_lengths(tokens: &[u32], probabilities: usize) -> Result<(), DistributionError> {
    if tokens.len() != probabilities {
        return Err(DistributionError::Length { tokens: tokens.len(), probabilities });
    }
    if tokens.is_empty() { Err(DistributionError::Empty) } else { Ok(()) }
}

/// A mark to put on texts: a key's function and the number of competitors a match.
#[derive(Clone, Debug)]
pub struct Watermark {
    prf: Prf,
    leaves: u32,
}

impl Watermark {
    /// The non-distortionary mark: two leaves.
    pub fn new(prf: Prf) -> Self {
        Self { prf, leaves: 2 }
    }

    /// With more competitors a match: a stronger mark that changes the text's distribution.
    ///
    /// # Panics
    /// If `leaves` is less than 2.
    pub fn with_leaves(prf: Prf, leaves: u32) -> Self {
        assert!(leaves >= 2, "a match needs two competitors");
        Self { prf, leaves }
    }

    /// Starts the response to `prompt` (empty if there is none).
    pub fn start(&self, prompt: &[u32]) -> Marking {
        Marking {
            watermark: self.clone(),
            tracker: ContextTracker::new(&self.prf, prompt),
            g: Vec::new(),
            marked: 0,
            repeated: 0,
        }
    }
}

/// One response being marked: call [`Marking::apply`] on the candidates of each position, draw, and report the drawn
/// token with [`Marking::push`].
#[derive(Clone, Debug)]
pub struct Marking {
    watermark: Watermark,
    tracker: ContextTracker,
    /// g-values of the candidates, kept to spare an allocation a step.
    g: Vec<GBits>,
    marked: usize,
    repeated: usize,
}

impl Marking {
    /// Puts the mark on the candidates of the next position, if the rule says that it carries one; tells what the
    /// rule said. Must come last: after temperature, top-k, top-p and penalties, right before the draw.
    pub fn apply(&mut self, candidates: &mut Distribution) -> PositionKind {
        #[expect(
            clippy::redundant_closure_for_method_calls,
            reason = "the method's type has one lifetime only"
        )]
        self.apply_with(candidates, |keyed, tokens, g| keyed.g_bits_of(tokens, g))
    }

    /// As [`apply`](Self::apply), with `hash` in the place of [`KeyedContext::g_bits_of`]: for a caller who shares the
    /// hashes of many candidates among threads. It must fill all entries as that does.
    pub fn apply_with(
        &mut self,
        candidates: &mut Distribution,
        hash: impl FnOnce(&KeyedContext<'_>, &[u32], &mut [GBits]),
    ) -> PositionKind {
        let kind = self.tracker.next_position();
        match kind {
            PositionKind::Marked => {
                let keyed = self.watermark.prf.context(self.tracker.context());
                self.g.resize(candidates.tokens.len(), GBits::default());
                hash(&keyed, &candidates.tokens, &mut self.g);
                candidates.tournament(&self.g, self.watermark.prf.scheme().depth(), self.watermark.leaves);
                self.marked += 1;
            }
            PositionKind::RepeatedContext => self.repeated += 1,
            PositionKind::IncompleteContext => {}
        }
        kind
    }

    /// Appends the drawn token.
    pub fn push(&mut self, token: u32) {
        self.tracker.push(token);
    }

    /// Positions that were marked so far.
    pub fn marked_tokens(&self) -> usize {
        self.marked
    }

    /// Positions that were left alone because their context had come up before.
    pub fn repeated_contexts(&self) -> usize {
        self.repeated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draw_inverts_the_cumulative_distribution() {
        let p = Distribution::from_probabilities(vec![7, 8, 9], vec![0.25, 0.0, 0.75]).unwrap();
        assert_eq!([0.0, 0.2499, 0.25, 0.9999, 1.0 - f64::EPSILON / 2.0].map(|u| p.draw(u)), [7, 7, 9, 9, 9]);
    }

    #[test]
    fn bad_numbers_are_errors() {
        let from_logits =
            |logits: &[f32]| Distribution::from_logits((0..logits.len() as u32).collect(), logits);
        assert!(matches!(from_logits(&[1.0, f32::NAN]), Err(DistributionError::Value { token: 1, .. })));
        assert_eq!(from_logits(&[]), Err(DistributionError::Empty));
        assert_eq!(from_logits(&[f32::NEG_INFINITY; 2]), Err(DistributionError::NoMass));
        let p = from_logits(&[0.0, f32::NEG_INFINITY]).unwrap();
        assert_eq!(p.probabilities(), [1.0, 0.0]);
        assert!(Distribution::from_probabilities(vec![1], vec![-1.0]).is_err());
    }

    /// All depths around a whole number of groups, probabilities from 10⁻³⁰ to 1, and one of 0.
    #[test]
    fn groups_of_layers_are_the_layers() {
        let mut z = 1u64;
        let mut next = || {
            z = z.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            z ^ z >> 31
        };
        let g: Vec<GBits> = (0..5000).map(|_| GBits(next())).collect();
        let mut weights: Vec<f64> = (0..5000).map(|_| 10f64.powi(-(next() as i32 & 31))).collect();
        weights[17] = 0.0;
        let tokens: Vec<u32> = (0..5000).collect();
        for (depth, leaves) in [(0, 2), (1, 2), (9, 2), (10, 2), (11, 3), (30, 2), (30, 4), (64, 2)] {
            let mut plain = Distribution::from_probabilities(tokens.clone(), weights.clone()).unwrap();
            let mut grouped = plain.clone();
            plain.layer_by_layer(&g, depth, leaves);
            plain.normalise();
            grouped.tournament(&g, depth, leaves);
            for (a, b) in plain.probabilities().iter().zip(grouped.probabilities()) {
                assert!((a - b).abs() <= 1e-12 * a, "{a} {b}, depth {depth}, {leaves} leaves");
            }
        }
    }

    #[test]
    fn kept_memory_gives_the_same_numbers() {
        let logits = [1.5f32, -2.0, f32::NEG_INFINITY, 4.0];
        let fresh = Distribution::from_logits(vec![4, 3, 2, 1], &logits).unwrap();
        let mut kept = Distribution::from_probabilities(vec![9; 7], vec![1.0; 7]).unwrap();
        let entries = [(4, 1.5f32), (3, -2.0), (2, f32::NEG_INFINITY), (1, 4.0)];
        kept.set_logits(&entries).unwrap();
        assert_eq!(kept, fresh);
        assert_eq!(kept.set_logits(&[]), Err(DistributionError::Empty));
        assert_eq!(kept.set_logits(&[(0, f32::NEG_INFINITY)]), Err(DistributionError::NoMass));
        assert!(kept.set_logits(&[(0, f32::NAN)]).is_err());
        assert_eq!(kept, fresh);
    }

    #[test]
    fn one_layer_is_the_formula() {
        let mut p = Distribution::from_probabilities(vec![0, 1, 2], vec![0.5, 0.3, 0.2]).unwrap();
        p.tournament(&[GBits(1), GBits(0), GBits(1)], 1, 2);
        let g = 0.7;
        for (found, expected) in
            p.probabilities().iter().zip([0.5 * (2.0 - g), 0.3 * (1.0 - g), 0.2 * (2.0 - g)])
        {
            assert!((found - expected).abs() < 1e-15);
        }
    }
}
