//! Answers requests: takes the token ids of prompts, and gives events of tokens. It knows neither text nor a model's internals.
//!
//! An [`Engine`] answers many requests at a time. Each [`step`](Engine::step)
//! 1. starts the requests that there is room for, tenants in turn (`admission`),
//! 2. gives each running response its next token, in one pass over the model's weights (`rows`), together with the following
//!    tokens that were guessed right ([`Draft`]),
//! 3. reads one slice of the unread prompts (`slices`), or copies it from an earlier prompt that begins alike (`prefix_cache`).
//!
//! So requests come and go at any step, and none waits for another's prompt longer than one slice takes. A response depends only
//! on its request, not on what runs next to it or what was read before it. If a response fails, only that response ends.
//!
//! A [`Sequence`] is one response without the model, and [`worker`] runs an engine on a separate thread. The model is any type
//! that implements [`LanguageModel`].

mod admission;
mod draft;
mod event;
mod gemma;
mod model;
mod prefix_cache;
mod request;
mod rows;
mod sequence;
mod slices;
mod stats;
#[cfg(test)]
mod tests;
pub mod worker;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use draft::Draft;
pub use event::{Event, Failure, FinishReason, Id, Progress, Token};
pub use model::{Feed, LanguageModel};
pub use request::{Request, RequestError};
pub use sequence::{Next, Sequence, Stage};
pub use stats::Stats;

use admission::{Admission, Job};
use draft::{Caches, Models};
use prefix_cache::PrefixCache;
use rows::{Drafting, Row, Rows};
use slices::Slices;

/// Options for how an engine divides its time and memory among requests.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Maximum number of responses that share a pass over the weights. The responses to one request always share it.
    pub together: usize,
    /// Number of prompt tokens that are read between two tokens of the responses, at least 1 (0 counts as 1). The last slice
    /// of a prompt may have up to 15 more.
    pub slice: usize,
    /// Maximum number of bytes of all caches. A request waits until the memory that it may need at worst is free.
    pub cache_bytes: usize,
    /// Maximum number of bytes of the prompt caches that are kept for later prompts that begin alike. They are part of
    /// [`cache_bytes`](Self::cache_bytes), and are given up if requests need the memory.
    pub prefix_bytes: usize,
    /// Maximum number of guesses at a response's next tokens in a step, if there are [drafts](Engine::with_draft). The actual
    /// number depends on what they gain.
    pub draft_tokens: usize,
}

impl Default for Options {
    /// Returns 8 responses, slices of 64 tokens, 16 GiB for caches of which 1 GiB for prefixes, and drafts of 8 tokens.
    fn default() -> Self {
        Self { together: 8, slice: 64, cache_bytes: 16 << 30, prefix_bytes: 1 << 30, draft_tokens: 8 }
    }
}

/// Answers requests with a model. See the [module](self).
pub struct Engine<M: LanguageModel> {
    model: Models<M>,
    cache_bytes: usize,
    slices: Slices,
    slice: usize,
    /// Id of the next request.
    next: u64,
    draining: bool,
    admission: Admission,
    /// The requests that have begun and whose prompts are not fully read.
    reading: VecDeque<Reading<Caches<M::Cache>>>,
    /// The running responses.
    rows: Rows<M::Cache>,
    prefixes: PrefixCache<Caches<M::Cache>>,
    /// What was done so far; the current state is filled in when asked for.
    done: Stats,
}

/// A request whose prompt is being read.
struct Reading<C> {
    job: Job,
    /// What was read; `None` before the first slice.
    cache: Option<C>,
    /// Number of tokens that were read or taken over.
    at: usize,
    /// Number of tokens that were taken over.
    reused: usize,
    /// Time spent on it.
    spent: Duration,
}

impl<M: LanguageModel> Engine<M> {
    /// Makes an engine without requests.
    pub fn new(model: M, options: Options) -> Self {
        Self::with_draft(model, Draft::None, options)
    }

    /// Makes an engine without requests that guesses tokens ahead. Its texts are the same as without guesses.
    ///
    /// # Panics
    /// Panics if a draft model has another vocabulary than the model.
    pub fn with_draft(model: M, draft: Draft<M>, options: Options) -> Self {
        if let Draft::Model(draft) = &draft {
            assert_eq!(draft.vocab(), model.vocab(), "a draft model has the model's vocabulary");
        }
        let model = Models::new(model, draft);
        let slice = options.slice.max(1);
        let slices = Slices::new(slice);
        let most_drafts = options.draft_tokens.min(model.most_drafts());
        Self {
            model,
            cache_bytes: options.cache_bytes,
            slices,
            slice,
            next: 0,
            draining: false,
            admission: Admission::new(options.together, options.cache_bytes),
            reading: VecDeque::new(),
            rows: Rows::new(most_drafts),
            prefixes: PrefixCache::new(options.prefix_bytes.min(options.cache_bytes), slices),
            done: Stats::default(),
        }
    }

