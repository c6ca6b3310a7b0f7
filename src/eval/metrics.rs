//! Turns scores of documents into metrics with standard errors.

use std::f64::consts::LN_2;

use serde::Serialize;

use super::judge::{BYTES, LOGLIKELIHOOD, Scores, WORDS};
use super::{Kind, Metric, Task};

/// A metric over all documents.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Measured {
    /// Its name.
    pub metric: &'static str,
    /// Filter of the part of an answer that is compared; null for the whole answer.
    pub filter: Option<String>,
    /// Value; null if nothing was measured, for instance because programs were not run.
    pub value: Option<f64>,
    /// Standard error; null for fewer than two documents.
    pub stderr: Option<f64>,
    /// Number of documents measured.
    pub documents: usize,
}

/// Returns the mean.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Returns the standard error of the mean, σ / √n with n − 1 in σ, or `None` for fewer than two values.
pub fn mean_stderr(values: &[f64]) -> Option<f64> {
    let n = values.len() as f64;
    (values.len() > 1).then(|| {
        let mean = mean(values);
        (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt()
    })
}

/// Returns the names of a task's scores that are means over documents, with metric and filter.
pub fn means(task: &Task) -> Vec<(String, Metric, Option<String>)> {
    let mut names = Vec::new();
    for &metric in &task.metrics {
        let filtered = metric == Metric::ExactMatch && !task.filters.is_empty();
        if !filtered {
            names.push((metric.name().to_owned(), metric, None));
            continue;
        }
        for filter in &task.filters {
            names.push((format!("{},{}", metric.name(), filter.name), metric, Some(filter.name.clone())));
        }
    }
    names
}

/// Measures the documents that have these scores.
pub fn measure<'s>(task: &Task, scores: impl Iterator<Item = &'s Scores> + Clone) -> Vec<Measured> {
    means(task)
        .into_iter()
        .map(|(name, metric, filter)| {
            let metric_name = metric.name();
            if task.kind == Kind::Perplexity {
                return weighted(metric, scores.clone());
            }
            let values: Vec<f64> = scores.clone().filter_map(|scores| scores.get(&name).copied()).collect();
            Measured {
                metric: metric_name,
                filter,
                value: (!values.is_empty()).then(|| mean(&values)),
                stderr: mean_stderr(&values),
                documents: values.len(),
            }
        })
        .collect()
}

/// Measures a perplexity, which is a function of a ratio: ln p of all texts to their lengths. The standard error is that of
/// the ratio times the function's slope (the delta method). The harness gives none.
fn weighted<'s>(metric: Metric, scores: impl Iterator<Item = &'s Scores>) -> Measured {
    let unit = if metric == Metric::WordPerplexity { WORDS } else { BYTES };
    let get = |scores: &Scores, name: &str| scores.get(name).copied().unwrap_or(0.0);
    let pairs: Vec<(f64, f64)> =
        scores.map(|scores| (get(scores, LOGLIKELIHOOD), get(scores, unit))).collect();
    let (log, length) = pairs.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
    let n = pairs.len() as f64;
    let ratio = log / length;
    let of_ratio = (pairs.len() > 1).then(|| {
        let residuals = pairs.iter().map(|(log, length)| (log - ratio * length).powi(2)).sum::<f64>();
        (residuals * n / (n - 1.0)).sqrt() / length
    });
    let (value, slope) = match metric {
        Metric::BitsPerByte => (-ratio / LN_2, 1.0 / LN_2),
        _ => ((-ratio).exp(), (-ratio).exp()),
    };
    Measured {
        metric: metric.name(),
        filter: None,
        value: (length > 0.0).then_some(value),
        stderr: of_ratio.map(|stderr| stderr * slope).filter(|stderr| stderr.is_finite()),
        documents: pairs.len(),
    }
}

/// Returns the standard error of a mean over all documents of several groups, from the groups' standard errors and sizes:
/// the harness's `pooled_sample_stderr`. Returns `None` if a group has fewer than two documents.
pub fn pooled_stderr(groups: &[(Option<f64>, usize)]) -> Option<f64> {
    let (mut variance, mut total) = (0.0, 0);
    for &(stderr, size) in groups {
        variance += (size as f64 - 1.0) * stderr?.powi(2) * size as f64;
        total += size;
    }
    let degrees = total.checked_sub(groups.len()).filter(|degrees| *degrees > 0)?;
    Some((variance / degrees as f64 / total as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of lm_eval 0.4.13: `mean_stderr([0, 1, 1, 0, 1])` and `pooled_sample_stderr([0.2, 0.1], [5, 11])`.
    #[test]
    fn standard_errors_are_the_harness_s() {
        assert!((mean_stderr(&[0.0, 1.0, 1.0, 0.0, 1.0]).unwrap() - 0.244_948_974_278_317_8).abs() < 1e-15);
        assert_eq!(mean_stderr(&[1.0]), None);
        let pooled = pooled_stderr(&[(Some(0.2), 5), (Some(0.1), 11)]).unwrap();
        assert!((pooled - ((4.0 * 0.04 * 5.0 + 10.0 * 0.01 * 11.0) / 14.0_f64 / 16.0).sqrt()).abs() < 1e-15);
    }
}
