//! How far a marked passage reaches, and where the text repeats it.
//!
//! The scan ends a passage with its last token of evidence. A model that runs into a loop goes on without evidence,
//! since tokens whose context has come up before carry no mark. So the passage is extended at either end to where a sum
//! is largest. The sum counts 1 for a token whose context came up inside the passage, and ln LR − [`DRIFT`] for any
//! other. In text that has nothing to do with the passage that sum falls.
//!
//! Text outside all passages that repeats one is a passage too, under two conditions. At least [`REPEATED`] tokens
//! repeat it, and the same sum with [`STRICT`] in place of [`DRIFT`] reaches that number. The scan cannot see it, since
//! its tokens do not count a second time.
//!
//! No p-value changes: a passage grows around a window that the scan has found, and a repetition has the p-value of
//! what it repeats. The constants were chosen on texts at temperature 0.5 and 0.7 other than those of
//! `research/results.md`.

use std::collections::HashMap;
use std::ops::Range;

use super::passage::Passage;
use crate::scheme::first_places;

/// Cost in nats of a token that repeats nothing, at the ends of a passage.
const DRIFT: f64 = 0.1;
/// The same cost in the search for repetitions.
const STRICT: f64 = 0.3;
/// Least number of tokens of a repetition, and its least sum.
const REPEATED: u32 = 12;
/// How far the sum may fall behind its largest value before the search for a larger one ends: at the ends of a
/// passage, and within a repetition.
const BEHIND: [f64; 2] = [6.0, 16.0];

/// A text and the passages in it.
struct Reach<F> {
    context_len: usize,
    /// For each token the earlier position at which its context came up first, or [`NONE`] if it has not come up
    /// before.
    first_of: Vec<u32>,
    /// ln LR of a token, 0 where it does not count.
    ln_lr: F,
    /// For each token the passage that its context lies in, or [`NONE`].
    passage: Vec<u32>,
}

/// No position and no passage.
const NONE: u32 = u32::MAX;

/// Extends `passages`, which are disjoint and in order of the text, to their ends, and adds the repetitions. `ln_lr`
/// gives ln LR of each of `ids`, 0 if the token does not count.
pub(super) fn reach(
    passages: Vec<Passage>,
    ids: &[u32],
    ln_lr: impl Fn(usize) -> f64,
    context_len: usize,
) -> Vec<Passage> {
    // A text of so many tokens keeps its passages as the scan found them.
    if passages.is_empty() || context_len == 0 || ids.len() >= NONE as usize {
        return passages;
    }
    let first_of = first_places(context_len, ids).unwrap_or_else(|| first_by_map(context_len, ids));
    let mut text = Reach { context_len, first_of, ln_lr, passage: vec![NONE; ids.len()] };
    for (index, passage) in passages.iter().enumerate() {
        text.mark(index, passage);
    }
    let mut passages = text.grow(passages);
    for (index, passage) in passages.iter().enumerate() {
        text.mark(index, passage);
    }
    let repetitions = text.repetitions(&passages);
    if repetitions.is_empty() {
        return passages;
    }
    passages.extend(repetitions);
    passages.sort_by_key(|passage| (passage.tokens.start, passage.tokens.end));
    text.grow(passages)
}

/// Does what [`first_places`] does, for contexts of any length.
fn first_by_map(context_len: usize, ids: &[u32]) -> Vec<u32> {
    let mut first = HashMap::new();
    let mut first_of = vec![NONE; ids.len()];
    for (at, context) in (context_len..ids.len()).zip(ids.windows(context_len)) {
        let first = *first.entry(context).or_insert(at);
        first_of[at] = if first < at { first as u32 } else { NONE };
    }
    first_of
}

impl<F: Fn(usize) -> f64> Reach<F> {
    /// Notes the tokens whose context lies in a passage.
    fn mark(&mut self, index: usize, passage: &Passage) {
        let Range { start, end } = passage.tokens;
        let inside = (start + self.context_len).min(end)..end;
        self.passage[inside].fill(index as u32);
    }

    /// Returns the passage that the token's context came up in first, if it has come up before.
    fn repeats(&self, t: usize) -> Option<usize> {
        let passage = *self.passage.get(self.first_of[t] as usize)?;
        (passage != NONE).then_some(passage as usize)
    }

    /// Lets each passage grow up to its neighbours.
    fn grow(&self, mut passages: Vec<Passage>) -> Vec<Passage> {
        let mut before = 0;
        for index in 0..passages.len() {
            let next = passages.get(index + 1).map_or(self.first_of.len(), |passage| passage.tokens.start);
            let Range { start, end } = passages[index].tokens;
            let start = start.max(before);
            let inside = start + self.context_len;
            let value = |t: usize| {
                let own = self.first_of[t] != NONE && self.first_of[t] as usize >= inside;
                if own || self.repeats(t).is_some() { 1.0 } else { (self.ln_lr)(t) - DRIFT }
            };
            let last = furthest(end..next, value);
            let first = furthest((before..inside.min(end)).rev(), value);
            let start = first.map_or(start, |t| start.min(t.saturating_sub(self.context_len)).max(before));
            let end = last.map_or(end, |t| t + 1);
            passages[index].tokens = start..end;
            before = end;
        }
        passages
    }

