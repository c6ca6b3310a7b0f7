//! All windows of a text under the rule of the shortest contexts, at one family-wise error.
//!
//! Which context a position takes depends on those that were taken before it. A marked passage was written from its own
//! start, so text in front of it takes contexts from it, and its positions seem to have others. Therefore the rule is
//! started anew every [`CELL`] tokens: a *run* follows it from there on. A window that starts at a token is judged by the
//! run of the token's cell, so in its first tokens a passage competes with fewer than [`CELL`] tokens of other text.
//!
//! The error stays what it is in [`scan`](super::scan). Each start has one run, in which each context counts once. So the
//! likelihood ratios from that start on are independent under the null hypothesis, and the union over the starts has as
//! many terms as before. Only the number N of starts is larger: W begins at 0 in each cell, so the first tokens' share of
//! starts, `extra`, counts once a cell.

use super::passage::Passage;
use super::scan::{Found, MANY, StartBound, Thresholds, keep_reached};
use super::scanners::Scanners;
use crate::scheme::{ContextRule, ContextStream, GBits, Ngrams, Prf};
use crate::statistics::llr::TRACKS;
use crate::statistics::{PKind, PValue};

/// Tokens between two starts of the rule. Fewer would leave a passage less other text in front of it, at more work.
const CELL: usize = 64;
/// Runs that go on at a time beyond their cells. Of more the weakest ends, which costs no more than power.
const RUNS: usize = 24;
/// Positions whose g-values are in memory at a time.
const BLOCK: usize = 1 << 13;
/// Windows with fewer tokens between them are one passage.
const GAP: usize = 8;

/// The windows of `ids` that pass family-wise error `fpr`, in order of the text. `keep` says whether an n-gram counts.
pub(super) fn windows(
    prf: &Prf,
    ids: &[u32],
    keep: &dyn Fn(&[u32]) -> bool,
    scanners: &Scanners,
    fpr: f64,
    kind: PKind,
) -> Vec<Passage> {
    let rule = prf.scheme().context_rule();
    let cells = ids.chunks(CELL);
    let count = cells.len();
    let starts: usize = cells.map(|cell| cell.len().saturating_sub(rule.shortest())).sum();
    let bounds = scanners.bounds().into_iter();
    let bounds = bounds.map(|bound| StartBound { extra: bound.extra * count as f64, ..bound });
    let thresholds = Thresholds::new(bounds, starts as u64, fpr);
    let mut scan = Scan::new(thresholds.costs());
    let mut g = Block::default();
    for t in 0..ids.len() {
        if t % BLOCK == 0 {
            g = Block::new(prf, ids, t..ids.len().min(t + BLOCK));
        }
        if t % CELL == 0 {
            scan.runs.push(Run::new(rule, t));
        }
        scan.step(t, ids, |len| {
            let ngram = &ids[t - len..=t];
            keep(ngram).then(|| scanners.ln_lr(g.of(t, len)))
        });
    }
    let passage = |window: Window| Passage {
        tokens: window.start..window.end,
        scored_tokens: window.scored,
        score: window.sum,
        p: PValue::from_ln((thresholds.ln_starts()[window.track] - window.sum).min(0.0), kind),
        profile: scanners.name(window.track).to_owned(),
    };
    let mut passages: Vec<Passage> = Vec::new();
    for next in scan.windows().into_iter().map(passage) {
        match passages.last_mut() {
            Some(last) if next.tokens.start < last.tokens.end + GAP => {
                let tokens = last.tokens.start..next.tokens.end;
                let best = if next.p.log10 < last.p.log10 { next } else { last.clone() };
                *last = Passage { tokens, ..best };
            }
            _ => passages.push(next),
        }
    }
    passages
}

/// The g-values of some positions after contexts of each length.
#[derive(Default)]
struct Block {
    start: usize,
    shortest: usize,
    /// For each length, of each position.
    g: Vec<Vec<GBits>>,
}

impl Block {
    fn new(prf: &Prf, ids: &[u32], positions: std::ops::Range<usize>) -> Self {
        let rule = prf.scheme().context_rule();
        let of_length = |len: usize| {
            // The first positions of a text have no such context.
            let missing = len.saturating_sub(positions.start).min(positions.len());
            let first = positions.start + missing - len.min(positions.start + missing);
            let ngrams = Ngrams::new(len + 1, ids[first..positions.end].windows(len + 1));
            let (mut g, mut all) = (Vec::new(), vec![GBits(0); missing]);
            prf.g_bits_of(&ngrams, &mut g);
            all.append(&mut g);
            all
        };
        let g = (rule.shortest()..=rule.longest()).map(of_length).collect();
        Self { start: positions.start, shortest: rule.shortest(), g }
    }

