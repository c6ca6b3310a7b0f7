//! Tests of how responses end, by themselves, by their caller or by an error, and of what they report of their
//! tokens.

use super::super::{LanguageModel, RequestError};
use super::fake::{Fake, NAN, POISON, VOCAB, expected};
use super::*;
use crate::sample::SampleError;

/// Returns a request whose every token is `id`.
fn only(id: u32, prompt: Vec<u32>, max_tokens: usize) -> Request {
    let banned_ids = (0..VOCAB as u32).filter(|other| *other != id).rev().collect();
    Request { banned_ids, ..request(prompt, max_tokens) }
}

#[test]
fn a_stop_token_ends_a_response_and_is_not_part_of_it() {
    let free = request(prompt(1, 9), 30);
    let (tokens, _) = expected(&free, 0, &ends(9));
    let stop = tokens[10];
    let before = tokens.iter().position(|id| *id == stop).unwrap();
    let mut engine = Engine::new(Fake::new(), options());
    let id = engine.submit(Request { stop_ids: vec![POISON, stop], ..free }).unwrap();
    assert_eq!(run(&mut engine).of(id, 0), (tokens[..before].to_vec(), FinishReason::Stop));
}

#[test]
fn a_full_context_ends_a_response_after_one_more_token() {
    let mut engine = Engine::new(Fake { context: 12, ..Fake::new() }, options());
    let ids = [10, 12].map(|len| engine.submit(request(prompt(1, len), 30)).unwrap());
    let answers = run(&mut engine);
    for (id, tokens) in ids.into_iter().zip([3, 1]) {
        let (found, reason) = answers.of(id, 0);
        assert_eq!((found.len(), reason), (tokens, FinishReason::Length));
    }
}

#[test]
fn no_tokens_asked_for_is_an_end_without_the_model() {
    let fake = Fake::new();
    let mut engine = Engine::new(fake.clone(), options());
    let id = engine.submit(Request { sequences: 2, ..request(prompt(1, 9), 0) }).unwrap();
    let answers = run(&mut engine);
    for sequence in 0..2 {
        assert_eq!(answers.of(id, sequence), (Vec::new(), FinishReason::Length));
    }
    assert!(fake.passes.lock().unwrap().is_empty());
}

#[test]
fn a_banned_token_is_never_drawn() {
    let mut engine = Engine::new(Fake::new(), options());
    let id = engine.submit(only(5, prompt(1, 4), 10)).unwrap();
    assert_eq!(run(&mut engine).of(id, 0).0, [5; 10]);
}

#[test]
fn a_request_is_cancelled_while_it_waits_is_read_or_answered() {
    // After this many steps, one response is being answered, the long prompt is being read, and the last request
    // waits.
    for (cancelled, steps) in [(0, 3), (1, 3), (2, 3)] {
        let mut engine = Engine::new(Fake::new(), Options { together: 2, ..options() });
        let requests = [(4, 30), (60, 5), (5, 5)].map(|(len, max)| request(prompt(len, len), max));
        let ids = requests.each_ref().map(|request| engine.submit(request.clone()).unwrap());
        let mut events = Vec::new();
        for _ in 0..steps {
            engine.step(&mut events);
        }
        engine.cancel(ids[cancelled]);
        let mut answers = run(&mut engine);
        assert!(answers.0.keys().all(|(id, _)| *id != ids[cancelled]), "no event follows");
        let before = std::mem::take(&mut answers);
        answers.take(events);
        for (key, (tokens, end)) in before.0 {
            let all = answers.0.entry(key).or_default();
            all.0.extend(tokens);
            all.1 = end;
        }
        for (index, request) in requests.iter().enumerate().filter(|(index, _)| *index != cancelled) {
            assert_eq!(answers.of(ids[index], 0), expected(request, 0, &ends(request.prompt.len())));
        }
    }
}

#[test]
fn one_response_of_several_is_cancelled_at_any_time() {
    let request = Request { sequences: 3, ..request(prompt(1, 40), 10) };
    // The request waits, is being read, or is being answered.
    for steps in [0, 2, 8] {
        let mut engine = Engine::new(Fake::new(), options());
        let id = engine.submit(request.clone()).unwrap();
        let mut answers = Answers::default();
        let mut events = Vec::new();
        for _ in 0..steps {
            engine.step(&mut events);
        }
        answers.take(events.drain(..));
        engine.cancel_sequence(id, 1);
        while engine.step(&mut events) == Progress::Running {}
        assert!(!events.iter().any(|event| matches!(event, Event::Token { sequence: 1, .. })));
        answers.take(events);
        for sequence in [0, 2] {
            assert_eq!(answers.of(id, sequence), expected(&request, sequence as u64, &ends(40)));
        }
    }
}

#[test]
fn one_bad_row_of_eight_fails_alone() {
    for (bad, error) in [(POISON, "poisoned"), (NAN, "not a number")] {
        let mut engine = Engine::new(Fake::new(), Options { together: 8, ..options() });
        let mut requests: Vec<Request> = (0..8).map(|i| request(prompt(i, 5), 12)).collect();
        // Its first token is one that the model cannot continue from.
        requests[3] = only(bad, prompt(3, 5), 12);
        let ids: Vec<Id> = requests.iter().map(|request| engine.submit(request.clone()).unwrap()).collect();
        let answers = run(&mut engine);
        for (index, request) in requests.iter().enumerate() {
            if index == 3 {
                let (tokens, end) = &answers.0[&(ids[3], 0)];
                assert_eq!(tokens, &[bad]);
                assert!(end.clone().unwrap().unwrap_err().contains(error));
            } else {
                assert_eq!(answers.of(ids[index], 0), expected(request, 0, &ends(5)), "row {index}");
            }
        }
    }
}

