//! Compares marked with unmarked answers: a paired difference, its interval, and a test of equivalence.
//!
//! A run has a key and a seed. It answers every document twice, marked and unmarked, and d(i, r) is the difference of the two
//! scores of document i in run r. Documents and runs are both samples: other ones might have been asked and drawn. So the
//! variance of the mean of all d is that of a crossed design with two random factors, (MS documents + MS runs − MS rest) / (n
//! R). It is at least the larger of the first two over n R. With one run it is the variance over documents alone, and says
//! nothing about other keys.
//!
//! The interval is Student's, with Satterthwaite's degrees of freedom.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Difference of two means.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Difference {
    /// Number of documents with both scores in every run.
    pub documents: usize,
    /// Mean of the unmarked scores.
    pub unmarked: f64,
    /// Mean of the marked scores.
    pub marked: f64,
    /// Marked mean minus unmarked mean.
    pub difference: f64,
    /// Standard error of the difference.
    pub stderr: f64,
    /// Degrees of freedom of the standard error.
    pub degrees: f64,
    /// 95 % confidence interval of the difference.
    pub interval: [f64; 2],
    /// Largest difference that counts as none, on either side of 0.
    pub margin: f64,
    /// 90 % confidence interval of the difference: two one-sided tests at 5 %.
    pub interval_of_tests: [f64; 2],
    /// Greater p of the two one-sided tests; at most 0.05 means equivalence.
    pub p_equivalence: f64,
    /// Whether the difference is within the margin, at the 5 % level.
    pub equivalent: bool,
    /// Whether the 95 % interval excludes 0.
    pub different: bool,
    /// Difference in each run.
    pub runs: Vec<f64>,
}

/// Scores of one document in one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Score without the mark.
    pub unmarked: f64,
    /// Score with the mark.
    pub marked: f64,
}

/// Compares scores: `pairs[i]` has document i's scores, a pair for each run. Returns `None` for fewer than two documents.
///
/// If all differences are the same number, there is no spread to judge by. For example, a model that is never right shows
/// nothing about a mark. Then p is 1, and nothing is called equivalent or different.
pub fn compare(pairs: &[Vec<Pair>], margin: f64) -> Option<Difference> {
    let (n, runs) = (pairs.len(), pairs.first()?.len());
    if n < 2 || runs == 0 {
        return None;
    }
    let (rows, columns) = (n as f64, runs as f64);
    let total = rows * columns;
    let mean_of = |get: &dyn Fn(&Pair) -> f64| pairs.iter().flatten().map(get).sum::<f64>() / total;
    let d = |pair: &Pair| pair.marked - pair.unmarked;
    let difference = mean_of(&d);
    let by_document: Vec<f64> =
        pairs.iter().map(|pairs| pairs.iter().map(d).sum::<f64>() / columns).collect();
    let by_run: Vec<f64> =
        (0..runs).map(|run| pairs.iter().map(|pairs| d(&pairs[run])).sum::<f64>() / rows).collect();
    let squares = |means: &[f64]| means.iter().map(|mean| (mean - difference).powi(2)).sum::<f64>();
    let documents = columns * squares(&by_document) / (rows - 1.0);
    let (variance, degrees) = if runs == 1 {
        (documents / total, rows - 1.0)
    } else {
        let of_runs = rows * squares(&by_run) / (columns - 1.0);
        let mut rest = 0.0;
        for (pairs, of_document) in pairs.iter().zip(&by_document) {
            for (pair, of_run) in pairs.iter().zip(&by_run) {
                rest += (d(pair) - of_document - of_run + difference).powi(2);
            }
        }
        let rest = rest / ((rows - 1.0) * (columns - 1.0));
        let squared = (documents + of_runs - rest).powi(2);
        let parts = documents.powi(2) / (rows - 1.0)
            + of_runs.powi(2) / (columns - 1.0)
            + rest.powi(2) / ((rows - 1.0) * (columns - 1.0));
        let least = documents.max(of_runs);
        if documents + of_runs - rest > least && parts > 0.0 {
            ((documents + of_runs - rest) / total, squared / parts)
        } else {
            (least / total, if documents >= of_runs { rows - 1.0 } else { columns - 1.0 })
        }
    };
    let stderr = variance.sqrt();
    // The degrees are positive, so the distribution exists.
    let student = StudentsT::new(0.0, 1.0, degrees.max(1.0)).ok()?;
    let interval = |share: f64| {
        let half = if stderr > 0.0 { stderr * student.inverse_cdf(0.5 + share / 2.0) } else { 0.0 };
        [difference - half, difference + half]
    };
    let p_equivalence = if stderr > 0.0 { student.sf((margin - difference.abs()) / stderr) } else { 1.0 };
    let interval_95 = interval(0.95);
    Some(Difference {
        documents: n,
        unmarked: mean_of(&|pair| pair.unmarked),
        marked: mean_of(&|pair| pair.marked),
        difference,
        stderr,
        degrees,
        interval: interval_95,
        margin,
        interval_of_tests: interval(0.9),
        p_equivalence,
        equivalent: p_equivalence <= 0.05,
        different: stderr > 0.0 && (interval_95[0] > 0.0 || interval_95[1] < 0.0),
        runs: by_run,
    })
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    fn pairs(differences: &[&[f64]]) -> Vec<Vec<Pair>> {
        let pair = |d: &f64| Pair { unmarked: 1.0, marked: 1.0 + d };
        differences.iter().map(|row| row.iter().map(pair).collect()).collect()
    }

    /// Values of scipy 1.17.1: `ttest_1samp([0.5, -0.25, 0.75, 0, 0.25], 0).confidence_interval()`, and the greater p of the
    /// two tests against ±1.
    #[test]
    fn one_run_is_the_paired_t_test() {
        let found = compare(&pairs(&[&[0.5], &[-0.25], &[0.75], &[0.0], &[0.25]]), 1.0).unwrap();
        assert!((found.difference - 0.25).abs() < 1e-12 && found.degrees == 4.0);
        assert!((found.interval[0] + 0.240_810_790_4).abs() < 1e-6, "{found:?}");
        assert!((found.p_equivalence - 0.006_617_799_8).abs() < 1e-6, "{found:?}");
        assert!(found.equivalent && !found.different);
        assert_eq!(compare(&pairs(&[&[1.0]]), 1.0), None);
        let same = compare(&pairs(&[&[0.0], &[0.0]]), 0.1).unwrap();
        assert!(!same.equivalent && !same.different && same.p_equivalence == 1.0);
    }

    /// With effects of documents and of keys, 95 % of the intervals contain the true difference. Intervals that treated the
    /// keys as fixed would contain it far less often.
    #[test]
    fn the_interval_covers_the_difference_over_keys_too() {
        let mut random = StdRng::seed_from_u64(7);
        let mut normal = || (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        let (mut covered, repetitions) = (0, 1000);
        for _ in 0..repetitions {
            let of_runs: Vec<f64> = (0..4).map(|_| 0.3 * normal()).collect();
            let rows: Vec<Vec<f64>> = (0..40)
                .map(|_| {
                    let of_document = normal();
                    of_runs.iter().map(|of_run| 0.1 + of_document + of_run + normal()).collect()
                })
                .collect();
            let rows: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
            let found = compare(&pairs(&rows), 0.1).unwrap();
            covered += usize::from(found.interval[0] <= 0.1 && 0.1 <= found.interval[1]);
        }
        let share = covered as f64 / f64::from(repetitions);
        assert!((0.93..=0.99).contains(&share), "{share}");
    }
}
