//! What one key makes of one text.

use super::keys::{Entry, Plan};
use crate::report::Scores;
use crate::scheme::{Evidence, TextGValues};
use crate::statistics::{Method, PValue, Sample, Scored, Statistic};

/// The g-values of a key's text. [`Plans::new`](super::keys::Plans::new) refuses the keys whose texts have others.
pub(super) fn layers(evidence: Evidence) -> TextGValues {
    evidence.into_layers().expect("the keys of a detector have layers")
}

/// What a statistic needs of one text under one key; grows with each part of it.
#[derive(Clone, Default)]
pub(super) struct Tally {
    /// Positions that count.
    scored: Scored,
    /// The deciding statistic's sum over them.
    sum: i64,
    /// Positions that the reference implementation scores.
    reference: Scored,
    /// The deciding statistic's sum over them.
    reference_sum: i64,
    /// The sums of the mean and of the weighted mean over them.
    reference_ones: i64,
    reference_weighted: i64,
    /// The deciding statistic's Σ ln ratio over them, where it has a prior.
    reference_ln: f64,
    /// Positions with a complete context, less the ignored ones.
    positions: u64,
    /// Positions that an ignore list took out.
    ignored: u64,
}

/// The verdict of one key, before the number of keys is looked at.
pub(super) struct Outcome {
    pub scored: Scored,
    /// Positions with a complete context, less the ignored ones.
    pub positions: u64,
    /// Positions that an ignore list took out.
    pub ignored: u64,
    pub score: Option<f64>,
    pub p: Option<PValue>,
    pub scores: Scores,
}

impl Tally {
    /// Counts `values`, of whose positions `ignored` were taken out.
    pub(super) fn add(&mut self, values: &TextGValues, ignored: u64, plan: &Plan) {
        let scored = Sample::scored(values);
        let same = values.scored == values.reference_mask;
        let reference = if same { scored } else { Sample::reference(values) };
        let statistic = &*plan.statistic;
        let (weighted, ones) = plan.weighted_mean.sum_and_ones(reference).expect(SAME_DEPTH);
        let reference_sum = match statistic.method() {
            Method::Mean => ones,
            Method::WeightedMean => weighted,
            _ => sum(statistic, reference),
        };
        self.reference_ones += ones;
        self.reference_weighted += weighted;
        self.reference_sum += reference_sum;
        self.reference += reference.tokens();
        self.sum += if same { reference_sum } else { sum(statistic, scored) };
        self.scored += scored.tokens();
        if let Some(posterior) = statistic.posterior() {
            self.reference_ln += posterior.ln_ratio(reference).expect(SAME_DEPTH);
        }
        self.positions += values.g.len() as u64 - ignored;
        self.ignored += ignored;
    }

    pub(super) fn outcome(&self, entry: &Entry, plan: &Plan) -> Outcome {
        let Plan { mean, weighted_mean, statistic, .. } = plan;
        let (scored, reference) = (statistic.counts(self.scored), self.reference);
        Outcome {
            scored,
            positions: self.positions,
            ignored: self.ignored,
            score: statistic.score(scored, self.sum),
            p: statistic.p_value(scored, self.sum).map(|p| PValue { kind: entry.p_kind(), ..p }),
            scores: Scores {
                mean: mean.score(mean.counts(reference), self.reference_ones),
                weighted_mean: weighted_mean.score(reference, self.reference_weighted),
                llr: match statistic.method() {
                    Method::Llr => statistic.score(statistic.counts(reference), self.reference_sum),
                    _ => None,
                },
                bayesian: statistic.posterior().map(|posterior| posterior.probability(self.reference_ln)),
            },
        }
    }
}

impl Outcome {
    /// Whether its p is below that of `other`; nothing is above everything.
    pub(super) fn is_less_than(&self, other: &Self) -> bool {
        let log10 = |outcome: &Self| outcome.p.map_or(f64::INFINITY, |p| p.log10);
        log10(self).total_cmp(&log10(other)).is_lt()
    }
}

/// Why a statistic of a [`Plan`] can sum the evidence of the plan's keys.
const SAME_DEPTH: &str = "the statistic was made for keys of this depth";

/// The sum of a statistic that was made for the depth of `sample`.
pub(super) fn sum(statistic: &dyn Statistic, sample: Sample<'_>) -> i64 {
    statistic.sum(sample).expect(SAME_DEPTH)
}
