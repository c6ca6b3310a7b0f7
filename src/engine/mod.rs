//! Answers requests: prompt ids in, events of tokens out. Knows neither text nor a model's inside.
//!
//! An [`Engine`] answers many requests at a time. Each [`step`](Engine::step)
//! 1. lets the requests begin that there is room for, tenants in turn (`admission`),
//! 2. gives each response that has begun its next token, all in one pass over the model's weights (`rows`), and those after it
//!    that were guessed right ([`Draft`]),
//! 3. reads one slice of the prompts that have not been read (`slices`), or takes it over from an earlier prompt that
//!    begins alike (`prefix_cache`).
//!
//! So requests come and go at any step, and none waits for another's prompt longer than a slice of it takes. A response
//! depends on its request alone: not on what runs beside it, nor on what was read before it. If it fails, it ends alone.
//!
//! A [`Sequence`] is one response without the model, and [`worker`] runs an engine on a thread of its own. The model is
//! whatever implements [`LanguageModel`].

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

/// How an engine divides its time and memory among requests.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The most responses that share a pass over the weights. The responses to one request share it in any case.
    pub together: usize,
    /// Tokens of prompts that are read between two tokens of the responses. In a last slice there may be up to 15 more.
    pub slice: usize,
    /// The most bytes of all caches. Requests wait until what they need at worst is free.
    pub cache_bytes: usize,
    /// The most bytes of the caches of prompts that are kept for later prompts that begin alike; a part of
    /// [`cache_bytes`](Self::cache_bytes), and given up if requests need them.
    pub prefix_bytes: usize,
    /// The most guesses at the next tokens of a response in a step, if there are [drafts](Engine::with_draft). How many are made
    /// is decided by what they gain.
    pub draft_tokens: usize,
}

impl Default for Options {
    /// 8 responses, slices of 64 tokens, 16 GiB for caches and 1 GiB of it for prefixes; drafts of 8 tokens.
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
    /// The id of the next request.
    next: u64,
    draining: bool,
    admission: Admission,
    /// The requests that have begun and whose prompts are not read yet.
    reading: VecDeque<Reading<Caches<M::Cache>>>,
    /// The responses that have begun.
    rows: Rows<M::Cache>,
    prefixes: PrefixCache<Caches<M::Cache>>,
    /// What was done so far; what is being done is filled in when asked for.
    done: Stats,
}

/// A request whose prompt is being read.
struct Reading<C> {
    job: Job,
    /// What was read; none before the first slice.
    cache: Option<C>,
    /// Tokens that were read or taken over.
    at: usize,
    /// Those that were taken over.
    reused: usize,
    /// The time that it took.
    spent: Duration,
}

impl<M: LanguageModel> Engine<M> {
    /// Makes an engine without requests.
    pub fn new(model: M, options: Options) -> Self {
        Self::with_draft(model, Draft::None, options)
    }

    /// Makes an engine without requests that guesses tokens ahead. Its texts are those that it would give without.
    ///
    /// # Panics
    /// Panics if a draft model has another vocabulary than the model.
    pub fn with_draft(model: M, draft: Draft<M>, options: Options) -> Self {
        if let Draft::Model(draft) = &draft {
            assert_eq!(draft.vocab(), model.vocab(), "a draft model has the model's vocabulary");
        }
        let model = Models::new(model, draft);
        let slices = Slices::new(options.slice);
        let most_drafts = options.draft_tokens.min(model.most_drafts());
        Self {
            model,
            cache_bytes: options.cache_bytes,
            slices,
            slice: options.slice,
            next: 0,
            draining: false,
            admission: Admission::new(options.together, options.cache_bytes),
            reading: VecDeque::new(),
            rows: Rows::new(most_drafts),
            prefixes: PrefixCache::new(options.prefix_bytes.min(options.cache_bytes), slices),
            done: Stats::default(),
        }
    }

    /// Takes a request, which begins in one of the next steps.
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

    /// Ends all responses to a request. No further event of it follows.
    pub fn cancel(&mut self, id: Id) {
        self.cancel_where(id, |_| true);
    }

    /// Ends one response to a request, for instance because a stop string came. No further event of it follows, but
    /// among those that the last step gave there may be some.
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

    /// Refuses requests from now on. Those that were taken are answered.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// [Drains](Self::drain), and ends all responses as they are.
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

    /// Does the next piece of work: a token of each response, or several with drafts, and one slice of the prompts. Appends what
    /// comes of it to `events`.
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

    /// Lets the requests begin that there is room for.
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

    /// Reads a slice of one prompt, or as many short prompts as have no more tokens together.
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

    /// A cache to read a prompt into: empty, or with positions of an earlier prompt that begins alike.
    fn first_cache(&mut self, reading: &mut Reading<Caches<M::Cache>>) -> Caches<M::Cache> {
        // Where a copy fails for want of memory, the prompt is read.
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

    /// Reads the slice of a prompt up to `end`; after the last one its responses begin.
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

    /// Gives each response that goes on a copy of the prompt's cache, and keeps that for later prompts if there is room.
    fn begin(&mut self, job: &Job, begun: Vec<Row>, cache: Caches<M::Cache>, events: &mut Vec<Event>) {
        let (tenant, prompt) = (job.request.tenant, &job.request.prompt);
        let len = prompt.len();
        let bytes = self.model.cache_bytes(len);
        let keep = bytes <= self.admission.free() && self.prefixes.takes(prompt, bytes);
        if keep {
            // Before the copies are made, since they take the memory.
            self.prefixes.make_room(tenant, prompt, bytes, self.admission.free());
        }
        let (going_on, ended): (Vec<Row>, Vec<Row>) = begun.into_iter().partition(|row| !row.ended);
        self.admission.give_back(ended.iter().map(|row| row.bytes).sum());
        // The last one gets the cache itself, unless that is kept.
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