#[test]
fn a_prompt_that_cannot_be_read_fails_its_request_alone() {
    for bad in [POISON, NAN] {
        let mut engine = Engine::new(Fake::new(), options());
        let good = request(prompt(1, 5), 12);
        let first = engine.submit(good.clone()).unwrap();
        let mut poisoned = prompt(2, 40);
        *poisoned.last_mut().unwrap() = bad;
        let second = engine.submit(Request { sequences: 2, ..request(poisoned, 12) }).unwrap();
        let last = engine.submit(good.clone()).unwrap();
        let answers = run(&mut engine);
        for sequence in 0..2 {
            let (tokens, end) = &answers.0[&(second, sequence)];
            assert!(tokens.is_empty() && end.clone().unwrap().is_err());
        }
        for id in [first, last] {
            assert_eq!(answers.of(id, 0), expected(&good, 0, &ends(5)));
        }
    }
}

#[test]
fn draining_answers_what_was_taken_and_refuses_the_rest() {
    let mut engine = Engine::new(Fake::new(), Options { together: 1, ..options() });
    let taken = [1, 2].map(|start| request(prompt(start, 5), 4));
    let ids = taken.each_ref().map(|request| engine.submit(request.clone()).unwrap());
    engine.drain();
    assert_eq!(engine.submit(taken[0].clone()), Err(RequestError::Draining));
    let answers = run(&mut engine);
    for (id, request) in ids.into_iter().zip(&taken) {
        assert_eq!(answers.of(id, 0), expected(request, 0, &ends(5)));
    }
}

#[test]
fn stopping_ends_everything_at_once() {
    let mut engine = Engine::new(Fake::new(), Options { together: 2, ..options() });
    for (start, len) in [(1, 4), (2, 60), (3, 5)] {
        engine.submit(request(prompt(start, len), 50)).unwrap();
    }
    let mut events = Vec::new();
    for _ in 0..3 {
        engine.step(&mut events);
    }
    events.clear();
    engine.stop(&mut events);
    let interrupted =
        |event: &Event| matches!(event, Event::Finished { reason: FinishReason::Interrupted, .. });
    assert!(events.len() == 3 && events.iter().all(interrupted), "{events:?}");
    events.clear();
    assert_eq!(engine.step(&mut events), Progress::Idle);
    assert!(events.is_empty());
    assert!(engine.submit(request(prompt(1, 4), 1)).is_err());
}

#[test]
fn what_can_never_be_answered_is_refused_with_the_reason() {
    let fake = Fake { context: 20, ..Fake::new() };
    let mut engine = Engine::new(fake.clone(), Options { cache_bytes: 150, ..options() });
    let good = request(prompt(1, 5), 11);
    let greedy = Sampling { temperature: -1.0, ..good.sampling };
    let refused = [
        (Request { prompt: Vec::new(), ..good.clone() }, RequestError::EmptyPrompt),
        (Request { sequences: 0, ..good.clone() }, RequestError::NoSequences),
        (request(vec![1, 99], 2), RequestError::Token { id: 99, vocab: fake.vocab() }),
        (request(prompt(1, 21), 2), RequestError::Context { tokens: 21, limit: 20 }),
        (request(prompt(1, 5), 12), RequestError::Memory { needed: 160, limit: 150 }),
    ];
    for (request, error) in refused {
        assert_eq!(engine.submit(request), Err(error));
    }
    let sampling = engine.submit(Request { sampling: greedy, ..good.clone() });
    assert!(matches!(
        sampling,
        Err(RequestError::Sampling(SampleError::Setting { name: "temperature", .. }))
    ));
    let id = engine.submit(good).unwrap();
    assert_eq!(run(&mut engine).of(id, 0).0.len(), 11);
}

#[test]
fn log_probabilities_are_the_models_own() {
    let mut asked = Request { logprobs: Some(3), ..request(prompt(1, 20), 6) };
    // None of these may have a visible effect.
    let penalties = Sampling { repeat_penalty: 1.5, presence_penalty: 1.0, ..Sampling::default() };
    asked.sampling = Sampling { temperature: 0.5, top_k: 4, top_p: 0.9, seed: 3, ..penalties };
    asked.banned_ids = vec![7, 2, 19];
    let mut engine = Engine::new(Fake::new(), options());
    engine.submit(asked.clone()).unwrap();
    let mut events = Vec::new();
    while engine.step(&mut events) == Progress::Running {}
    let mut read: std::collections::BTreeSet<usize> = ends(20).into_iter().collect();
    let mut ids = asked.prompt;
    for event in events {
        let Event::Token { token, .. } = event else { continue };
        let logits = Fake::logits(&ids, &read);
        let total: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
        let mut want: Vec<(u32, f64)> =
            (0..).zip(&logits).map(|(id, logit)| (id, f64::from(*logit) - total.ln())).collect();
        let found = token.logprobs.unwrap();
        assert!((found.chosen - want[token.id as usize].1).abs() < 1e-6);
        want.sort_by(|a, b| b.1.total_cmp(&a.1));
        assert_eq!(found.top.len(), 3);
        for (found, want) in found.top.iter().zip(&want) {
            assert!(found.0 == want.0 && (found.1 - want.1).abs() < 1e-6, "{found:?} {want:?}");
        }
        ids.push(token.id);
        read.insert(ids.len());
    }
    assert_eq!(ids.len(), 26);
}
