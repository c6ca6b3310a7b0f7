//! The loop: prompt ids in, an iterator of tokens out. Knows no text.
//!
//! A batch is a list of caches of one sequence each, so its texts may be of any lengths, come and go.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

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
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model said so, or a stop string came.
    Stop,
    /// `max_tokens`, or the end of the context.
    Length,
    /// The caller asked for an end.
    Interrupted,
}

/// One step of one response. Requests and their responses are counted from 0.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Event {
    /// The model has read the prompt of a request.
    Started {
        /// Which request.
        request: usize,
        /// How long it took.
        prefill: Duration,
    },
    /// The next token of a response.
    Token {
        /// Which request.
        request: usize,
        /// Which response to it.
        sequence: usize,
        /// The token.
        id: u32,
        /// What the context rule said of its position; none without a key.
        position: Option<PositionKind>,
    },
    /// A response is complete.
    Finished {
        /// Which request.
        request: usize,
        /// Which response to it.
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

impl Request {
    /// Whether `model` can answer it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, model: &Gemma) -> Result<(), GenerateError> {
        self.sampling.check(self.watermark.is_some())?;
        if self.prompt.is_empty() {
            return Err(GenerateError::EmptyPrompt);
        }
        if self.sequences == 0 {
            return Err(GenerateError::NoSequences);
        }
        let limit = model.config().max_position;
        if self.prompt.len() > limit {
            return Err(model::Error::Context { needed: self.prompt.len(), limit }.into());
        }
        Ok(())
    }
}

/// A running generation: an iterator of [`Event`]s, in rounds of one token for each response that has begun and is not
/// complete. They share each pass over the weights; where one ends, the next request takes its place.
pub struct Generation<'m> {
    model: &'m Gemma,
    requests: Vec<Request>,
    /// The first request that has not begun.
    next: usize,
    /// Responses that share a pass at most, but for those to one request.
    together: usize,
    /// The responses that have begun and are not complete.
    rows: Vec<Row>,
    events: VecDeque<Event>,
    failed: bool,
    sampler: Sampler,
}

struct Row {
    request: usize,
    sequence: usize,
    tokens: Vec<u32>,
    /// The distinct tokens of prompt and response, sorted; empty without a repeat penalty.
    seen: Vec<u32>,
    mark: Mark,
    draw: Draw,
    cache: Cache,
    finished: bool,
}

impl<'m> Generation<'m> {
    /// The responses to one request; the model runs when the first event is asked for.
    ///
    /// # Errors
    /// As [`Request::check`].
    pub fn new(model: &'m Gemma, request: Request) -> Result<Self, GenerateError> {
        Self::batch(model, vec![request], 1)
    }

    /// The responses to several requests, of which `together` share the passes over the weights: a request begins when
    /// there is room for all its responses, or nothing else to do. A text does not depend on its company, but for the
    /// last bits of sums of floats.
    ///
    /// # Errors
    /// As [`Request::check`], of the first request that the model cannot answer.
    pub fn batch(model: &'m Gemma, requests: Vec<Request>, together: usize) -> Result<Self, GenerateError> {
        requests.iter().try_for_each(|request| request.check(model))?;
        Ok(Self {
            model,
            requests,
            next: 0,
            together,
            rows: Vec::new(),
            events: VecDeque::new(),
            failed: false,
            sampler: Sampler::default(),
        })
    }

    /// Ends a response early, for instance because a stop string came; no further event of it follows.
    pub fn finish(&mut self, request: usize, sequence: usize) {
        for row in &mut self.rows {
            row.finished |= (row.request, row.sequence) == (request, sequence);
        }
        self.events.retain(|event| match *event {
            Event::Started { .. } => true,
            Event::Token { request: r, sequence: s, .. }
            | Event::Finished { request: r, sequence: s, .. } => (r, s) != (request, sequence),
        });
    }

    /// Begins the requests that there is room for; else one pass over the weights and one draw for each response.
    fn round(&mut self) -> Result<(), GenerateError> {
        self.rows.retain(|row| !row.finished);
        let begun = self.next;
        while let Some(request) = self.requests.get(self.next) {
            if !self.rows.is_empty() && self.rows.len() + request.sequences > self.together {
                break;
            }
            self.begin()?;
        }
        if self.next > begun || self.rows.is_empty() {
            return Ok(());
        }
        let last: Vec<u32> = self.rows.iter().filter_map(|row| row.tokens.last().copied()).collect();
        let mut caches: Vec<&mut Cache> = self.rows.iter_mut().map(|row| &mut row.cache).collect();
        let logits = self.model.step(&last, &mut caches)?;
        logits.read(|logits| (0..self.rows.len()).try_for_each(|row| self.draw(row, logits.row(row))))
    }

    /// Reads the next request's prompt and draws the first token of each response to it.
    fn begin(&mut self) -> Result<(), GenerateError> {
        let (index, request) = (self.next, &self.requests[self.next]);
        self.next += 1;
        let sequences = request.sequences;
        if request.max_tokens == 0 {
            let reason = FinishReason::Length;
            self.events.push_back(Event::Started { request: index, prefill: Duration::ZERO });
            let finished = |sequence| Event::Finished { request: index, sequence, reason };
            self.events.extend((0..sequences).map(finished));
            return Ok(());
        }
        let start = Instant::now();
        let mut cache = self.model.new_cache(1);
        let logits = self.model.forward_raw(&[&request.prompt], &mut cache)?;
        let mut seen = Vec::new();
        if request.sampling.repeat_penalty != 1.0 {
            seen.clone_from(&request.prompt);
            seen.sort_unstable();
            seen.dedup();
        }
        let first = self.rows.len();
        for sequence in 0..sequences {
            self.rows.push(Row {
                request: index,
                sequence,
                tokens: Vec::new(),
                seen: seen.clone(),
                mark: Mark::start(request.watermark.as_ref(), &request.prompt),
                draw: Draw::new(request.sampling.seed, sequence as u64),
                cache: cache.fork()?,
                finished: false,
            });
        }
        self.events.push_back(Event::Started { request: index, prefill: start.elapsed() });
        logits.read(|logits| (first..self.rows.len()).try_for_each(|row| self.draw(row, logits.row(0))))
    }

    /// Draws the next token of a row.
    fn draw(&mut self, row: usize, logits: Logits<'_>) -> Result<(), GenerateError> {
        let row = &mut self.rows[row];
        let Request { sampling, stop_ids, max_tokens, .. } = &self.requests[row.request];
        let context_is_full = row.cache.len() >= self.model.config().max_position;
        let candidates = self.sampler.distribution(sampling, logits, &row.seen)?;
        let position = row.mark.apply(candidates);
        let id = row.draw.token(candidates);
        let (request, sequence) = (row.request, row.sequence);
        if stop_ids.contains(&id) {
            row.finished = true;
            self.events.push_back(Event::Finished { request, sequence, reason: FinishReason::Stop });
            return Ok(());
        }
        row.mark.push(id);
        row.tokens.push(id);
        if sampling.repeat_penalty != 1.0
            && let Err(place) = row.seen.binary_search(&id)
        {
            row.seen.insert(place, id);
        }
        self.events.push_back(Event::Token { request, sequence, id, position });
        if row.tokens.len() >= *max_tokens || context_is_full {
            row.finished = true;
            self.events.push_back(Event::Finished { request, sequence, reason: FinishReason::Length });
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
            if self.next == self.requests.len() && self.rows.iter().all(|row| row.finished) {
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
