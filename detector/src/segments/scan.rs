//! All windows of a text at once, at one family-wise error.
//!
//! Each scored token t has a likelihood ratio LR_t ≥ 0 with E[LR_t | the tokens before] ≤ 1 if the text does not depend
//! on the key. By Ville's inequality the product over a window that starts at a given token ever reaches e^x with
//! probability at most e^−x. So among the windows of n tokens, for D profiles,
//!
//! P(some window's ln LR ≥ x) ≤ D n e^−x.
//!
//! A window is reported if its score, Σ ln LR, passes c = ln(D n / fpr). Its p-value is min(1, D n e^−score). The union
//! covers only the starts inside unmarked stretches, so the error is controlled near marked passages as well. With
//! probability at least 1 − fpr, *every* reported window meets marked text. Where a window begins and ends is an
//! estimate without a level.
//!
//! Among all sets of disjoint windows the scan takes the one with the largest Σ (score − c). A Viterbi pass with one
//! state outside and one for each profile finds it in O(D n). Every window in it has score ≥ c and no prefix or suffix
//! below 0, since dropping such a part would gain. Two windows of one profile are kept apart only by a gap that costs c
//! or more.
//!
//! **The factor K.** Any window contains one that begins at its lowest partial sum: from there the sum stays above 0
//! until it reaches x. Suppose that the law of ln LR is known, and is the same for every token. Since the product is a
//! supermartingale, the probability of that is at most K e^−x for every x ≥ `level`. Here K = E[LR_1 … LR_τ; the sum
//! reaches `level` before it falls to 0]. So D n K e^−x bounds the whole, with K around 0.4 and not 1
//! ([`start_bound`]). If the law is not known, K = 1.
//!
//! **The number N of starts.** Not every token can start such a window. Take the windows of one profile that lie in
//! unmarked text, and all unmarked tokens one after the other, with W_t = max(0, W_{t−1} + ln LR_t). The first window
//! that W completes starts where W was last 0. Whether W is 0 after t tokens depends on those tokens. Whether the sum
//! then reaches x before it falls to 0 depends on later ones. So the probability of both is at most P(W_t = 0) K e^−x,
//! and N = Σ P(W_t = 0) takes the place of n. N is 0.24 to 0.64 of n.

/// The likelihood ratios of one profile (or temperature) along a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Track<'a> {
    /// ln LR of each scored token, in order of the text. −∞ is allowed; NaN counts as −∞.
    pub ln_lr: &'a [f64],
    /// The factor K, and for which scores it holds.
    pub bound: StartBound,
}

/// A bound of the windows that start at a token: P(one is reported at score x) ≤ `factor` · e^−x for x ≥ `level`. It
/// also says how many tokens may start one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct StartBound {
    /// K, in (0, 1].
    pub factor: f64,
    /// N ≤ `share` · n + `extra`.
    pub share: f64,
    /// See `share`.
    pub extra: f64,
    /// The least score, in nats, for which K holds.
    pub level: f64,
}

impl StartBound {
    /// Ville's inequality, for any likelihood ratios.
    pub(crate) const VILLE: Self = Self { factor: 1.0, share: 1.0, extra: 0.0, level: 0.0 };

    /// Returns N K for a text of `n` scored tokens.
    fn starts(&self, n: usize) -> f64 {
        (self.share * n as f64 + self.extra).min(n as f64) * self.factor
    }
}

/// A marked passage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Its first token, counted from 0.
    pub start: usize,
    /// The one after its last token.
    pub end: usize,
    /// Σ ln LR, in nats. If windows of several tracks touch and are reported as one, it is the score with the least p.
    pub score: f64,
    /// The track that `score` belongs to.
    pub track: usize,
    /// ln p, at most 0, corrected for all windows and all tracks.
    pub ln_p: f64,
}

