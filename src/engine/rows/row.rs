//! A response that has begun.

use std::ops::Range;

use crate::engine::draft::{Draft, Guess, Lookup, Odds};
use crate::engine::event::{Event, Failure, FinishReason, Id};
use crate::engine::sequence::{Next, Sequence};
use crate::logits::{LogitRows, Logits};
use crate::sample::Sampler;

/// A response that has begun.
pub(in crate::engine) struct Row {
    pub(in crate::engine) id: Id,
    /// Number of the response within its request.
    pub(in crate::engine) number: usize,
    pub(in crate::engine) sequence: Sequence,
    /// Number of bytes that its cache needs at worst.
    pub(in crate::engine) bytes: usize,
    pub(in crate::engine) ended: bool,
    /// State of its drafts, if its tokens are guessed.
    pub(in crate::engine) drafting: Option<Drafting>,
}

/// Drafts of one response.
pub(in crate::engine) struct Drafting {
    /// Finds earlier occurrences of the last tokens; `None` if a model guesses.
    lookup: Option<Lookup>,
    pub(super) odds: Odds,
    /// The draft for the next step.
    pub(super) guess: Guess,
    /// Number of steps since guesses last would have paid off.
    pub(super) declined: u32,
}

impl Drafting {
    /// Starts with the prompt, and with the odds assumed for the guesses.
    pub(in crate::engine) fn new<M>(draft: &Draft<M>, prompt: &[u32], odds: Odds) -> Option<Self> {
        let lookup = match draft {
            Draft::None => return None,
            Draft::Prompt => Some(Lookup::new(prompt)),
            Draft::Model(_) => None,
        };
        Some(Self { lookup, odds, guess: Guess::default(), declined: 0 })
    }
}

impl Row {
    /// Gives the response its next token from the logits after the last one.
    pub(in crate::engine) fn advance(
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
            drafting.lookup.iter_mut().for_each(|lookup| lookup.push(token.id));
        }
        events.extend(token.map(|token| Event::Token { id, sequence, token }));
        if let Some(reason) = reason {
            self.ended = true;
            events.push(Event::Finished { id, sequence, reason });
        }
    }

    /// Returns the guesses at its next tokens that the next pass tries.
    pub(super) fn guessed(&self) -> &[u32] {
        self.drafting.as_ref().map_or(&[], |drafting| drafting.guess.tried())
    }

    /// Returns for each guess the probability that it and all guesses before it are right.
    pub(super) fn chances(&self) -> Vec<f64> {
        self.drafting.as_ref().map_or(Vec::new(), |drafting| drafting.odds.chances(&drafting.guess).collect())
    }

    /// Sets how many of the guesses the next pass tries.
    pub(super) fn try_guesses(&mut self, count: usize) {
        if let Some(drafting) = &mut self.drafting {
            drafting.guess.tried = count;
        }
    }

    /// Guesses at most `most` tokens from the prompt and the text.
    pub(super) fn look_up(&mut self, most: usize) {
        if let Some(Drafting { lookup: Some(lookup), guess, .. }) = &mut self.drafting {
            lookup.guess(most, guess);
        }
    }

    /// Gives the response its next tokens, one for each row of `logits` up to the first wrong guess. Returns how many of the guesses
    /// that were tried are right. `is_full(n)` says whether the first `n` rows fill the context. The odds of all responses learn
    /// from this one's guesses, as its own do.
    pub(super) fn take(
        &mut self,
        sampler: &mut Sampler,
        logits: LogitRows<'_>,
        rows: Range<usize>,
        is_full: impl Fn(usize) -> bool,
        odds_of_all: &mut Odds,
        events: &mut Vec<Event>,
    ) -> usize {
        let (first, known) = (rows.start, self.sequence.tokens().len());
        let mut right = 0;
        for row in rows {
            self.advance(sampler, logits.row(row), is_full(row - first + 1), events);
            let guessed = self.guessed().get(right).copied();
            if self.ended || guessed.is_none() || self.sequence.tokens().last().copied() != guessed {
                break;
            }
            right += 1;
        }
        if let Some(Drafting { odds, guess, .. }) = &mut self.drafting {
            let drawn = &self.sequence.tokens()[known..];
            odds.learn(guess, drawn);
            odds_of_all.learn(guess, drawn);
        }
        right
    }

    /// Ends the response with an error.
    pub(in crate::engine) fn fail(&mut self, error: Failure, events: &mut Vec<Event>) {
        self.ended = true;
        events.push(Event::Failed { id: self.id, sequence: self.number, error });
    }
}
