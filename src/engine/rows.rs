//! The responses that have begun, and the decode step that they share.

use std::ops::Range;
use std::sync::Arc;

use super::event::{Event, Failure, FinishReason, Id};
use super::model::{Feed, LanguageModel};
use super::sequence::{Next, Sequence};
use crate::logits::Logits;
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
        events.extend(token.map(|token| Event::Token { id, sequence, token }));
        if let Some(reason) = reason {
            self.ended = true;
            events.push(Event::Finished { id, sequence, reason });
        }
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
    /// Room for the last token of each.
    last: Vec<u32>,
    pub(super) sampler: Sampler,
}

impl<C> Default for Rows<C> {
    fn default() -> Self {
        Self { responses: Vec::new(), caches: Vec::new(), last: Vec::new(), sampler: Sampler::default() }
    }
}

impl<C: Send> Rows<C> {
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

    /// Gives each response its next token.
    pub(super) fn step<M: LanguageModel<Cache = C>>(&mut self, model: &M, events: &mut Vec<Event>) {
        let count = self.responses.len();
        if count == 0 || self.step_of(model, 0..count, events).is_ok() {
            return;
        }
        // One of them may be to blame: each for itself.
        for index in 0..count {
            if let Err(error) = self.step_of(model, index..index + 1, events) {
                self.responses[index].fail(Failure::Model(Arc::new(error)), events);
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
        let Self { responses, caches, last, sampler } = self;
        let (rows, caches) = (&mut responses[range.clone()], &mut caches[range]);
        last.clear();
        last.extend(rows.iter().filter_map(|row| row.sequence.tokens().last()));
        let context = model.context();
        let mut batch: Vec<Feed<'_, C>> = caches
            .iter_mut()
            .zip(last.iter())
            .map(|(cache, id)| Feed { cache, ids: std::slice::from_ref(id), logits: 1 })
            .collect();
        let full: Vec<bool> = batch.iter().map(|feed| model.len(feed.cache) + 1 >= context).collect();
        model.feed(&mut batch, |logits| {
            for (index, (row, full)) in rows.iter_mut().zip(full).enumerate() {
                row.advance(sampler, logits.row(index), full, events);
            }
        })
    }
}
