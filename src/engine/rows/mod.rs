//! The responses that have begun, and the decode step that they share.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::draft::{Guess, Lookup, Odds, Pace};
use super::event::{Event, Failure, FinishReason, Id};
use super::model::{Feed, LanguageModel};
use super::sequence::{Next, Sequence};
use crate::logits::{LogitRows, Logits};
use crate::sample::Sampler;

/// A response that has begun.
pub(super) struct Row {
    pub(super) id: Id,
    /// Which response to its request.
    pub(super) number: usize,
    pub(super) sequence: Sequence,
    /// Bytes that its cache needs at worst.
    pub(super) bytes: usize,
    pub(super) ended: bool,
    /// What its next tokens are guessed from, if they are.
    pub(super) drafting: Option<Drafting>,
}

/// The drafts of one response.
pub(super) struct Drafting {
    lookup: Lookup,
    odds: Odds,
    /// The one for the next step.
    guess: Guess,
}

impl Drafting {
    /// Starts with the prompt.
    pub(super) fn new(prompt: &[u32]) -> Self {
        Self { lookup: Lookup::new(prompt), odds: Odds::new(), guess: Guess::default() }
    }
}

impl Row {
    /// Gives the response its next token from the logits after the last one.
    pub(super) fn advance(
        &mut self,
        sampler: &mut Sampler,
        logits: Logits<'_>,
        context_is_full: bool,
        events: &mut Vec<Event>,
    ) {
        let (id, sequence) = (self.id, self.number);
        let (token, reason) = match self.sequence.next(sampler, logits) {
            Ok(Next::Token(token)) => (Some(token), context_is_full.then_some(FinishReason::Length)),
            Ok(Next::Last(token)) => (Some(token), Some(FinishReason::Length)),
            Ok(Next::Stop) => (None, Some(FinishReason::Stop)),
            Err(error) => return self.fail(Failure::Sample(error), events),
        };
        if let (Some(token), Some(drafting)) = (&token, &mut self.drafting) {
            drafting.lookup.push(token.id);
        }
        events.extend(token.map(|token| Event::Token { id, sequence, token }));
        if let Some(reason) = reason {
            self.ended = true;
            events.push(Event::Finished { id, sequence, reason });
        }
    }

    /// The guesses at its next tokens.
    fn draft(&self) -> &[u32] {
        self.drafting.as_ref().map_or(&[], |drafting| &drafting.guess.tokens)
    }

    /// Guesses at most `most` tokens. The last token of a response is drawn and never fed, so none is guessed beyond it.
    fn guess(&mut self, most: usize) {
        let most = most.min(self.sequence.open_tokens().saturating_sub(1));
        if let Some(Drafting { lookup, guess, .. }) = &mut self.drafting {
            lookup.guess(most, guess);
        }
    }

    /// Gives the response its next tokens, one for each row of `logits` up to the first that was guessed wrong. Returns how
    /// many guesses were right. The sequence has `len` positions before its first row.
    fn take(
        &mut self,
        sampler: &mut Sampler,
        logits: LogitRows<'_>,
        rows: Range<usize>,
        is_full: impl Fn(usize) -> bool,
        events: &mut Vec<Event>,
    ) -> usize {
        let first = rows.start;
        let mut right = 0;
        for row in rows {
            self.advance(sampler, logits.row(row), is_full(row - first + 1), events);
            let guessed = self.draft().get(right).copied();
            if self.ended || guessed.is_none() || self.sequence.tokens().last().copied() != guessed {
                break;
            }
            right += 1;
        }
        if let Some(Drafting { odds, guess, .. }) = &mut self.drafting {
            odds.learn(guess.matched, guess.tokens.len(), right);
        }
        right
    }

    /// Ends the response with an error.
    pub(super) fn fail(&mut self, error: Failure, events: &mut Vec<Event>) {
        self.ended = true;
        events.push(Event::Failed { id: self.id, sequence: self.number, error });
    }
}

/// The responses that have begun and are not complete.
pub(super) struct Rows<C> {
    responses: Vec<Row>,
    /// The model's side of each.
    caches: Vec<C>,
    /// Room for what each is fed: its last token, and the guesses after it.
    ids: Vec<Vec<u32>>,
    pub(super) sampler: Sampler,
    /// The most guesses for a response in a step.
    most_drafts: usize,
    pace: Pace,
    pub(super) drafted: u64,
    pub(super) accepted: u64,
}

impl<C: Send> Rows<C> {
    /// No responses. Each will have at most `most_drafts` guesses in a step.
    pub(super) fn new(most_drafts: usize) -> Self {
        Self {
            responses: Vec::new(),
            caches: Vec::new(),
            ids: Vec::new(),
            sampler: Sampler::default(),
            most_drafts,
            pace: Pace::default(),
            drafted: 0,
            accepted: 0,
        }
    }

