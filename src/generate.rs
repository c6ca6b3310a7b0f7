//! The loop: prompt ids in, an iterator of tokens out. Knows no text.

use std::collections::VecDeque;

use wmdetect::scheme::{PositionKind, Watermark};

use crate::model::{self, Cache, Gemma};
use crate::sample::{Draw, Logits, Mark, SampleError, Sampler, Sampling};

/// What to generate.
#[derive(Clone, Debug)]
pub struct Request {
    /// The prompt's ids, `<bos>` included; at least one.
    pub prompt: Vec<u32>,
    /// How many responses; they share the pass over the prompt and each pass over the weights.
    pub sequences: usize,
    /// Tokens a response at most.
    pub max_tokens: usize,
    /// How to sample.
    pub sampling: Sampling,
    /// The key to mark with, or none: a choice of each request.
    pub watermark: Option<Watermark>,
    /// Tokens that end a response; they are not part of it.
    pub stop_ids: Vec<u32>,
}

/// Why a response ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model said so, or a stop string came.
    Stop,
    /// `max_tokens`, or the end of the context.
    Length,
    /// The caller asked for an end.
    Interrupted,
}

/// One step of one response.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Event {
    /// The next token of a response.
    Token {
        /// Which response, from 0.
        sequence: usize,
        /// The token.
        id: u32,
        /// What the context rule said of its position; none without a key.
        position: Option<PositionKind>,
    },
    /// A response is complete.
    Finished {
        /// Which response.
        sequence: usize,
        /// Why.
        reason: FinishReason,
    },
}

/// Why generation stopped short.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The model refused or broke.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// No next token could be drawn.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// Nothing to start from.
    #[error("the prompt has no tokens; expected at least one, usually <bos>")]
    EmptyPrompt,
    /// Nothing to do.
    #[error("0 responses asked for; expected at least 1")]
    NoSequences,
}

/// A running generation: an iterator of [`Event`]s, in rounds of one token for each response that is not complete.
pub struct Generation<'m> {
    model: &'m Gemma,
    cache: Cache,
    request: Request,
    /// The responses that are not complete, in the order of the cache's rows.
    rows: Vec<Row>,
    /// What to feed next: the prompt, then the last token of each row.
    prefilled: bool,
    events: VecDeque<Event>,
    failed: bool,
    sampler: Sampler,
}

struct Row {
    sequence: usize,
    tokens: Vec<u32>,
    /// The distinct tokens of prompt and response, sorted; empty without a repeat penalty.
    seen: Vec<u32>,
    mark: Mark,
    draw: Draw,
    finished: bool,
}

impl<'m> Generation<'m> {
    /// Checks the request; the model runs when the first event is asked for.
    pub fn new(model: &'m Gemma, request: Request) -> Result<Self, GenerateError> {
        request.sampling.check(request.watermark.is_some())?;
        if request.prompt.is_empty() {
            return Err(GenerateError::EmptyPrompt);
        }
        if request.sequences == 0 {
            return Err(GenerateError::NoSequences);
        }
        let limit = model.config().max_position;
        if request.prompt.len() > limit {
            return Err(model::Error::Context { needed: request.prompt.len(), limit }.into());
        }
        let mut seen = Vec::new();
        if request.sampling.repeat_penalty != 1.0 {
            seen.clone_from(&request.prompt);
            seen.sort_unstable();
            seen.dedup();
        }
        let rows = (0..request.sequences)
            .map(|sequence| Row {
                sequence,
                tokens: Vec::new(),
                seen: seen.clone(),
                mark: Mark::start(request.watermark.as_ref(), &request.prompt),
                draw: Draw::new(request.sampling.seed, sequence as u64),
                finished: false,
            })
            .collect();
        Ok(Self {
            model,
            cache: model.new_cache(1),
            request,
            rows,
            prefilled: false,
            events: VecDeque::new(),
            failed: false,
            sampler: Sampler::default(),
        })
    }

    /// Ends a response early, for instance because a stop string came; no further event of it follows.
    pub fn finish(&mut self, sequence: usize) {
        for row in &mut self.rows {
            row.finished |= row.sequence == sequence;
        }
        self.events.retain(|event| match event {
            Event::Token { sequence: s, .. } | Event::Finished { sequence: s, .. } => *s != sequence,
        });
    }

    /// One pass over the weights and one draw for each response that is not complete.
    fn round(&mut self) -> Result<(), GenerateError> {
        if self.request.max_tokens == 0 {
            let rows = std::mem::take(&mut self.rows);
            self.events.extend(
                rows.iter()
                    .filter(|row| !row.finished)
                    .map(|row| Event::Finished { sequence: row.sequence, reason: FinishReason::Length }),
            );
            return Ok(());
        }
        let first = !self.prefilled;
        let logits = if first {
            let logits = self.model.forward_raw(&[&self.request.prompt], &mut self.cache)?;
            self.prefilled = true;
            self.rows.retain(|row| !row.finished);
            if self.rows.is_empty() {
                return Ok(());
            }
            self.cache.expand(self.rows.len())?;
            logits
        } else {
            let keep: Vec<usize> = (0..self.rows.len()).filter(|&row| !self.rows[row].finished).collect();
            if keep.len() < self.rows.len() {
                self.rows.retain(|row| !row.finished);
                if self.rows.is_empty() {
                    return Ok(());
                }
                self.cache.keep_rows(&keep)?;
            }
            let last: Vec<[u32; 1]> =
                self.rows.iter().filter_map(|row| row.tokens.last().map(|&id| [id])).collect();
            self.model.forward_raw(&last, &mut self.cache)?
        };
        // All responses draw their first token from what the model said of the one prompt.
        logits.read(|logits| {
            (0..self.rows.len()).try_for_each(|row| self.draw(row, logits.row(if first { 0 } else { row })))
        })
    }

    /// Draws the next token of a row.
    fn draw(&mut self, row: usize, logits: Logits<'_>) -> Result<(), GenerateError> {
        let context_is_full = self.cache.len() >= self.model.config().max_position;
        let row = &mut self.rows[row];
        let candidates = self.sampler.distribution(&self.request.sampling, logits, &row.seen)?;
        let position = row.mark.apply(candidates);
        let id = row.draw.token(candidates);
        let sequence = row.sequence;
        if self.request.stop_ids.contains(&id) {
            row.finished = true;
            self.events.push_back(Event::Finished { sequence, reason: FinishReason::Stop });
            return Ok(());
        }
        row.mark.push(id);
        row.tokens.push(id);
        if self.request.sampling.repeat_penalty != 1.0
            && let Err(place) = row.seen.binary_search(&id)
        {
            row.seen.insert(place, id);
        }
        self.events.push_back(Event::Token { sequence, id, position });
        if row.tokens.len() >= self.request.max_tokens || context_is_full {
            row.finished = true;
            self.events.push_back(Event::Finished { sequence, reason: FinishReason::Length });
        }
        Ok(())
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<Event, GenerateError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            if let Some(event) = self.events.pop_front() {
                return Some(Ok(event));
            }
            if self.rows.iter().all(|row| row.finished) {
                return None;
            }
            if let Err(error) = self.round() {
                self.failed = true;
                return Some(Err(error));
            }
        }
        None
    }
}
