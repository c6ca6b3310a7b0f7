//! Scores pairs of context and token under a key.

use wmdetect::scheme::{DistinctNgrams, Key};
use wmdetect::statistics::{PKind, PValue, Sample, Scored, Statistic, UnsupportedEvidence};

/// Result of judging pairs under a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// Number of values that were summed: one for each channel of each pair.
    pub values: u64,
    /// The sum as a share of the largest possible sum; `None` if there are no pairs.
    pub score: Option<f64>,
    /// Probability of this score or a higher one, if the values are independent fair coins; `None` if there are no pairs.
    pub p: Option<PValue>,
}

/// Scores pairs under a key. A student has learned from answers of all channels, so the values of all channels are summed.
///
/// # Errors
/// Returns an error if the statistic is for another kind of evidence than the key's.
pub fn judge(
    key: &Key,
    statistic: &dyn Statistic,
    pairs: &DistinctNgrams<'_>,
) -> Result<Judged, UnsupportedEvidence> {
    let (mut values, mut sum) = (0, 0);
    for prf in key.prf().channels() {
        let g = prf.g_bits_of_distinct(pairs);
        values += g.len() as u64;
        sum += statistic.sum(Sample::layers(prf.scheme().depth(), &g))?;
    }
    let kind = if key.scheme().promise().is_exact() { PKind::Exact } else { PKind::Approximate };
    let scored = Scored::full(values);
    let p = statistic.p_value(scored, sum).map(|p| PValue { kind, ..p });
    Ok(Judged { values, score: statistic.score(scored, sum), p })
}
