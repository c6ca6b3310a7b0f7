//! What one key makes of one text.

use super::keys::{Entry, Plan};
use crate::report::Scores;
use crate::scheme::TextGValues;
use crate::statistics::{Method, PValue, Sample, Statistic};

/// What a statistic needs of one text under one key; grows with each part of it.
#[derive(Default)]
pub(super) struct Tally {
    /// Positions that a p-value may count.
    tokens: u64,
    /// The deciding statistic's sum over them.
    sum: i64,
    /// Positions that the reference implementation scores.
    reference_tokens: u64,
    /// The deciding statistic's sum over them.
    reference_sum: i64,
    /// The sums of the mean and the weighted mean over them.
    reference_means: [i64; 2],
    /// The deciding statistic's Σ ln ratio over them, where it has a prior.
    reference_ln: f64,
    /// Positions with a complete context, less the ignored ones.
    positions: u64,
    /// Positions that an ignore list took out.
    ignored: u64,
}

/// The verdict of one key, before the number of keys is looked at.
pub(super) struct Outcome {
    pub scored_tokens: u64,
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
        let (scored, reference) = (Sample::scored(values), Sample::reference(values));
        let same = values.scored == values.reference_mask;
        let (statistic, method) = (&*plan.statistic, plan.statistic.method());
        let deciding = sum(statistic, scored);
        let deciding_reference = if same { deciding } else { sum(statistic, reference) };
        let tokens = scored.tokens();
        self.tokens += tokens;
        self.sum += deciding;
        self.reference_tokens += if same { tokens } else { reference.tokens() };
        self.reference_sum += deciding_reference;
        let means: [&dyn Statistic; 2] = [&plan.mean, &*plan.weighted_mean];
        for (total, mean) in self.reference_means.iter_mut().zip(means) {
            *total += if mean.method() == method { deciding_reference } else { sum(mean, reference) };
        }
        if let Some(posterior) = statistic.posterior() {
            self.reference_ln +=
                posterior.ln_ratio(reference).expect("the statistic was made for keys of this depth");
        }
        self.positions += values.g.len() as u64 - ignored;
        self.ignored += ignored;
    }

    pub(super) fn outcome(&self, entry: &Entry, plan: &Plan) -> Outcome {
        let Plan { mean, weighted_mean, statistic, .. } = plan;
        let (tokens, [ones, weighted_ones]) = (self.reference_tokens, self.reference_means);
        Outcome {
            scored_tokens: self.tokens,
            positions: self.positions,
            ignored: self.ignored,
            score: statistic.score(self.tokens, self.sum),
            p: statistic.p_value(self.tokens, self.sum).map(|p| PValue { kind: entry.p_kind(), ..p }),
            scores: Scores {
                mean: mean.score(tokens, ones),
                weighted_mean: weighted_mean.score(tokens, weighted_ones),
                llr: match statistic.method() {
                    Method::Llr => statistic.score(tokens, self.reference_sum),
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

/// The sum of a statistic that was made for the depth of `sample`.
pub(super) fn sum(statistic: &dyn Statistic, sample: Sample<'_>) -> i64 {
    statistic.sum(sample).expect("the statistic was made for keys of this depth")
}
