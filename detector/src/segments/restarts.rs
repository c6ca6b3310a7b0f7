//! All windows of a text under the rule of the shortest contexts, at one family-wise error.
//!
//! The context that a position takes depends on those taken before it. A marked passage was written from its own start.
//! So text in front of it takes contexts from it, and its positions seem to have others. Therefore the rule is
//! restarted every [`CELL`] tokens, and a *run* follows it from there on. A window that starts at a token is judged by
//! the run of the token's cell. So in its first tokens a passage competes with fewer than [`CELL`] tokens of other
//! text.
//!
//! The error is the same as in [`scan`](super::scan). Each start has one run, in which each context counts once. So the
//! likelihood ratios from that start on are independent under the null hypothesis, and the union over the starts has as
//! many terms as there. Only the number N of starts is larger: W begins at 0 in each cell, so the first tokens' share
//! of starts, `extra`, counts once for each cell.

use super::passage::Passage;
use super::scan::{Found, MANY, StartBound, Thresholds, keep_reached};
use super::scanners::Scanners;
use crate::scheme::{ContextRule, GBits, Ngrams, Prf, first_places};
use crate::statistics::llr::TRACKS;
use crate::statistics::{PKind, PValue};

/// Number of tokens between two starts of the rule. With fewer, a passage would have less other text in front of it, at
/// more work.
const CELL: usize = 32;
/// Number of runs that go on at a time beyond their cells. If there are more, the weakest ends, which only costs power.
const RUNS: usize = 32;
/// Number of positions whose g-values are in memory at a time.
const BLOCK: usize = 1 << 13;
/// Windows with fewer tokens between them are one passage.
const GAP: usize = 8;

