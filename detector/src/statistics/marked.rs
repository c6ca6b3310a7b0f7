//! A model of marked text for the schemes without a tournament: how free its tokens were.
//!
//! The built-in profile [`REFERENCE`](super::llr::REFERENCE) has classes of tokens with their shares π and, for each,
//! the strength ψ of the first layer. By Dathathri et al. that is 1 − c, where c = Σ p² is the probability that two
//! draws are the same. A token of a class is modelled as one of 1 / c equally likely tokens. The model decides how long
//! a text must be for its silence to mean something, and what passages and explanations look for. No p-value depends on
//! it.

use super::llr::{PSI_UNITS, Profile, WEIGHT_UNITS};
use crate::scheme::{EvidenceKind, GBits};

/// How many times likelier a token's number is in such a text than without the mark.
///
/// Without the mark its mean is at most 1. Over uniform numbers the factor (1/c) u^(1/c − 1) has mean 1. It rises with u, so at the
/// lower edges of cells its mean is smaller. Green raises the factor, and a token is green with at most the probability
/// that the rate says. The product over tokens has a mean of at most 1, too: greens of one list are drawn without
/// replacement, hence negatively associated (Joag-Dev and Proschan 1983).
pub(crate) struct LikelihoodRatio<'p> {
    kind: EvidenceKind,
    profile: &'p Profile,
}

impl<'p> LikelihoodRatio<'p> {
    /// Makes the ratio for uniform numbers and green lists, in texts whose tokens are as free as those of the profile.
    /// For a tournament it is always 1: [`Profile`] has the ratios of tournaments.
    pub(crate) fn new(kind: EvidenceKind, profile: &'p Profile) -> Self {
        Self { kind, profile }
    }

    /// Returns ln of the ratio, in nats.
    pub(crate) fn ln(&self, g: GBits) -> f64 {
        let of_uniform =
            |u: f64| mixture_of(self.profile, |collision| u.powf(1.0 / collision - 1.0) / collision);
        let ratio = match self.kind {
            EvidenceKind::Layers { .. } => 1.0,
            EvidenceKind::Green { rate } => mixture_of(self.profile, |collision| {
                let green = green_rate(rate, collision);
                if g.0 == 1 { green / rate } else { (1.0 - green) / (1.0 - rate) }
            }),
            EvidenceKind::Uniform(law) => match law.read(g) {
                [Some(first), Some(second)] => {
                    let share = law.second_share.unwrap_or(0.0);
                    (1.0 - share) * of_uniform(first) + share * of_uniform(second)
                }
                [first, _] => of_uniform(first.unwrap_or(0.0)),
            },
        };
        ratio.max(f64::MIN_POSITIVE).ln()
    }
}

/// Returns Σ π f(c) over the classes of the reference profile.
pub(super) fn mixture(f: impl Fn(f64) -> f64) -> f64 {
    mixture_of(Profile::reference(), f)
}

fn mixture_of(profile: &Profile, f: impl Fn(f64) -> f64) -> f64 {
    let classes = profile.classes();
    let class = |(&weight, psi): (&u32, &Vec<u16>)| {
        let psi = f64::from(psi.first().copied().unwrap_or(0)) / f64::from(PSI_UNITS);
        let collision = (1.0 - psi).clamp(1e-4, 1.0);
        f64::from(weight) / f64::from(WEIGHT_UNITS) * f(collision)
    };
    classes.weights().iter().zip(classes.psi()).map(class).sum()
}

/// The bias of green logits in the texts that [`Statistic::required_tokens`](super::Statistic::required_tokens) is
/// about: every engine's default.
const BIAS: f64 = 2.0;

/// Returns the probability of green in a marked text where two draws are the same with the probability `collision`. If
/// the choice is free, it is what the bias makes of the rate; if there is no choice, it is the rate itself.
pub(super) fn green_rate(rate: f64, collision: f64) -> f64 {
    let odds = rate / (1.0 - rate) * BIAS.exp();
    collision * rate + (1.0 - collision) * odds / (1.0 + odds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::Uniforms;

    #[test]
    fn the_shares_sum_to_one_and_collisions_are_probabilities() {
        assert!((mixture(|_| 1.0) - 1.0).abs() < 1e-12);
        let mean = mixture(|collision| collision);
        assert!((0.2..0.95).contains(&mean), "{mean}");
    }

    #[test]
    fn the_ratio_has_a_mean_of_at_most_one() {
        for second_share in [None, Some(0.3)] {
            let steps = 4096;
            let ratio = LikelihoodRatio::new(
                EvidenceKind::Uniform(Uniforms { steps, second_share }),
                Profile::reference(),
            );
            // The second number runs through all values as well, in another order.
            let number =
                |n: u64| GBits(n | if second_share.is_some() { (n * 1597 % steps) << 32 } else { 0 });
            let mean = (0..steps).map(|n| ratio.ln(number(n)).exp()).sum::<f64>() / steps as f64;
            assert!((0.95..=1.0).contains(&mean), "{mean}");
        }
        let ratio = LikelihoodRatio::new(EvidenceKind::Green { rate: 0.25 }, Profile::reference());
        let [red, green] = [0, 1].map(|g| ratio.ln(GBits(g)).exp());
        assert!((0.75 * red + 0.25 * green - 1.0).abs() < 1e-12 && green > 1.0);
    }
}
