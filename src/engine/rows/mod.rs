//! The running responses, and the decode step that they share.

mod ahead;
mod row;

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::draft::{Caches, Draft, Models, Odds, Pace};
use super::event::{Event, Failure};
use super::model::{Feed, LanguageModel};
use crate::sample::Sampler;
pub(super) use row::{Drafting, Row};

/// The responses that have begun and are not complete.
pub(super) struct Rows<C> {
    responses: Vec<Row>,
    /// The models' cache of each response.
    caches: Vec<Caches<C>>,
    /// Ids that each response is fed: its last token, and the guesses after it. Kept to reuse the memory.
    ids: Vec<Vec<u32>>,
    pub(super) sampler: Sampler,
    /// Maximum number of guesses for a response in a step.
    most_drafts: usize,
    pace: Pace,
    /// Pace of the draft model.
    draft_pace: Pace,
    /// How often the draft model's guesses were right, over all responses.
    odds: Odds,
    /// Number of requests so far.
    requests: u64,
    pub(super) drafted: u64,
    pub(super) accepted: u64,
}

impl<C: Send> Rows<C> {
    /// Makes an empty set of responses. Each will have at most `most_drafts` guesses in a step.
    pub(super) fn new(most_drafts: usize) -> Self {
        Self {
            responses: Vec::new(),
            caches: Vec::new(),
            ids: Vec::new(),
            sampler: Sampler::default(),
            most_drafts,
            pace: Pace::default(),
            draft_pace: Pace::default(),
            odds: Odds::of_model(),
            requests: 0,
            drafted: 0,
            accepted: 0,
        }
    }

    /// Makes each guess appear to cost `cost` passes of one row, and the draft model next to nothing.
    #[cfg(test)]
    pub(super) fn pretend_that_a_guess_costs(&mut self, cost: f64) {
        (self.pace, self.draft_pace) = (Pace::default(), Pace::default());
        for rows in 1..200 {
            self.pace.learn(rows, 1.0 + cost * (rows as f64 - 1.0));
            self.draft_pace.learn(rows, 1e-9);
        }
    }

    /// Returns whether tokens are guessed.
    pub(super) fn drafts(&self) -> bool {
        self.most_drafts > 0
    }

    pub(super) fn len(&self) -> usize {
        self.responses.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.responses.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Row> {
        self.responses.iter()
    }

    pub(super) fn push(&mut self, row: Row, cache: Caches<C>) {
        self.responses.push(row);
        self.caches.push(cache);
    }

    /// Ends the responses that `ended` chooses.
    pub(super) fn end_where(&mut self, ended: impl Fn(&Row) -> bool) {
        for row in &mut self.responses {
            row.ended |= ended(row);
        }
    }

    /// Drops the responses that have ended. Returns the number of bytes that they were promised.
    pub(super) fn sweep(&mut self) -> usize {
        let bytes = self.responses.iter().filter(|row| row.ended).map(|row| row.bytes).sum();
        let mut rows = self.responses.iter();
        self.caches.retain(|_| rows.next().is_some_and(|row| !row.ended));
        self.responses.retain(|row| !row.ended);
        bytes
    }

    /// Gives each response its next token, and those after it that were guessed right.
    pub(super) fn step<M: LanguageModel<Cache = C>>(&mut self, model: &Models<M>, events: &mut Vec<Event>) {
        let count = self.responses.len();
        if count == 0 {
            return;
        }
        if self.drafts() {
            self.guess(model);
        }
        let start = Instant::now();
        let Err(error) = self.step_of(model, 0..count, events) else {
            self.pace.learn(self.ids.iter().map(Vec::len).sum(), start.elapsed().as_secs_f64());
            return;
        };
        let error = Failure::Model(Arc::new(error));
        // One of them may be to blame, so each steps alone. The model has lost the sequences that were to get several ids.
        for index in 0..count {
            if !self.responses[index].guessed().is_empty() {
                self.responses[index].fail(error.clone(), events);
            } else if let Err(error) = self.step_of(model, index..index + 1, events) {
                self.responses[index].fail(Failure::Model(Arc::new(error)), events);
            }
        }
    }

    /// Guesses as many tokens of each response as pay off.
    fn guess<M: LanguageModel<Cache = C>>(&mut self, model: &Models<M>) {
        let most = |row: &Row, cache: &Caches<C>| {
            // The last token of a response is drawn and never fed, so nothing is guessed after it. One of the free positions
            // is for the token that is fed before the guesses.
            let open = row.sequence.open_tokens().min(model.context().saturating_sub(model.len(cache)));
            self.most_drafts.min(open.saturating_sub(1))
        };
        let most: Vec<usize> =
            self.responses.iter().zip(&self.caches).map(|(row, cache)| most(row, cache)).collect();
        match model.draft() {
            Draft::None => return,
            Draft::Prompt => self.responses.iter_mut().zip(most).for_each(|(row, most)| row.look_up(most)),
            Draft::Model(_) => self.run_ahead(model, &most),
        }
        let chances: Vec<Vec<f64>> = self.responses.iter().map(Row::chances).collect();
        for (row, length) in self.responses.iter_mut().zip(self.pace.lengths(&chances)) {
            row.try_guesses(length);
        }
    }

    /// Gives some of the responses their next tokens in one pass over the weights.
    fn step_of<M: LanguageModel<Cache = C>>(
        &mut self,
        model: &Models<M>,
        range: Range<usize>,
        events: &mut Vec<Event>,
    ) -> Result<(), M::Error> {
        let Self { responses, caches, ids, sampler, odds, drafted, accepted, .. } = self;
        let (rows, caches) = (&mut responses[range.clone()], &mut caches[range]);
        ids.resize(rows.len(), Vec::new());
        for (ids, row) in ids.iter_mut().zip(&*rows) {
            ids.clear();
            ids.extend(row.sequence.tokens().last());
            ids.extend(row.guessed());
        }
        let context = model.context();
        let lens: Vec<usize> = caches.iter().map(|cache| model.len(cache)).collect();
        let mut batch: Vec<Feed<'_, Caches<C>>> =
            caches.iter_mut().zip(&*ids).map(|(cache, ids)| Feed { cache, ids, logits: ids.len() }).collect();
        let right: Vec<usize> = model.feed(&mut batch, |logits| {
            let mut at = 0;
            let take = |((row, ids), len): ((&mut Row, &Vec<u32>), &usize)| {
                let rows = at..at + ids.len();
                at = rows.end;
                row.take(sampler, logits, rows, |fed| len + fed >= context, odds, events)
            };
            rows.iter_mut().zip(&*ids).zip(&lens).map(take).collect()
        })?;
        for (((row, cache), (ids, len)), right) in
            rows.iter_mut().zip(caches).zip(ids.iter().zip(lens)).zip(right)
        {
            *drafted += ids.len() as u64 - 1;
            *accepted += right as u64;
            if row.ended {
                continue;
            }
            // The draft model may have read guesses that were not tried.
            match model.truncate(cache, len + 1 + right) {
                Ok(true) => {}
                Ok(false) => unreachable!("positions that were just read can be taken back"),
                Err(error) => row.fail(Failure::Model(Arc::new(error)), events),
            }
        }
        Ok(())
    }
}