    /// Whether tokens are guessed.
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

    pub(super) fn push(&mut self, row: Row, cache: C) {
        self.responses.push(row);
        self.caches.push(cache);
    }

    /// Ends the responses that `ended` chooses.
    pub(super) fn end_where(&mut self, ended: impl Fn(&Row) -> bool) {
        for row in &mut self.responses {
            row.ended |= ended(row);
        }
    }

    /// Drops the responses that have ended, and returns the bytes that they were promised.
    pub(super) fn sweep(&mut self) -> usize {
        let bytes = self.responses.iter().filter(|row| row.ended).map(|row| row.bytes).sum();
        let mut rows = self.responses.iter();
        self.caches.retain(|_| rows.next().is_some_and(|row| !row.ended));
        self.responses.retain(|row| !row.ended);
        bytes
    }

    /// Gives each response its next token, and those after it that were guessed.
    pub(super) fn step<M: LanguageModel<Cache = C>>(&mut self, model: &M, events: &mut Vec<Event>) {
        let count = self.responses.len();
        if count == 0 {
            return;
        }
        self.guess(model);
        let start = Instant::now();
        let Err(error) = self.step_of(model, 0..count, events) else {
            self.pace.learn(self.ids.iter().map(Vec::len).sum(), start.elapsed().as_secs_f64());
            return;
        };
        let error = Failure::Model(Arc::new(error));
        // One of them may be to blame: each for itself. Of those that were to get several ids the model has lost the sequence.
        for index in 0..count {
            if !self.responses[index].draft().is_empty() {
                self.responses[index].fail(error.clone(), events);
            } else if let Err(error) = self.step_of(model, index..index + 1, events) {
                self.responses[index].fail(Failure::Model(Arc::new(error)), events);
            }
        }
    }

    /// Guesses as many tokens of the responses as pay.
    fn guess<M: LanguageModel<Cache = C>>(&mut self, model: &M) {
        if self.most_drafts == 0 {
            return;
        }
        let (mut odds, mut lengths) = (Vec::new(), Vec::new());
        for (row, cache) in self.responses.iter_mut().zip(&self.caches) {
            // The last token takes a position, too.
            row.guess(self.most_drafts.min(model.context().saturating_sub(model.len(cache) + 1)));
            odds.push(row.drafting.as_ref().map_or(0.0, |drafting| drafting.odds.of(drafting.guess.matched)));
            lengths.push(row.draft().len());
        }
        self.pace.cut(&odds, &mut lengths);
        for (row, length) in self.responses.iter_mut().zip(lengths) {
            if let Some(drafting) = &mut row.drafting {
                drafting.guess.tokens.truncate(length);
            }
        }
    }

    /// Gives some of the responses their next tokens, in one pass over the weights.
    fn step_of<M: LanguageModel<Cache = C>>(
        &mut self,
        model: &M,
        range: Range<usize>,
        events: &mut Vec<Event>,
    ) -> Result<(), M::Error> {
        let Self { responses, caches, ids, sampler, drafted, accepted, .. } = self;
        let (rows, caches) = (&mut responses[range.clone()], &mut caches[range]);
        ids.resize(rows.len(), Vec::new());
        for (ids, row) in ids.iter_mut().zip(&*rows) {
            ids.clear();
            ids.extend(row.sequence.tokens().last());
            ids.extend(row.draft());
        }
        let context = model.context();
        let lens: Vec<usize> = caches.iter().map(|cache| model.len(cache)).collect();
        let mut batch: Vec<Feed<'_, C>> =
            caches.iter_mut().zip(&*ids).map(|(cache, ids)| Feed { cache, ids, logits: ids.len() }).collect();
        let right: Vec<usize> = model.feed(&mut batch, |logits| {
            let mut at = 0;
            let take = |((row, ids), len): ((&mut Row, &Vec<u32>), &usize)| {
                let rows = at..at + ids.len();
                at = rows.end;
                row.take(sampler, logits, rows, |fed| len + fed >= context, events)
            };
            rows.iter_mut().zip(&*ids).zip(&lens).map(take).collect()
        })?;
        for (((row, cache), (ids, len)), right) in
            rows.iter_mut().zip(caches).zip(ids.iter().zip(lens)).zip(right)
        {
            *drafted += ids.len() as u64 - 1;
            *accepted += right as u64;
            if row.ended || right + 1 == ids.len() {
                continue;
            }
            match model.truncate(cache, len + 1 + right) {
                Ok(true) => {}
                Ok(false) => unreachable!("positions that were just read can be taken back"),
                Err(error) => row.fail(Failure::Model(Arc::new(error)), events),
            }
        }
        Ok(())
    }
}
