//! How many texts are found, with intervals that take into account which texts belong together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::statistics::{PKind, PValue};

/// The normal quantile of a 95 % interval.
const Z95: f64 = 1.959_963_984_540_054;

/// What a detector said of one text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// The number of the cluster that the text belongs to, such as that of its prompt.
    pub cluster: u64,
    /// log₁₀ p; `None` if nothing could be scored, which counts as p = 1.
    pub log10_p: Option<f64>,
    /// The share of words that the edit left, if the text had a word.
    pub words_kept: Option<f64>,
}

/// What a detector said of several texts after one edit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Summary {
    /// Texts that were edited and scored.
    pub texts: u64,
    /// Number of clusters that they form.
    pub clusters: u64,
    /// Texts that could not be edited or scored. They are not among `texts`.
    pub errors: u64,
    /// How many were found at each rate, in the order of the rates.
    pub found: Vec<Found>,
    /// The median of log₁₀ p; null without a text. A text in which nothing was scored has p = 1.
    pub median_log10_p: Option<f64>,
    /// The mean share of words that the edit left, 0 to 1; null without a text that has words.
    pub words_kept: Option<f64>,
}

/// How many texts have p ≤ `fpr`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Found {
    /// The rate.
    pub fpr: f64,
    /// Their number.
    pub texts: u64,
    /// Their share, 0 to 1; null without a text.
    pub share: Option<f64>,
    /// Ends of its 95 % interval; null without a text.
    pub interval: Option<[f64; 2]>,
    /// How many texts of these clusters carry as much information as one independent text, at least 1; null without a
    /// text.
    pub design_effect: Option<f64>,
}

impl Summary {
    /// Counts the texts that are found at each of the rates.
    ///
    /// The interval is Wilson's (1927) with the effective number of texts n* = n / d in the place of n (Korn and Graubard
    /// 1998; Dean and Pagano 2015 compare such intervals):
    ///
    /// (s + z²/2n* ± z √(s(1 − s)/n* + z²/4n*²)) / (1 + z²/n*), where s is the share and z = 1.96.
    ///
    /// The design effect d is the ratio of two variances of the share, at least 1. The first is that of a sample of
    /// clusters (linearisation, Cochran 1977, section 9A.2 with ratio estimates). Among C clusters, cluster c has m_c
    /// texts, of which f_c are found, and
    ///
    /// V = C / (C − 1) · Σ (f_c − m_c s)² / n².
    ///
    /// The second is that of independent texts, s(1 − s) / (n − 1). If every text is its own cluster, d is 1.
    ///
    /// If none or all are found, or if all belong to one cluster, neither variance says how alike the texts of a
    /// cluster are. Then they are taken as wholly alike: d = Σ m_c² / n (Kish 1965). The interval is then rather too
    /// wide.
    pub fn new(outcomes: &[Outcome], errors: u64, rates: &[f64]) -> Self {
        let texts = outcomes.len() as u64;
        let mut clusters: BTreeMap<u64, Vec<&Outcome>> = BTreeMap::new();
        for outcome in outcomes {
            clusters.entry(outcome.cluster).or_default().push(outcome);
        }
        let found = rates.iter().map(|&fpr| {
            let is_found = |log10: f64| PValue { log10, kind: PKind::Exact }.reaches(fpr);
            let of_cluster = |texts: &Vec<&Outcome>| {
                let found = texts.iter().filter(|text| text.log10_p.is_some_and(is_found));
                (texts.len() as u64, found.count() as u64)
            };
            let counts: Vec<(u64, u64)> = clusters.values().map(of_cluster).collect();
            found(fpr, &counts)
        });
        let mut log10_p: Vec<f64> = outcomes.iter().map(|outcome| outcome.log10_p.unwrap_or(0.0)).collect();
        let kept: Vec<f64> = outcomes.iter().filter_map(|outcome| outcome.words_kept).collect();
        Self {
            texts,
            clusters: clusters.len() as u64,
            errors,
            found: found.collect(),
            median_log10_p: median(&mut log10_p),
            words_kept: (!kept.is_empty()).then(|| kept.iter().sum::<f64>() / kept.len() as f64),
        }
    }
}

/// Returns the share that is found, from each cluster's number of texts and number of found texts.
fn found(fpr: f64, clusters: &[(u64, u64)]) -> Found {
    let texts: u64 = clusters.iter().map(|(texts, _)| texts).sum();
    let hits: u64 = clusters.iter().map(|(_, found)| found).sum();
    if texts == 0 {
        return Found { fpr, texts: 0, share: None, interval: None, design_effect: None };
    }
    let share = hits as f64 / texts as f64;
    let design_effect = design_effect(clusters, texts as f64, share);
    let interval = wilson(share, texts as f64 / design_effect);
    Found {
        fpr,
        texts: hits,
        share: Some(share),
        interval: Some(interval),
        design_effect: Some(design_effect),
    }
}

/// See [`Summary::new`].
fn design_effect(clusters: &[(u64, u64)], n: f64, share: f64) -> f64 {
    if clusters.iter().all(|&(texts, _)| texts == 1) {
        return 1.0;
    }
    let c = clusters.len() as f64;
    let independent = share * (1.0 - share) / (n - 1.0);
    let effect = if c > 1.0 && independent > 0.0 {
        let residuals = clusters.iter().map(|&(m, f)| (f as f64 - m as f64 * share).powi(2));
        c / (c - 1.0) * residuals.sum::<f64>() / (n * n) / independent
    } else {
        clusters.iter().map(|&(m, _)| (m * m) as f64).sum::<f64>() / n
    };
    effect.max(1.0)
}

/// See [`Summary::new`].
fn wilson(share: f64, n: f64) -> [f64; 2] {
    let z2 = Z95 * Z95;
    let centre = share + z2 / (2.0 * n);
    let half = Z95 * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z2 / n;
    // At its ends rounding would leave the range.
    [
        if share > 0.0 { ((centre - half) / scale).max(0.0) } else { 0.0 },
        if share < 1.0 { ((centre + half) / scale).min(1.0) } else { 1.0 },
    ]
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        len if len.is_multiple_of(2) => Some(f64::midpoint(values[middle - 1], values[middle])),
        _ => Some(values[middle]),
    }
}
