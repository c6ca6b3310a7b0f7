//! Guesses of a draft model.

use std::mem;
use std::time::Instant;

use super::Rows;
use crate::engine::draft::{CLASSES, Caches, Draft, GAIN, Models, Odds};
use crate::engine::model::{Feed, LanguageModel};
use crate::engine::sequence::Sequence;

/// Number of steps after which a response for which guesses do not pay off gets no more of them. Then the draft model need not read
/// what it would not use.
const PATIENCE: u32 = 32;

/// Where guesses do not pay off, by what other requests have shown, one of this many requests gets guesses all the same.
const EXPLORED: u64 = 16;

/// A response that the draft model runs ahead of.
struct Ahead {
    row: usize,
    /// Maximum number of guesses.
    most: usize,
    /// The response as it will be if the guesses are right; made with the first guess.
    sequence: Option<Sequence>,
    /// Tokens that the draft model has not read yet.
    unread: Vec<u32>,
    /// Probability that all guesses so far are right.
    chance: f64,
}

impl<C: Send> Rows<C> {
    /// Returns whether the draft model should read the next request's prompt, so that it can guess for its responses.
    pub(in crate::engine) fn reads_along(&mut self) -> bool {
        self.requests += 1;
        self.pays() || self.requests % EXPLORED == 1
    }

    /// Returns the odds assumed for the guesses of a new response.
    pub(in crate::engine) fn first_odds<M>(&self, draft: &Draft<M>) -> Odds {
        match draft {
            Draft::Model(_) if self.pays() => self.odds.as_estimate(),
            Draft::Model(_) => Odds::of_model(),
            Draft::Prompt | Draft::None => Odds::of_matches(),
        }
    }

    /// Returns whether a guess of the draft model pays off, by what all responses have shown.
    fn pays(&self) -> bool {
        if !(self.pace.is_measured() && self.draft_pace.is_measured()) {
            return true;
        }
        let with = (1.0 + self.odds.of_any()) / (self.pace.of(2) + self.draft_pace.of(1));
        with > GAIN / self.pace.of(1)
    }

    /// Makes the draft model guess the next tokens of the responses, at most `most[i]` for response `i`. Each of its passes guesses
    /// one more token for each response for which that pays off.
    pub(super) fn run_ahead<M: LanguageModel<Cache = C>>(&mut self, models: &Models<M>, most: &[usize]) {
        for drafting in self.responses.iter_mut().filter_map(|row| row.drafting.as_mut()) {
            drafting.guess.clear();
            drafting.declined += 1;
        }
        // The time of a pass is known only after the first step.
        if !self.pace.is_measured() {
            return;
        }
        let mut ahead: Vec<Ahead> =
            (0..self.responses.len()).filter_map(|row| self.ahead(models, row, most[row])).collect();
        let responses = self.responses.len() as f64;
        let (mut tokens, mut time) = (responses, 0.0);
        let mut rows = self.responses.len();
        while !ahead.is_empty() {
            let hurdle = if time == 0.0 { GAIN } else { 1.0 };
            let rate = hurdle * tokens / (time + self.pace.of(rows));
            let Some((count, gain)) = self.further(&mut ahead, rows, tokens, time, rate) else { break };
            ahead.truncate(count);
            ahead.sort_unstable_by_key(|ahead| ahead.row);
            let start = Instant::now();
            let Some(ids) = self.guess_one(models, &mut ahead) else { break };
            let spent = start.elapsed().as_secs_f64();
            self.draft_pace.learn(ids, spent);
            (tokens, time, rows) = (tokens + gain, time + spent, rows + count);
            ahead.retain(|ahead| ahead.chance > 0.0 && self.guesses(ahead.row) < ahead.most);
        }
        for (row, cache) in self.responses.iter_mut().zip(&mut self.caches) {
            let Some(drafting) = &mut row.drafting else { continue };
            if drafting.guess.len() > 0 {
                drafting.declined = 0;
            } else if drafting.declined >= PATIENCE {
                row.drafting = None;
                Models::<M>::stop_drafting(cache);
            }
        }
    }