    /// Takes a request. It begins in one of the next steps.
    ///
    /// # Errors
    /// Returns an error if the model can never answer it, or the engine is [draining](Self::drain).
    pub fn submit(&mut self, request: Request) -> Result<Id, RequestError> {
        if self.draining {
            return Err(RequestError::Draining);
        }
        request.check(&self.model, self.cache_bytes)?;
        let id = Id(self.next);
        self.next += 1;
        self.admission.push(Job {
            id,
            open: (0..request.sequences).collect(),
            sequence_bytes: request.sequence_bytes(&self.model),
            request: Arc::new(request),
        });
        Ok(id)
    }

    /// Ends all responses to a request. It has no further events.
    pub fn cancel(&mut self, id: Id) {
        self.cancel_where(id, |_| true);
    }

    /// Ends one response to a request, for instance because a stop string occurred. It has no further events, but the last step
    /// may already have given some.
    pub fn cancel_sequence(&mut self, id: Id, sequence: usize) {
        self.cancel_where(id, |number| number == sequence);
    }

    fn cancel_where(&mut self, id: Id, cancelled: impl Fn(usize) -> bool) {
        self.admission.cancel_where(id, &cancelled);
        for Reading { job, .. } in self.reading.iter_mut().filter(|reading| reading.job.id == id) {
            let before = job.open.len();
            job.open.retain(|number| !cancelled(*number));
            self.admission.give_back((before - job.open.len()) * job.sequence_bytes);
        }
        self.reading.retain(|reading| !reading.job.open.is_empty());
        self.rows.end_where(|row| row.id == id && cancelled(row.number));
        self.admission.give_back(self.rows.sweep());
    }

    /// Refuses all further requests. Requests that were taken are answered.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// [Drains](Self::drain), and ends all responses where they are.
    pub fn stop(&mut self, events: &mut Vec<Event>) {
        self.drain();
        let mut open: Vec<(Id, usize)> = self.rows.iter().map(|row| (row.id, row.number)).collect();
        let jobs = self.reading.iter().map(|reading| &reading.job).chain(self.admission.waiting());
        open.extend(jobs.flat_map(|job| job.open.iter().map(|number| (job.id, *number))));
        for (id, sequence) in open {
            self.cancel_sequence(id, sequence);
            events.push(Event::Finished { id, sequence, reason: FinishReason::Interrupted });
        }
    }

    /// Does the next piece of work: one token of each response, or several with drafts, and one slice of the prompts. Appends
    /// the resulting events to `events`.
    pub fn step(&mut self, events: &mut Vec<Event>) -> Progress {
        let before = events.len();
        self.admit(events);
        self.rows.step(&self.model, events);
        self.read(events);
        self.admission.give_back(self.rows.sweep());
        let tokens = events[before..].iter().filter(|event| matches!(event, Event::Token { .. }));
        self.done.response_tokens += tokens.count() as u64;
        self.done.steps += 1;
        let idle =
            self.rows.is_empty() && self.reading.is_empty() && self.admission.waiting().next().is_none();
        if idle { Progress::Idle } else { Progress::Running }
    }

    /// Returns what the engine is doing and has done.
    pub fn stats(&self) -> Stats {
        Stats {
            waiting_requests: self.admission.waiting().count(),
            reading_requests: self.reading.len(),
            running_responses: self.rows.len(),
            promised_bytes: self.cache_bytes - self.admission.free(),
            cache_bytes: self.cache_bytes,
            prefix_bytes: self.prefixes.bytes(),
            drafted_tokens: self.rows.drafted,
            accepted_tokens: self.rows.accepted,
            ..self.done
        }
    }

    /// Starts the requests that there is room for.
    fn admit(&mut self, events: &mut Vec<Event>) {
        loop {
            let reading: usize = self.reading.iter().map(|reading| reading.job.open.len()).sum();
            let Some(job) = self.admission.next(self.rows.len() + reading) else { return };
            self.prefixes.shrink_to(self.admission.free());
            if job.request.max_tokens == 0 {
                let (id, reason) = (job.id, FinishReason::Length);
                events.push(Event::Started { id, prefill: Duration::ZERO, reused: 0 });
                let finished = |sequence| Event::Finished { id, sequence, reason };
                events.extend(job.open.into_iter().map(finished));
                continue;
            }
            self.reading.push_back(Reading { job, cache: None, at: 0, reused: 0, spent: Duration::ZERO });
        }
    }

    /// Reads a slice of one prompt, or as many short prompts as fit in a slice together.
    fn read(&mut self, events: &mut Vec<Event>) {
        let mut budget = self.slice;
        while let Some(mut reading) = self.reading.pop_front() {
            let start = Instant::now();
            let cache = reading.cache.take().unwrap_or_else(|| self.first_cache(&mut reading));
            let prompt = &reading.job.request.prompt;
            let end = self.slices.end(reading.at, prompt.len());
            let len = end - reading.at;
            if len > budget && budget < self.slice {
                reading.cache = Some(cache);
                self.reading.push_front(reading);
                return;
            }
            budget = budget.saturating_sub(len);
            self.read_to(end, start, reading, cache, events);
        }
    }

