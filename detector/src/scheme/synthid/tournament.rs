//! What a tournament makes of a distribution.
//!
//! Layer l turns p into p(x)·(1 + g_l(x) − G_l), with G_l = Σ p(x) g_l(x). The result is the winner's distribution in a
//! tournament of m rounds. In each, pairs of independent draws meet and the one with the greater g-value goes on; a
//! coin breaks ties. Averaged over keys the result is p again, so the mark costs no quality (Dathathri et al., theorem
//! on non-distortion with two competitors).

use crate::scheme::GBits;
use crate::scheme::distribution::{Distribution, SIDE_BY_SIDE};

impl Distribution {
    /// Runs a tournament of `depth` layers, at most 64, with `leaves` ≥ 2 competitors a match; `g` has one entry a candidate.
    ///
    /// Let Z be the mass of g = 0 in a layer. A token's probability is multiplied by Z^(leaves−1) if its own g is 0,
    /// and by 1 + Z + … + Z^(leaves−1) if it is 1. For two leaves the factor is 1 + g − G. Only two leaves leave the
    /// average over keys unchanged; more make the mark stronger and the text different.
    ///
    /// # Panics
    /// Panics if `g` is not as long as the candidates or `leaves` is less than 2.
    pub fn tournament(&mut self, g: &[GBits], depth: usize, leaves: u32) {
        assert_eq!(g.len(), self.tokens().len(), "one g-value a candidate");
        assert!(leaves >= 2, "a match needs two competitors");
        self.reweigh(|_, probabilities| {
            if g.len() < MANY {
                layer_by_layer(probabilities, g, depth, leaves);
            } else {
                group_by_group(probabilities, g, depth, leaves);
            }
        });
    }
}

/// Runs the tournament as it is defined, one pass a layer. A pass multiplies by the factors of the layer before and
/// sums for its own layer. No branch depends on a g-value, since no processor could predict it.
fn layer_by_layer(probabilities: &mut [f64], g: &[GBits], depth: usize, leaves: u32) {
    let mut factor = [1.0, 1.0];
    for layer in 0..depth {
        let before = layer.saturating_sub(1);
        let (mut zeros, mut totals) = ([0.0; SIDE_BY_SIDE], [0.0; SIDE_BY_SIDE]);
        let mut take = |place: usize, p: &mut f64, g: GBits| {
            *p *= choose(factor, g.layer(before));
            totals[place] += *p;
            zeros[place] += choose([*p, 0.0], g.layer(layer));
        };
        let (chunks, rest) = probabilities.as_chunks_mut::<SIDE_BY_SIDE>();
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
    for (p, g) in probabilities.iter_mut().zip(g) {
        *p *= choose(factor, g.layer(depth.saturating_sub(1)));
    }
}

/// Runs the same for many candidates, [`GROUP`] layers a pass. Candidates whose g-values agree in these layers are
/// multiplied by the same factors. So the layers' sums need only the mass of each of the 2^`GROUP` patterns.
fn group_by_group(probabilities: &mut [f64], g: &[GBits], depth: usize, leaves: u32) {
    let mut mass = [0.0; 1 << GROUP];
    let mut factor = [1.0; 1 << GROUP];
    let mut before = 0;
    for start in (0..depth).step_by(GROUP) {
        let layers = GROUP.min(depth - start);
        let pattern = |g: &GBits, start: usize, layers: usize| (g.0 >> start) as usize & ((1 << layers) - 1);
        mass.fill(0.0);
        for (p, g) in probabilities.iter_mut().zip(g) {
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
    for (p, g) in probabilities.iter_mut().zip(g) {
        *p *= factor[(g.0 >> start) as usize & ((1 << before) - 1)];
    }
}

/// Returns one of two finite numbers, by arithmetic. A branch on the bit would be mispredicted every other time.
fn choose([if_zero, if_one]: [f64; 2], bit: u64) -> f64 {
    let one = f64::from(bit as i32);
    if_zero * (1.0 - one) + if_one * one
}

/// Number of candidates from which a pass over them costs more than one over the patterns of a group of layers.
const MANY: usize = 4096;
/// Layers of a group; two tables of 2^`GROUP` numbers fit the first-level cache.
const GROUP: usize = 10;

/// Returns what a layer multiplies a probability by if the token's own g is 0, and if it is 1. Dividing by the sum in
/// each layer keeps rounding from adding up over 30 layers.
fn factors(zeros: f64, total: f64, leaves: u32) -> [f64; 2] {
    let z = zeros / total;
    [z.powi(leaves as i32 - 1) / total, (0..leaves as i32).map(|k| z.powi(k)).sum::<f64>() / total]
}

#[cfg(test)]
mod tests {
    use super::*;

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
            plain.reweigh(|_, probabilities| layer_by_layer(probabilities, &g, depth, leaves));
            grouped.tournament(&g, depth, leaves);
            for (a, b) in plain.probabilities().iter().zip(grouped.probabilities()) {
                assert!((a - b).abs() <= 1e-12 * a, "{a} {b}, depth {depth}, {leaves} leaves");
            }
        }
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
