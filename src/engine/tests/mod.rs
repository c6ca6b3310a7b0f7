//! Tests of the engine with a model that takes no time. See [`fake`] for what its texts show.

mod endings;
mod fake;
mod memory;
mod schedule;
mod threads;

use std::collections::BTreeMap;

use super::{Draft, Engine, Event, FinishReason, Id, Options, Progress, Request};
use crate::sample::Sampling;
use fake::Fake;

/// Size of a slice: 8 tokens, so that prompts of a few dozen tokens have several slices.
const SLICE: usize = 8;

fn options() -> Options {
    Options { together: 4, slice: SLICE, cache_bytes: usize::MAX, prefix_bytes: 0, ..Options::default() }
}

/// Returns a prompt of `len` tokens that differs from that of any other `start`.
fn prompt(start: u32, len: u32) -> Vec<u32> {
    (0..len).map(|i| (start * 7 + i * 5 + i * i) % 28).collect()
}

fn request(prompt: Vec<u32>, max_tokens: usize) -> Request {
    let sampling = Sampling { top_k: 0, seed: 11, ..Sampling::default() };
    Request { max_tokens, sampling, ..Request::new(prompt) }
}

/// Returns the ends of the slices of a prompt.
fn ends(len: usize) -> Vec<usize> {
    let slices = super::slices::Slices::new(SLICE);
    let next = |at: &usize| (*at < len).then(|| slices.end(*at, len));
    std::iter::successors(next(&0), next).collect()
}

/// Tokens of a response, and how it ended.
type Answer = (Vec<u32>, Option<Result<FinishReason, String>>);

/// Outcome of each response.
#[derive(Default)]
struct Answers(BTreeMap<(Id, usize), Answer>);

impl Answers {
    fn take(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            let (id, sequence) = match event {
                Event::Started { .. } => continue,
                Event::Token { id, sequence, .. }
                | Event::Finished { id, sequence, .. }
                | Event::Failed { id, sequence, .. } => (id, sequence),
            };
            let (tokens, end) = self.0.entry((id, sequence)).or_default();
            assert_eq!(*end, None, "an event after the end");
            match event {
                Event::Token { token, .. } => tokens.push(token.id),
                Event::Finished { reason, .. } => *end = Some(Ok(reason)),
                Event::Failed { error, .. } => *end = Some(Err(error.to_string())),
                Event::Started { .. } => {}
            }
        }
    }

    fn of(&self, id: Id, sequence: usize) -> (Vec<u32>, FinishReason) {
        let (tokens, end) = &self.0[&(id, sequence)];
        (tokens.clone(), end.clone().expect("an end").expect("a success"))
    }
}

/// Steps until there is nothing to do.
fn run(engine: &mut Engine<Fake>) -> Answers {
    let (mut answers, mut events) = (Answers::default(), Vec::new());
    for _ in 0..10_000 {
        let progress = engine.step(&mut events);
        answers.take(events.drain(..));
        if progress == Progress::Idle {
            return answers;
        }
    }
    panic!("no end");
}