    /// Returns a cache to read a prompt into: empty, or with positions of an earlier prompt that begins alike.
    fn first_cache(&mut self, reading: &mut Reading<Caches<M::Cache>>) -> Caches<M::Cache> {
        // If there is no memory for a copy, the prompt is read instead.
        let fork = |cache: &Caches<M::Cache>, len| self.model.fork(cache, len).ok().flatten();
        let request = &reading.job.request;
        let mut cache = match self.prefixes.longest(request.tenant, &request.prompt, fork) {
            Some((at, cache)) => {
                (reading.at, reading.reused) = (at, at);
                self.done.reused_tokens += at as u64;
                cache
            }
            None => self.model.new_cache(),
        };
        if self.rows.drafts() && self.rows.reads_along() {
            self.model.start_drafting(&mut cache);
        } else {
            Models::<M>::stop_drafting(&mut cache);
        }
        cache
    }

    /// Reads the slice of a prompt up to `end`. After the last slice, its responses begin.
    fn read_to(
        &mut self,
        end: usize,
        start: Instant,
        mut reading: Reading<Caches<M::Cache>>,
        mut cache: Caches<M::Cache>,
        events: &mut Vec<Event>,
    ) {
        self.done.prompt_tokens += (end - reading.at) as u64;
        let Self { model, rows, .. } = self;
        let Reading { job, at, reused, spent, .. } = &mut reading;
        let Job { id, request, open, sequence_bytes } = job;
        let is_last = end == request.prompt.len();
        let context_is_full = end >= model.context();
        if rows.drafts() {
            model.read_draft(&mut cache, &request.prompt[..end]);
        }
        let slice = Feed { cache: &mut cache, ids: &request.prompt[*at..end], logits: usize::from(is_last) };
        let result = model.feed(&mut [slice], |logits| {
            *spent += start.elapsed();
            if !is_last {
                return Vec::new();
            }
            events.push(Event::Started { id: *id, prefill: *spent, reused: *reused });
            let begin = |number: &usize| {
                let sequence = Sequence::new(Arc::clone(request), *number as u64);
                let odds = rows.first_odds(model.draft());
                let drafting =
                    if rows.drafts() { Drafting::new(model.draft(), &request.prompt, odds) } else { None };
                let mut row = Row {
                    id: *id,
                    number: *number,
                    sequence,
                    bytes: *sequence_bytes,
                    ended: false,
                    drafting,
                };
                row.advance(&mut rows.sampler, logits.row(0), context_is_full, events);
                row
            };
            open.iter().map(begin).collect()
        });
        match result {
            Ok(_) if !is_last => {
                *at = end;
                reading.cache = Some(cache);
                self.reading.push_front(reading);
            }
            Ok(begun) => self.begin(&reading.job, begun, cache, events),
            Err(error) => {
                let error = Failure::Model(Arc::new(error));
                self.admission.give_back(open.len() * *sequence_bytes);
                let failed =
                    |sequence: &usize| Event::Failed { id: *id, sequence: *sequence, error: error.clone() };
                events.extend(open.iter().map(failed));
            }
        }
    }

    /// Gives each response that continues a copy of the prompt's cache. Keeps the cache for later prompts if there is room.
    fn begin(&mut self, job: &Job, begun: Vec<Row>, cache: Caches<M::Cache>, events: &mut Vec<Event>) {
        let (tenant, prompt) = (job.request.tenant, &job.request.prompt);
        let len = prompt.len();
        let bytes = self.model.cache_bytes(len);
        let keep = bytes <= self.admission.free() && self.prefixes.takes(prompt, bytes);
        if keep {
            // Make room before making the copies, since they take the memory.
            self.prefixes.make_room(tenant, prompt, bytes, self.admission.free());
        }
        let (going_on, ended): (Vec<Row>, Vec<Row>) = begun.into_iter().partition(|row| !row.ended);
        self.admission.give_back(ended.iter().map(|row| row.bytes).sum());
        // The last response gets the cache itself, unless the cache is kept.
        let mut cache = Some(cache);
        let copies = going_on.len() - usize::from(!keep && !going_on.is_empty());
        for (index, mut row) in going_on.into_iter().enumerate() {
            let copy = match &cache {
                Some(cache) if index < copies => self.model.fork(cache, len).transpose(),
                _ => cache.take().map(Ok),
            };
            match copy {
                Some(Ok(copy)) => self.rows.push(row, copy),
                Some(Err(error)) => {
                    self.admission.give_back(row.bytes);
                    row.fail(Failure::Model(Arc::new(error)), events);
                }
                None => unreachable!("a copy of all positions is always to be had"),
            }
        }
        if let Some(cache) = cache.filter(|_| keep) {
            self.prefixes.insert(tenant, prompt, cache, bytes);
        }
    }
}