/// Returns the disjoint windows that pass family-wise error `fpr`, 0 < `fpr` < 1, in order of the text. The tracks are
/// those of one text and equally long; values beyond the shortest track are left out.
pub(crate) fn scan(tracks: &[Track<'_>], fpr: f64) -> Vec<Window> {
    let n = tracks.iter().map(|track| track.ln_lr.len()).min().unwrap_or(0);
    let bounds: Vec<StartBound> = tracks.iter().map(|track| track.bound).collect();
    let row = |t: usize, row: &mut [f64]| {
        row.iter_mut().zip(tracks).for_each(|(ln_lr, track)| *ln_lr = track.ln_lr[t]);
    };
    scan_rows(&bounds, n, fpr, row)
}

/// Does what [`scan`] does, for tracks that are not in memory. `row` writes ln LR of token t under each of them. It is
/// called once for each of the `n` tokens, in order.
pub(super) fn scan_rows(
    bounds: &[StartBound],
    n: usize,
    fpr: f64,
    mut row: impl FnMut(usize, &mut [f64]),
) -> Vec<Window> {
    if n == 0 || bounds.is_empty() {
        return Vec::new();
    }
    let Thresholds { ln_starts, costs } = Thresholds::new(bounds.iter().copied(), n as u64, fpr);

    let (mut found, mut most) = (Vec::<Found<Window>>::new(), MANY);
    // The best total with no window open, and the last of its windows.
    let (mut total, mut last) = (0.0, None);
    let mut open = vec![Open { start: 0, sum: f64::NEG_INFINITY, total: 0.0, before: None }; bounds.len()];
    let mut ln_lr = vec![0.0; bounds.len()];
    for t in 0..n {
        row(t, &mut ln_lr);
        for (state, (&ln_lr, cost)) in open.iter_mut().zip(ln_lr.iter().zip(&costs)) {
            // On a tie the later start: a window has no prefix that adds nothing.
            if state.total + state.sum <= total {
                *state = Open { start: t, sum: 0.0, total, before: last };
            }
            state.sum += if ln_lr.is_nan() { f64::NEG_INFINITY } else { ln_lr };
            debug_assert!(*cost >= 0.0);
        }
        let (base, mut best) = (total, None);
        for (track, (state, cost)) in open.iter().zip(&costs).enumerate() {
            let closed = state.total + state.sum - cost;
            if closed > total {
                (total, best) = (closed, Some(track));
            }
        }
        if let Some(track) = best {
            debug_assert!(total > base);
            let Open { start, sum, before, .. } = open[track];
            let window =
                Window { start, end: t + 1, score: sum, track, ln_p: (ln_starts[track] - sum).min(0.0) };
            found.push(Found { window, before });
            last = Some(found.len() - 1);
            if found.len() == most {
                let ends = open.iter_mut().map(|state| &mut state.before).chain([&mut last]);
                keep_reached(&mut found, ends.collect());
                most = MANY.max(2 * found.len());
            }
        }
    }

    let mut windows = Vec::new();
    while let Some(index) = last {
        windows.push(found[index].window);
        last = found[index].before;
    }
    windows.reverse();
    windows.dedup_by(|next, window| {
        let touch = window.end == next.start;
        if touch {
            let best = if next.ln_p < window.ln_p { &*next } else { &*window };
            *window = Window { start: window.start, end: next.end, ..*best };
        }
        touch
    });
    windows
}

/// The sums that a window of each track has to reach.
#[derive(Clone, Debug)]
pub(super) struct Thresholds {
    /// ln(D N K), which turns a score into ln p.
    ln_starts: Vec<f64>,
    /// c: a window is reported only if some window's Σ ln LR is above it.
    costs: Vec<f64>,
}

impl Thresholds {
    /// Makes the thresholds of the tracks with these bounds, for texts of `n` scored tokens at family-wise error `fpr`.
    pub(super) fn new(bounds: impl IntoIterator<Item = StartBound>, n: u64, fpr: f64) -> Self {
        let bounds: Vec<StartBound> = bounds.into_iter().collect();
        let tracks = bounds.len() as f64;
        let ln_starts: Vec<f64> =
            bounds.iter().map(|bound| (tracks * bound.starts(n as usize)).ln()).collect();
        let costs =
            bounds.iter().zip(&ln_starts).map(|(bound, ln)| (ln - fpr.ln()).max(bound.level)).collect();
        Self { ln_starts, costs }
    }

    /// Returns ln(D N K) for each track: a window's ln p is this less its score, but at most 0.
    pub(super) fn ln_starts(&self) -> &[f64] {
        &self.ln_starts
    }

    /// Returns for each track the sum above which a window is reported. [`scan`] finds nothing if and only if no window
    /// of any track has a larger one.
    pub(super) fn costs(&self) -> &[f64] {
        &self.costs
    }
}

/// A window of one track that is not closed yet.
#[derive(Clone, Copy)]
struct Open {
    start: usize,
    /// Σ ln LR so far.
    sum: f64,
    /// The best total before `start`, and the last window of it.
    total: f64,
    before: Option<usize>,
}

/// A closed window, and the one before it in the best set that ends with it.
pub(super) struct Found<W> {
    pub window: W,
    pub before: Option<usize>,
}

/// Number of closed windows from which on it is worthwhile to check which are still needed.
pub(super) const MANY: usize = if cfg!(test) { 4 } else { 1 << 12 };

/// Drops the windows that no chain from `ends` contains. A marked passage closes a window with almost every token, and
/// nearly all of them are better closed later.
pub(super) fn keep_reached<W>(found: &mut Vec<Found<W>>, ends: Vec<&mut Option<usize>>) {
    let mut reached = vec![false; found.len()];
    for mut at in ends.iter().map(|end| **end) {
        while let Some(index) = at
            && !reached[index]
        {
            reached[index] = true;
            at = found[index].before;
        }
    }
    let mut kept = 0;
    let places: Vec<usize> = reached.iter().map(|&reached| (kept, kept += usize::from(reached)).0).collect();
    let mut reached = reached.into_iter();
    found.retain(|_| reached.next() == Some(true));
    let befores = found.iter_mut().map(|window| &mut window.before);
    for index in befores.chain(ends).flatten() {
        *index = places[*index];
    }
}

/// Returns the factor K for ln LR on a lattice: `law` has (value in steps, null probability), `step` is in nats. The
/// probabilities are those of one token; E\[LR\] must not exceed 1 (then K ≤ 1).
///
/// With the tilted law q(s) = P(s) e^(s · step), K = Σ_s q(s) v(s), where v(s) is the q-probability to reach `level`
/// from s before 0 or below. So v is 1 at `level` and above, and 0 at 0 and below. Between them it solves v(s) = Σ_d
/// q(d) v(s + d), a linear system with a diagonally dominant matrix.
///
/// P(W_t = 0) falls with t, so after the first `FOLLOWED` tokens its last value stands for the rest. W is followed
/// below `level` and set to 0 where it would pass it. That makes W smaller from there on, and P(W_t = 0) larger.
pub(super) fn start_bound(law: &[(i64, f64)], step: f64, level: f64) -> StartBound {
    let states = (level / step).ceil().max(1.0) as usize;
    let tilted: Vec<(i64, f64)> = law.iter().map(|&(s, p)| (s, p * (s as f64 * step).exp())).collect();
    let reached =
        |from: i64| tilted.iter().filter(|(s, _)| from + s >= states as i64).map(|(_, q)| q).sum::<f64>();
    // Rows are the states 1 … states − 1, the last column is the right side.
    let size = states - 1;
    let mut rows: Vec<Vec<f64>> = (1..states as i64)
        .map(|from| {
            let mut row = vec![0.0; size + 1];
            for &(s, q) in &tilted {
                let to = from + s;
                if (1..states as i64).contains(&to) {
                    row[to as usize - 1] -= q;
                }
            }
            row[from as usize - 1] += 1.0;
            row[size] = reached(from);
            row
        })
        .collect();
    for pivot in 0..size {
        let (above, below) = rows.split_at_mut(pivot + 1);
        let top = &above[pivot];
        for row in below {
            let factor = row[pivot] / top[pivot];
            if factor != 0.0 {
                row[pivot..].iter_mut().zip(&top[pivot..]).for_each(|(x, y)| *x -= factor * y);
            }
        }
    }
    let mut value = vec![0.0; size];
    for state in (0..size).rev() {
        let rest: f64 = (state + 1..size).map(|to| rows[state][to] * value[to]).sum();
        value[state] = (rows[state][size] - rest) / rows[state][state];
    }
    let within = |s: i64| usize::try_from(s - 1).ok().and_then(|i| value.get(i)).copied().unwrap_or(0.0);
    let factor = reached(0) + tilted.iter().map(|&(s, q)| q * within(s)).sum::<f64>();
    // Rounding in the solution is below 1e-12; the added number covers it. NaN, from an invalid law, gives 1.
    let factor = factor + 1e-9;
    let at_zero = at_zero(law, states);
    let share = at_zero[FOLLOWED].min(1.0);
    let extra = at_zero[..FOLLOWED].iter().map(|p| p - share).sum::<f64>().max(0.0);
    StartBound { factor: if factor < 1.0 { factor } else { 1.0 }, share, extra, level: states as f64 * step }
}

/// Number of tokens over which [`start_bound`] follows W.
const FOLLOWED: usize = 16;

/// Returns P(W_t = 0) for t from 0 to [`FOLLOWED`], for the W that is set to 0 at `states`.
fn at_zero(law: &[(i64, f64)], states: usize) -> [f64; FOLLOWED + 1] {
    let mut mass = vec![0.0; states];
    mass[0] = 1.0;
    let mut at_zero = [1.0; FOLLOWED + 1];
    for p in &mut at_zero[1..] {
        let mut next = vec![0.0; states];
        for (from, &mass) in mass.iter().enumerate().filter(|(_, mass)| **mass > 0.0) {
            for &(s, p) in law {
                let to = usize::try_from(from as i64 + s).ok().filter(|&to| to < states);
                next[to.unwrap_or(0)] += mass * p;
            }
        }
        mass = next;
        // The added number covers rounding; an invalid law gives 1.
        *p = if mass[0] < 1.0 { mass[0] + 1e-9 } else { 1.0 };
    }
    at_zero
}

#[cfg(test)]
mod tests;
