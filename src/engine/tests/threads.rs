//! Tests of the engine on a separate thread.

use std::sync::mpsc;

use super::super::worker::{SubmitError, spawn};
use super::super::{FinishReason, RequestError};
use super::fake::{Fake, expected};
use super::*;

#[test]
fn handles_submit_from_any_thread_and_read_their_own_events() {
    let (handle, worker) = spawn(Fake::new(), options(), Some(2)).unwrap();
    let threads: Vec<_> = (0..6)
        .map(|start| {
            let handle = handle.clone();
            std::thread::spawn(move || {
                let request = Request { sequences: 2, ..request(prompt(start, 5 * start + 1), 15) };
                let mut answers = Answers::default();
                let events: Vec<Event> = handle.submit(request.clone()).unwrap().collect();
                let id = events[0].id();
                answers.take(events);
                for sequence in 0..2 {
                    let want = expected(&request, sequence as u64, &ends(request.prompt.len()));
                    assert_eq!(answers.of(id, sequence), want);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    drop(handle);
    worker.join().unwrap();
}

#[test]
fn dropped_responses_are_cancelled() {
    let (handle, worker) =
        spawn(Fake { context: 100_000_000, ..Fake::new() }, Options { together: 1, ..options() }, Some(1))
            .unwrap();
    // It would occupy the only row for days.
    let mut endless = handle.submit(request(prompt(1, 4), 50_000_000)).unwrap();
    assert!(endless.next().is_some());
    let next = request(prompt(2, 4), 5);
    let waiting = handle.submit(next.clone()).unwrap();
    drop(endless);
    let mut answers = Answers::default();
    let events: Vec<Event> = waiting.collect();
    let id = events[0].id();
    answers.take(events);
    assert_eq!(answers.of(id, 0), expected(&next, 0, &ends(4)));
    handle.drain();
    worker.join().unwrap();
}

#[test]
fn no_event_of_a_cancelled_response_is_read() {
    let (handle, _worker) = spawn(Fake::new(), options(), Some(1)).unwrap();
    let request = Request { sequences: 2, ..request(prompt(1, 4), 50) };
    let mut responses = handle.submit(request.clone()).unwrap();
    let mut answers = Answers::default();
    answers.take(responses.next());
    responses.cancel_sequence(0);
    let rest: Vec<Event> = responses.collect();
    assert!(!rest.iter().any(|event| matches!(event, Event::Token { sequence: 0, .. })));
    let id = rest[0].id();
    answers.take(rest);
    assert_eq!(answers.of(id, 1), expected(&request, 1, &ends(4)));
}

#[test]
fn draining_ends_the_thread_after_the_answers() {
    let (handle, worker) = spawn(Fake::new(), options(), Some(1)).unwrap();
    let responses = handle.submit(request(prompt(1, 4), 20)).unwrap();
    handle.drain();
    let refused = handle.submit(request(prompt(1, 4), 20)).err();
    assert_eq!(refused, Some(SubmitError::Request(RequestError::Draining)));
    worker.join().unwrap();
    assert_eq!((handle.stats().response_tokens, handle.stats().running_responses), (20, 0));
    let last = responses.last();
    assert!(matches!(last, Some(Event::Finished { reason: FinishReason::Length, .. })), "{last:?}");
}

#[test]
fn stopping_interrupts_the_answers_and_ends_the_thread() {
    let (handle, worker) = spawn(Fake { context: 100_000_000, ..Fake::new() }, options(), Some(1)).unwrap();
    let mut responses = handle.submit(request(prompt(1, 4), 50_000_000)).unwrap();
    assert!(responses.next().is_some());
    handle.stop();
    worker.join().unwrap();
    let last = responses.last();
    assert!(matches!(last, Some(Event::Finished { reason: FinishReason::Interrupted, .. })), "{last:?}");
}

#[test]
fn a_sink_is_dropped_with_the_last_response() {
    let fake = Fake { context: 100_000_000, ..Fake::new() };
    let (handle, _worker) = spawn(fake, options(), Some(1)).unwrap();
    let submit = |max_tokens| {
        let (sender, events) = mpsc::channel();
        let asked = Request { sequences: 2, ..request(prompt(1, 4), max_tokens) };
        (handle.submit_to(asked, move |event| drop(sender.send(event))).unwrap(), events)
    };
    // None of these waits for ever.
    let (_complete, events) = submit(5);
    assert_eq!(events.into_iter().count(), 1 + 2 * (5 + 1));
    let (one_by_one, events) = submit(50_000_000);
    for sequence in [1, 0] {
        events.recv().unwrap();
        one_by_one.cancel_sequence(sequence);
    }
    events.into_iter().for_each(drop);
    let (dropped, events) = submit(50_000_000);
    drop(dropped);
    events.into_iter().for_each(drop);
}

#[test]
fn a_model_that_panics_ends_the_thread_and_drops_the_sinks() {
    let (handle, worker) = spawn(Fake { panics: true, ..Fake::new() }, options(), Some(1)).unwrap();
    let responses = [handle.submit(request(prompt(1, 4), 5)), handle.submit(request(prompt(2, 4), 5))];
    for responses in responses.into_iter().flatten() {
        assert_eq!(responses.count(), 0);
    }
    assert_eq!(handle.submit(request(prompt(1, 4), 5)).err(), Some(SubmitError::Stopped));
    assert!(worker.join().is_err());
}