    /// Returns the stretches between the passages that repeat them, as they are before they grow.
    fn repetitions(&self, passages: &[Passage]) -> Vec<Passage> {
        let mut found = Vec::new();
        let ends = passages.iter().map(|passage| passage.tokens.end);
        let starts = passages.iter().map(|passage| passage.tokens.start);
        for (from, to) in [0].into_iter().chain(ends).zip(starts.chain([self.first_of.len()])) {
            let mut t = from;
            while t < to {
                if self.repeats(t).is_none() {
                    t += 1;
                    continue;
                }
                let run = self.run(t..to);
                if run.repeated >= REPEATED && run.most >= f64::from(REPEATED) {
                    let source = &passages[run.source(passages)];
                    let start = t.saturating_sub(self.context_len).max(from);
                    found.push(Passage {
                        tokens: start..run.end,
                        scored_tokens: 0,
                        score: 0.0,
                        ..source.clone()
                    });
                    t = run.end;
                } else {
                    t = run.read;
                }
            }
        }
        found
    }

    /// Returns the stretch from the start of `range` with the largest sum.
    fn run(&self, range: Range<usize>) -> Run {
        let mut run =
            Run { end: range.start, read: range.start, most: 0.0, repeated: 0, sources: Vec::new() };
        let (mut sum, mut repeated) = (0.0, 0);
        for t in range {
            let source = self.repeats(t);
            repeated += u32::from(source.is_some());
            run.sources.extend(source);
            sum += if source.is_some() { 1.0 } else { (self.ln_lr)(t) - STRICT };
            run.read = t + 1;
            if sum > run.most {
                (run.most, run.end, run.repeated) = (sum, t + 1, repeated);
            }
            if sum <= 0.0 || sum < run.most - BEHIND[1] {
                break;
            }
        }
        run.sources.truncate(run.repeated as usize);
        run
    }
}

/// A stretch that may repeat passages.
struct Run {
    /// The end of the token with which the sum is largest.
    end: usize,
    /// The end of the last token read.
    read: usize,
    /// The largest sum.
    most: f64,
    /// Number of tokens up to `end` that repeat a passage.
    repeated: u32,
    /// The passages they repeat.
    sources: Vec<usize>,
}

impl Run {
    /// Returns the repeated passage with the largest p.
    fn source(&self, passages: &[Passage]) -> usize {
        let p = |index: &usize| passages[*index].p.log10;
        self.sources.iter().copied().max_by(|a, b| p(a).total_cmp(&p(b))).unwrap_or(0)
    }
}

/// Returns the token up to which the sum of values is largest, if it is above 0 anywhere.
fn furthest(tokens: impl Iterator<Item = usize>, value: impl Fn(usize) -> f64) -> Option<usize> {
    let (mut sum, mut most, mut last) = (0.0, 0.0, None);
    for t in tokens {
        sum += value(t);
        if sum > most {
            (most, last) = (sum, Some(t));
        }
        if sum < most - BEHIND[0] {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::{PKind, PValue};

    fn passage(tokens: Range<usize>) -> Passage {
        let p = PValue { log10: -9.0, kind: PKind::Conservative };
        Passage { tokens, scored_tokens: 9, score: 20.0, p, profile: "t1.0".into() }
    }

    /// Returns a text with a context of one token, of which the tokens of `marked` speak for the mark.
    fn text(first_of: Vec<u32>, marked: Range<usize>) -> Reach<impl Fn(usize) -> f64> {
        let passage = vec![NONE; first_of.len()];
        let ln_lr = move |t| if marked.contains(&t) { 2.0 } else { -3.0 };
        Reach { context_len: 1, first_of, ln_lr, passage }
    }

    #[test]
    fn a_passage_ends_behind_the_last_token_that_speaks_for_it() {
        let text = text(vec![NONE; 20], 6..13);
        let grown = text.grow(vec![passage(8..10)]);
        // And it begins with the context of the first.
        assert_eq!(grown[0].tokens, 5..13);
    }

    #[test]
    fn what_repeats_the_passage_itself_belongs_to_it() {
        // Tokens 10 to 13 repeat contexts of the passage, so they do not count, but they are not foreign text either.
        let mut first_of = vec![NONE; 20];
        first_of[10..14].copy_from_slice(&[7, 8, 9, 7]);
        let grown = text(first_of, 6..10).grow(vec![passage(6..10)]);
        assert_eq!(grown[0].tokens, 5..14);
    }

    #[test]
    fn a_repetition_ends_with_the_last_token_that_repeats() {
        let mut first_of = vec![NONE; 60];
        for (t, first) in (30..45).zip(6..) {
            first_of[t] = first;
        }
        let mut text = text(first_of, 5..25);
        let passages = [passage(4..25)];
        text.mark(0, &passages[0]);
        let found = text.repetitions(&passages);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].tokens, 29..45);
    }
}
