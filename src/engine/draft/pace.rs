//! Decides how many guesses pay off.

/// Assumed cost of a further row, as a share of a pass of one row, until it is measured.
const SUPPOSED: f64 = 0.1;
/// Number of passes after which a time no longer counts.
const FORGOTTEN: u64 = 256;
/// Number of times kept for each number of rows; their median counts.
const KEPT: usize = 5;
/// Number of times after which they count even if they are longer than other numbers of rows suggest. The first pass of a kind may wait
/// for memory, and what seems slow would not be tried again.
const CERTAIN: usize = 3;
/// Drafts must promise this factor over no drafts; otherwise errors of measurement would decide.
pub(in crate::engine) const GAIN: f64 = 1.03;

/// How long passes of each number of rows took, in any unit.
#[derive(Clone, Default, Debug)]
pub(in crate::engine) struct Pace {
    /// Number of passes so far.
    passes: u64,
    /// Times by number of rows.
    times: Vec<Times>,
}

#[derive(Clone, Copy, Default, Debug)]
struct Times {
    last: [f64; KEPT],
    /// Number of times learned; only the last [`KEPT`] are kept.
    count: usize,
    /// Number of the pass that gave the last time.
    pass: u64,
}

impl Times {
    fn median(&self) -> Option<f64> {
        let mut last = self.last;
        let last = &mut last[..self.count.min(KEPT)];
        last.sort_by(f64::total_cmp);
        last.get(last.len() / 2).copied()
    }
}

impl Pace {
    /// Learns the time of a pass.
    pub(in crate::engine) fn learn(&mut self, rows: usize, time: f64) {
        if self.times.len() <= rows {
            self.times.resize(rows + 1, Times::default());
        }
        self.passes += 1;
        let times = &mut self.times[rows];
        if self.passes - times.pass > FORGOTTEN {
            times.count = 0;
        }
        times.last[times.count % KEPT] = time;
        times.count += 1;
        times.pass = self.passes;
    }

    /// Returns whether any time is known.
    pub(in crate::engine) fn is_measured(&self) -> bool {
        self.passes > 0
    }

    /// Returns the expected time of a pass of this many rows: its own, or scaled from the nearest number of rows that was measured.
    pub(in crate::engine) fn of(&self, rows: usize) -> f64 {
        let supposed = |rows: usize| 1.0 + SUPPOSED * (rows as f64 - 1.0);
        let fresh = |times: &&Times| times.count > 0 && self.passes - times.pass <= FORGOTTEN;
        let measured = |least: usize| {
            let times = self.times.iter().enumerate();
            let times = times.filter(|(_, times)| fresh(times) && times.count >= least);
            let nearest = times.min_by_key(|(of, _)| of.abs_diff(rows));
            nearest.and_then(|(of, times)| Some(times.median()? * supposed(rows) / supposed(of)))
        };
        let by_certain = measured(CERTAIN);
        let own = self.times.get(rows).filter(fresh).and_then(Times::median);
        match (own, by_certain) {
            (Some(own), Some(certain)) => own.min(certain),
            (Some(time), None) | (None, Some(time)) => time,
            (None, None) => measured(1).unwrap_or(supposed(rows)),
        }
    }

    /// Returns how many of its guesses pay off for each response: the numbers that give the most tokens per unit of time. `chances` has,
    /// for each response, the probabilities that its first guess is right, that its first two are, and so on.
    pub(in crate::engine) fn lengths(&self, chances: &[Vec<f64>]) -> Vec<usize> {
        let gains = chances.iter().enumerate();
        let gains =
            gains.flat_map(|(response, chances)| chances.iter().map(move |chance| (*chance, response)));
        let mut gains: Vec<(f64, usize)> = gains.collect();
        // Largest gain first. Within a response, an earlier guess never gains less than a later one.
        gains.sort_by(|a, b| b.0.total_cmp(&a.0));
        let responses = chances.len();
        let mut tokens = responses as f64;
        let mut best = (tokens / self.of(responses) * GAIN, 0);
        for (i, (gain, _)) in gains.iter().enumerate() {
            tokens += gain;
            let rate = tokens / self.of(responses + i + 1);
            if rate > best.0 {
                best = (rate, i + 1);
            }
        }
        let mut lengths = vec![0; responses];
        for (_, response) in &gains[..best.1] {
            lengths[*response] += 1;
        }
        lengths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a pace at which a pass of k rows takes `time(k)`.
    fn pace(time: impl Fn(usize) -> f64) -> Pace {
        let mut pace = Pace::default();
        for rows in 1..=40 {
            for _ in 0..CERTAIN {
                pace.learn(rows, time(rows));
            }
        }
        pace
    }

    fn cut(pace: &Pace, odds: &[f64], length: usize) -> Vec<usize> {
        let chances = |odds: &f64| (1..=length as i32).map(|guess| odds.powi(guess)).collect();
        pace.lengths(&odds.iter().map(chances).collect::<Vec<_>>())
    }

    #[test]
    fn drafts_are_as_long_as_they_pay() {
        let cheap = pace(|rows| 1.0 + 0.05 * (rows as f64 - 1.0));
        let dear = pace(|rows| 1.0 + 0.8 * (rows as f64 - 1.0));
        // By hand: at odds 0.5 the third guess raises 1.75 / 1.1 to 1.875 / 1.15, and the fourth raises it no further.
        assert_eq!(cut(&cheap, &[0.5], 8), [3]);
        assert_eq!(cut(&cheap, &[0.98], 8), [8]);
        assert_eq!(cut(&cheap, &[0.02], 8), [0]);
        assert_eq!(cut(&dear, &[0.5], 8), [0]);
        // Of two responses, the likely one is drafted.
        assert_eq!(cut(&cheap, &[0.03, 0.95], 4), [0, 4]);
    }

    #[test]
    fn times_are_measured_and_forgotten() {
        let mut pace = Pace::default();
        assert_eq!(pace.of(11), 2.0);
        for time in [9.0, 3.0, 3.0, 3.0, 4.0] {
            pace.learn(1, time);
        }
        assert_eq!(pace.of(1), 3.0, "the median");
        assert_eq!(pace.of(11), 6.0, "by the nearest");
        // A single slow pass may be slow by chance.
        pace.learn(11, 20.0);
        assert_eq!(pace.of(11), 6.0);
        pace.learn(11, 20.0);
        pace.learn(11, 4.0);
        assert_eq!(pace.of(11), 20.0);
        for _ in 0..=FORGOTTEN {
            pace.learn(1, 3.0);
        }
        assert_eq!(pace.of(11), 6.0);
    }
}