    /// Returns response number `row`, if the draft model can run ahead of it.
    fn ahead<M: LanguageModel<Cache = C>>(
        &mut self,
        models: &Models<M>,
        row: usize,
        most: usize,
    ) -> Option<Ahead> {
        let (response, cache) = (&mut self.responses[row], &mut self.caches[row]);
        let tokens = response.sequence.tokens();
        let (read, room) = models.draft_len(cache)?;
        // The target has read the prompt and all tokens but the last.
        let unread = tokens[read + tokens.len() - 1 - models.len(cache)..].to_vec();
        if unread.len() + most > room {
            response.drafting = None;
            Models::<M>::stop_drafting(cache);
            return None;
        }
        (most > 0).then_some(Ahead { row, most, sequence: None, unread, chance: 1.0 })
    }

    fn guesses(&self, row: usize) -> usize {
        self.responses[row].drafting.as_ref().map_or(0, |drafting| drafting.guess.len())
    }

    /// Sorts the responses by how much a further guess gains, the largest gain first. Returns how many of them should get one, and
    /// the tokens that this gains. Returns `None` if it would not give more tokens per unit of time than `rate`.
    fn further(
        &self,
        ahead: &mut [Ahead],
        rows: usize,
        tokens: f64,
        time: f64,
        rate: f64,
    ) -> Option<(usize, f64)> {
        let gain = |ahead: &Ahead| {
            let odds =
                self.responses[ahead.row].drafting.as_ref().map_or(0.0, |drafting| drafting.odds.of_any());
            ahead.chance * odds
        };
        ahead.sort_by(|a, b| gain(b).total_cmp(&gain(a)));
        let (mut best, mut best_rate) = (None, rate);
        let (mut gained, mut ids) = (0.0, 0);
        for (index, ahead) in ahead.iter().enumerate() {
            gained += gain(ahead);
            ids += ahead.unread.len();
            // Until a pass of the draft model is measured, it is assumed to cost nothing, once.
            let draft = if self.draft_pace.is_measured() { self.draft_pace.of(ids) } else { 0.0 };
            let rate = (tokens + gained) / (time + draft + self.pace.of(rows + index + 1));
            if rate > best_rate {
                (best, best_rate) = (Some((index + 1, gained)), rate);
            }
        }
        best
    }

    /// Guesses the next token of each response, in the order of rows. Returns how many ids the draft model read for that, or `None`
    /// if it failed.
    fn guess_one<M: LanguageModel<Cache = C>>(
        &mut self,
        models: &Models<M>,
        ahead: &mut [Ahead],
    ) -> Option<usize> {
        let Self { responses, caches, sampler, .. } = self;
        let unread: Vec<Vec<u32>> = ahead.iter_mut().map(|ahead| mem::take(&mut ahead.unread)).collect();
        let mut rows = ahead.iter().map(|ahead| ahead.row).peekable();
        let chosen =
            caches.iter_mut().enumerate().filter_map(|(row, cache)| rows.next_if_eq(&row).map(|_| cache));
        let mut feeds: Vec<Feed<'_, Caches<C>>> =
            chosen.zip(&unread).map(|(cache, ids)| Feed { cache, ids, logits: ids.len() }).collect();
        models.feed_draft(&mut feeds, |logits| {
            let mut end = 0;
            for (ahead, unread) in ahead.iter_mut().zip(&unread) {
                end += unread.len();
                let response = &mut responses[ahead.row];
                let sequence = ahead.sequence.get_or_insert_with(|| response.sequence.clone());
                let (Some((token, entropy)), Some(drafting)) =
                    (sequence.guess(sampler, logits.row(end - 1)), &mut response.drafting)
                else {
                    ahead.chance = 0.0;
                    continue;
                };
                let class = ((-entropy).exp() * CLASSES as f64).ceil().clamp(1.0, CLASSES as f64) as usize;
                drafting.guess.push(token, class);
                ahead.chance *= drafting.odds.of(class);
                ahead.unread.push(token);
            }
        })?;
        Some(unread.iter().map(Vec::len).sum())
    }
}