    /// Of the position `t` after a context of `len` tokens.
    fn of(&self, t: usize, len: usize) -> GBits {
        self.g[len - self.shortest][t - self.start]
    }
}

/// The rule from one token on, and the best window of each profile that it judges and that is not closed.
struct Run {
    /// The first token.
    from: usize,
    contexts: ContextStream,
    open: [Open; TRACKS],
}

impl Run {
    fn new(rule: ContextRule, from: usize) -> Self {
        Self { from, contexts: ContextStream::new(rule, &[]), open: [Open::NONE; TRACKS] }
    }

    /// That of its best window.
    fn worth(&self) -> f64 {
        self.open.iter().map(Open::worth).fold(f64::NEG_INFINITY, f64::max)
    }
}

/// A window that is not closed.
#[derive(Clone, Copy)]
struct Open {
    /// Its first token, the context of the first that counts included.
    start: usize,
    /// Tokens that count.
    scored: usize,
    /// Σ ln LR.
    sum: f64,
    /// The best total before it, and the last window of that.
    total: f64,
    before: Option<usize>,
}

impl Open {
    /// The total that it leads to, before its cost.
    fn worth(&self) -> f64 {
        self.total + self.sum
    }

    const NONE: Self = Self { start: 0, scored: 0, sum: f64::NEG_INFINITY, total: 0.0, before: None };
}

/// A closed window.
#[derive(Clone, Copy)]
struct Window {
    start: usize,
    end: usize,
    scored: usize,
    sum: f64,
    track: usize,
}

/// The best set of disjoint windows so far.
struct Scan<'a> {
    /// What a window of each profile costs.
    costs: &'a [f64],
    runs: Vec<Run>,
    found: Vec<Found<Window>>,
    /// Closed windows from which on those that nothing comes back to are dropped.
    most: usize,
    /// Σ (score − cost) over the best set of closed windows, and the last of them.
    total: f64,
    last: Option<usize>,
}

impl<'a> Scan<'a> {
    fn new(costs: &'a [f64]) -> Self {
        Self { costs, runs: Vec::new(), found: Vec::new(), most: MANY, total: 0.0, last: None }
    }

    /// Goes on by the token at `t`. `ln_lr` gives ln LR after a context of so many tokens, none where the n-gram does not
    /// count.
    fn step(&mut self, t: usize, ids: &[u32], ln_lr: impl Fn(usize) -> Option<[f64; TRACKS]>) {
        let (total, last) = (self.total, self.last);
        let mut best = None;
        for run in &mut self.runs {
            let Some(len) = run.contexts.next_that_counts(ids[t]) else { continue };
            let Some(ln_lr) = ln_lr(len) else { continue };
            for (track, (open, cost)) in run.open.iter_mut().zip(self.costs).enumerate() {
                // On a tie the later start: a window has no prefix that adds nothing.
                if open.worth() <= total {
                    let in_cell = t < run.from + CELL;
                    let new = Open { start: t - len, scored: 0, sum: 0.0, total, before: last };
                    *open = if in_cell { new } else { Open::NONE };
                }
                open.sum += ln_lr[track];
                open.scored += 1;
                if open.worth() - cost > self.total {
                    self.total = open.worth() - cost;
                    best = Some((*open, track));
                }
            }
        }
        if let Some((Open { start, scored, sum, before, .. }, track)) = best {
            self.last = Some(self.found.len());
            self.found.push(Found { window: Window { start, end: t + 1, scored, sum, track }, before });
            if self.found.len() == self.most {
                let opens = self.runs.iter_mut().flat_map(|run| &mut run.open).map(|open| &mut open.before);
                keep_reached(&mut self.found, opens.chain([&mut self.last]).collect());
                self.most = MANY.max(2 * self.found.len());
            }
        }
        self.end_runs(t);
    }

    /// Ends the runs that lead nowhere: past their cells, without a window that is worth more than none.
    fn end_runs(&mut self, t: usize) {
        let total = self.total;
        self.runs.retain(|run| t + 1 < run.from + CELL || run.worth() > total);
        if self.runs.len() > RUNS {
            let others = 0..self.runs.len() - 1;
            let weakest = others.min_by(|&a, &b| self.runs[a].worth().total_cmp(&self.runs[b].worth()));
            if let Some(weakest) = weakest {
                self.runs.remove(weakest);
            }
        }
    }

    /// The windows of the best set, in order.
    fn windows(self) -> Vec<Window> {
        let mut windows = Vec::new();
        let mut last = self.last;
        while let Some(at) = last {
            windows.push(self.found[at].window);
            last = self.found[at].before;
        }
        windows.reverse();
        windows
    }
}