/// Returns the windows of `ids` that pass family-wise error `fpr`, in order of the text. `keep` says whether an n-gram
/// counts.
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
    let Some(places) = Places::new(rule, ids) else { return Vec::new() };
    let mut scan = Scan::new(thresholds.costs());
    let mut g = Block::default();
    for t in 0..ids.len() {
        if t % BLOCK == 0 {
            g = Block::new(prf, ids, t..ids.len().min(t + BLOCK));
        }
        if t % CELL == 0 {
            let run = scan.ended.pop();
            let run = run.map_or_else(|| Run::new(&places, t), |run| run.restarted(t));
            scan.runs.push(run);
        }
        scan.step(t, &places, |len| {
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
    /// The g-values for each length and each position.
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

    /// Returns the g-values of position `t` after a context of `len` tokens.
    fn of(&self, t: usize, len: usize) -> GBits {
        self.g[len - self.shortest][t - self.start]
    }
}

/// Which contexts and pairs of a text are the same, by the position at which each first occurs.
struct Places {
    shortest: usize,
    /// For each length of contexts, by the position after the context; [`NONE`] where the context first occurs.
    contexts: Vec<Vec<u32>>,
    /// The same for pairs of neighbours, by the position after the pair.
    pairs: Vec<u32>,
}

/// No position.
const NONE: u32 = u32::MAX;

impl Places {
    /// Makes the places of a text; `None` if it is too long for a table.
    fn new(rule: ContextRule, ids: &[u32]) -> Option<Self> {
        let contexts =
            (rule.shortest()..=rule.longest()).map(|len| first_places(len, ids)).collect::<Option<_>>()?;
        // With a token after the last, since a pair ends with the token at its position.
        let pairs = first_places(2, &[ids, &[0]].concat())?;
        Some(Self { shortest: rule.shortest(), contexts, pairs })
    }

    /// Returns a number for the context of `len` tokens before `t`, the same for equal ones.
    fn context(&self, len: usize, t: usize) -> usize {
        number(self.contexts[len - self.shortest][t], t)
    }

    /// Returns a number for the token at `t` and the one before.
    fn pair(&self, t: usize) -> usize {
        number(self.pairs[t + 1], t + 1) - 1
    }
}

fn number(first: u32, at: usize) -> usize {
    if first == NONE { at } else { first as usize }
}

/// A set of numbers below that of a text's tokens.
struct Set {
    words: Vec<u64>,
    /// The words that are not 0.
    used: Vec<usize>,
}

impl Set {
    fn new(tokens: usize) -> Self {
        Self { words: vec![0; tokens.div_ceil(64)], used: Vec::new() }
    }

    /// Adds `number` and returns true if it was not there.
    fn insert(&mut self, number: usize) -> bool {
        let (word, bit) = (&mut self.words[number / 64], 1 << (number % 64));
        if *word == 0 {
            self.used.push(number / 64);
        }
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Empties the set, in a time that depends on its content and not on the text.
    fn clear(&mut self) {
        for word in self.used.drain(..) {
            self.words[word] = 0;
        }
    }
}

/// The rule from one token on, with the best unclosed window of each profile.
struct Run {
    /// The first token.
    from: usize,
    /// For each length, the contexts that were taken.
    taken: Vec<Set>,
    pairs: Set,
    open: [Open; TRACKS],
}

impl Run {
    fn new(places: &Places, from: usize) -> Self {
        let tokens = places.pairs.len();
        let taken = places.contexts.iter().map(|_| Set::new(tokens)).collect();
        Self { from, taken, pairs: Set::new(tokens), open: [Open::NONE; TRACKS] }
    }

    /// Restarts the rule at another token, in the same memory.
    fn restarted(mut self, from: usize) -> Self {
        self.taken.iter_mut().chain([&mut self.pairs]).for_each(Set::clear);
        Self { from, open: [Open::NONE; TRACKS], ..self }
    }

    /// Returns the length of the context of the token at `t`, the next one, if its position counts.
    fn context_len(&mut self, places: &Places, t: usize) -> Option<usize> {
        let before = t - self.from;
        let new_pair = before == 0 || self.pairs.insert(places.pair(t));
        let lens = (places.shortest..).zip(&mut self.taken).take_while(|(len, _)| *len <= before);
        let mut free = lens.filter_map(|(len, taken)| taken.insert(places.context(len, t)).then_some(len));
        free.next().filter(|_| new_pair)
    }

    /// Returns the worth of the best window.
    fn worth(&self) -> f64 {
        self.open.iter().map(Open::worth).fold(f64::NEG_INFINITY, f64::max)
    }
}

/// A window that is not closed yet.
#[derive(Clone, Copy)]
struct Open {
    /// The window's first token, including the context of the first token that counts.
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
    /// Returns the total that the window leads to, before its cost.
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
    /// Runs whose memory can be used again.
    ended: Vec<Run>,
    found: Vec<Found<Window>>,
    /// Number of closed windows from which on unreachable ones are dropped.
    most: usize,
    /// Σ (score − cost) over the best set of closed windows, and the last of them.
    total: f64,
    last: Option<usize>,
}

impl<'a> Scan<'a> {
    fn new(costs: &'a [f64]) -> Self {
        Self {
            costs,
            runs: Vec::new(),
            ended: Vec::new(),
            found: Vec::new(),
            most: MANY,
            total: 0.0,
            last: None,
        }
    }

    /// Takes the token at `t`. `ln_lr` gives ln LR after a context of this many tokens, or `None` if the n-gram does
    /// not count.
    fn step(&mut self, t: usize, places: &Places, ln_lr: impl Fn(usize) -> Option<[f64; TRACKS]>) {
        let (total, last) = (self.total, self.last);
        let mut best = None;
        for run in &mut self.runs {
            let Some(len) = run.context_len(places, t) else { continue };
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

    /// Ends the runs that lead nowhere: those past their cells without a window that is worth more than no window.
    fn end_runs(&mut self, t: usize) {
        let total = self.total;
        self.ended.extend(self.runs.extract_if(.., |run| t + 1 >= run.from + CELL && run.worth() <= total));
        if self.runs.len() > RUNS {
            let others = 0..self.runs.len() - 1;
            let weakest = others.min_by(|&a, &b| self.runs[a].worth().total_cmp(&self.runs[b].worth()));
            self.ended.extend(weakest.map(|weakest| self.runs.remove(weakest)));
        }
    }

    /// Returns the windows of the best set, in order.
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

#[cfg(test)]
mod tests {
    use super::super::scan::scan_rows;
    use super::super::scanners::scanners;
    use super::*;
    use crate::scheme::{ContextStream, EvidenceStream, Key, Preset, Secret};
    use crate::split_mix;

    /// N as a share of the tokens, which `docs/concepts/statistics.md` states.
    #[test]
    fn a_restart_adds_few_starts() {
        let bounds = scanners(30).bounds();
        let shares: Vec<String> =
            bounds.iter().map(|bound| format!("{:.2}", bound.share + bound.extra / CELL as f64)).collect();
        assert_eq!(shares, ["0.66", "0.50", "0.40", "0.35"]);
    }

    /// A text of one cell has one run, which follows the rule from the text's start, as the whole text does.
    #[test]
    fn a_text_of_one_cell_is_scanned_as_a_whole() {
        let scanners = scanners(30);
        let mut state = 5;
        let (mut found, mut both) = ([0, 0], 0);
        for text in 0..300_u32 {
            let mut secret = vec![1; 28];
            secret.extend(text.to_le_bytes());
            let prf = Key::new(Preset::Robust, Secret::new(secret.into())).unwrap().prf();
            // Each token is the best of some candidates; in some texts there is more than one.
            let mut contexts = prf.marked_positions(&[]);
            let ids: Vec<u32> = (0..CELL)
                .map(|t| {
                    let candidates = if t < 28 { 1 + text % 8 } else { 1 };
                    let ids: Vec<u32> =
                        (0..candidates).map(|_| (split_mix::next(&mut state) % 50) as u32).collect();
                    let ones = |id: &u32| match contexts.context() {
                        [] => 0,
                        context => prf.context(context).g_bits(*id).0.count_ones(),
                    };
                    let best = ids.into_iter().max_by_key(ones).unwrap();
                    contexts.push(best);
                    best
                })
                .collect();
            let piece = ContextStream::new(prf.scheme().context_rule(), &[]).push(&ids);
            let values = EvidenceStream::new(&prf).push(&piece).into_layers().unwrap();
            let scored: Vec<(usize, GBits)> = (1..)
                .zip(values.g.iter().zip(&values.scored))
                .filter(|(_, (_, scored))| **scored)
                .map(|(t, (g, _))| (t, *g))
                .collect();
            let row = |i: usize, row: &mut [f64]| row.copy_from_slice(&scanners.ln_lr(scored[i].1));
            let whole = scan_rows(&scanners.bounds(), scored.len(), 0.5, row);
            let runs = windows(&prf, &ids, &|_| true, scanners, 0.5, PKind::Conservative);
            found[usize::from(!runs.is_empty())] += 1;
            // Both take the same window. The numbers of starts differ a little, so a weak window may count for only one
            // of them.
            if let ([run], [window]) = (&runs[..], &whole[..]) {
                assert!((run.score - window.score).abs() < 1e-9, "{text}: {run:?} {window:?}");
                assert_eq!(run.scored_tokens, window.end - window.start);
                let (first, last) = (scored[window.start].0, scored[window.end - 1].0);
                let context_len = first - run.tokens.start;
                assert!(run.tokens.end == last + 1 && (1..=4).contains(&context_len), "{text}: {run:?}");
                both += 1;
            }
        }
        assert!(found[0] > 50 && both > 50, "{found:?} {both}");
    }
}
