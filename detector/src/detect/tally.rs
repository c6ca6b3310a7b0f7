//! The result of one text under one key.

use super::keys::{Entry, Means, Plan};
use crate::report::Scores;
use crate::scheme::{Evidence, TextGValues};
use crate::statistics::{Method, PValue, Sample, Scored, Statistic};

/// What a statistic needs of one text under one key. It grows with each part of the text.
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
    /// The deciding statistic's Σ ln ratio over them, if it has a prior.
    reference_ln: f64,
    /// Positions with a complete context, less the ignored ones.
    positions: u64,
    /// Positions that an ignore list took out.
    ignored: u64,
}

/// The verdict of one key, before the correction for the number of keys.
pub(super) struct Outcome {
    pub scored: Scored,
    /// Positions with a complete context, less the ignored ones.
    pub positions: u64,
    /// Positions that an ignore list took out.
    pub ignored: u64,
    pub score: Option<f64>,
    pub p: Option<PValue>,
    /// The scores of a tournament.
    pub scores: Option<Scores>,
}

impl Tally {
    /// Counts `evidence`, of whose positions `ignored` were taken out.
    pub(super) fn add(&mut self, evidence: &Evidence, ignored: u64, plan: &Plan) {
        self.positions += evidence.len() as u64 - ignored;
        self.ignored += ignored;
        if let Evidence::Layers(values) = evidence {
            self.add_layers(values, plan);
        } else {
            let sample = Sample::new(evidence, evidence.scored_mask());
            self.sum += sum(&*plan.statistic, sample);
            self.scored += sample.tokens();
        }
    }

    fn add_layers(&mut self, values: &TextGValues, plan: &Plan) {
        let scored = Sample::scored(values);
        let same = values.scored == values.reference_mask;
        let reference = if same { scored } else { Sample::reference(values) };
        let statistic = &*plan.statistic;
        let means = plan.means.as_ref().expect("a plan for layers has means");
        let (weighted, ones) = means.weighted_mean.sum_and_ones(reference).expect(SAME_KIND);
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
            self.reference_ln += posterior.ln_ratio(reference).expect(SAME_KIND);
        }
    }

    pub(super) fn outcome(&self, entry: &Entry, plan: &Plan) -> Outcome {
        let statistic = &*plan.statistic;
        let (scored, reference) = (statistic.counts(self.scored), self.reference);
        let scores = plan.means.as_ref().map(|Means { mean, weighted_mean }| Scores {
            present: true,
            mean: mean.score(mean.counts(reference), self.reference_ones),
            weighted_mean: weighted_mean.score(reference, self.reference_weighted),
            llr: match statistic.method() {
                Method::Llr => statistic.score(statistic.counts(reference), self.reference_sum),
                _ => None,
            },
            bayesian: statistic.posterior().map(|posterior| posterior.probability(self.reference_ln)),
        });
        Outcome {
            scored,
            positions: self.positions,
            ignored: self.ignored,
            score: statistic.score(scored, self.sum),
            p: statistic.p_value(scored, self.sum).map(|p| PValue { kind: entry.p_kind(), ..p }),
            scores,
        }
    }
}

impl Outcome {
    /// Returns whether this p is below that of `other`. A missing p is above every other.
    pub(super) fn is_less_than(&self, other: &Self) -> bool {
        let log10 = |outcome: &Self| outcome.p.map_or(f64::INFINITY, |p| p.log10);
        log10(self).total_cmp(&log10(other)).is_lt()
    }
}

/// Why a statistic of a [`Plan`] can sum the evidence of the plan's keys.
const SAME_KIND: &str = "the statistic was made for evidence of this kind";

/// Returns the sum of a statistic that was made for the kind of `sample`.
pub(super) fn sum(statistic: &dyn Statistic, sample: Sample<'_>) -> i64 {
    statistic.sum(sample).expect(SAME_KIND)
}
