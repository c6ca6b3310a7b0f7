//! Tests of who runs when, and that a text does not depend on it.

use std::time::Duration;

use wmdetect::scheme::{Key, Preset, Watermark};

use super::super::Stats;
use super::fake::{BYTES, Fake, VOCAB, expected};
use super::*;

/// Returns the number of rows of each decode step, and of prompt tokens of each pass that reads.
fn rows_of(fake: &Fake) -> Vec<usize> {
    fake.passes
        .lock()
        .unwrap()
        .iter()
        .filter(|pass| pass.iter().all(|p| p.len() == 1))
        .map(Vec::len)
        .collect()
}

fn started(events: &[Event]) -> Vec<Id> {
    events.iter().filter(|event| matches!(event, Event::Started { .. })).map(Event::id).collect()
}

#[test]
fn a_text_depends_on_its_request_alone() {
    let key = Key::generate(Preset::default()).unwrap();
    let mut requests = Vec::new();
    for (start, len, sequences) in [(1, 3, 1), (2, 50, 3), (3, 24, 1), (4, 1, 2), (5, 100, 1)] {
        let mut request = Request { sequences, ..request(prompt(start, len), 20 + start as usize) };
        request.sampling.seed = u64::from(start);
        request.sampling.repeat_penalty = 1.0 + (start % 2) as f32 / 5.0;
        request.watermark = (start > 2).then(|| Watermark::new(key.prf()));
        requests.push(request);
    }
    // With only four tokens to choose from, some guesses are right.
    requests.push(Request { banned_ids: (4..VOCAB as u32).collect(), ..request(prompt(6, 9), 60) });
    // A draft model that is nearly the same, one that cannot read long texts, and one that fails.
    let time = Duration::from_micros(300);
    let target = || Fake { time, ..Fake::new() };
    let drafts = [
        Draft::None,
        Draft::Prompt,
        Draft::Model(Fake { errs_at: 5, ..Fake::new() }),
        Draft::Model(Fake { context: 60, ..Fake::new() }),
        Draft::Model(Fake { fails_at: 40, ..Fake::new() }),
    ];
    for draft in drafts {
        let (mut drafted, mut accepted) = (0, 0);
        let (is_none, name) = (matches!(draft, Draft::None), format!("{draft:?}"));
        for together in [1, 2, 4, 100] {
            let options = Options { together, prefix_bytes: 1000, ..options() };
            let mut engine = Engine::with_draft(target(), draft.clone(), options);
            // The second time, the caches of the prompts still exist.
            for _ in 0..2 {
                let ids: Vec<Id> =
                    requests.iter().map(|request| engine.submit(request.clone()).unwrap()).collect();
                let answers = run(&mut engine);
                for (id, request) in ids.into_iter().zip(&requests) {
                    for sequence in 0..request.sequences {
                        let want = expected(request, sequence as u64, &ends(request.prompt.len()));
                        assert_eq!(answers.of(id, sequence), want, "{id:?} {sequence} of {together}, {name}");
                    }
                }
            }
            let stats = engine.stats();
            drafted += stats.drafted_tokens;
            accepted += stats.accepted_tokens;
        }
        if is_none {
            assert_eq!(drafted, 0);
        } else {
            assert!(accepted > 0, "{name} guessed nothing right");
        }
        assert!(
            matches!(draft, Draft::Prompt | Draft::Model(Fake { errs_at: 5, .. })) == (drafted > accepted),
            "{accepted} of {drafted} by {name}"
        );
    }
}

#[test]
fn responses_to_a_request_come_in_their_order() {
    let mut engine = Engine::new(Fake::new(), options());
    engine.submit(Request { sequences: 3, ..request(prompt(1, 5), 2) }).unwrap();
    let mut events = Vec::new();
    while engine.step(&mut events) == Progress::Running {}
    let tokens: Vec<usize> = events
        .iter()
        .filter_map(|event| if let Event::Token { sequence, .. } = event { Some(*sequence) } else { None })
        .collect();
    assert_eq!(tokens, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn requests_begin_in_order_and_none_overtakes() {
    let fake = Fake::new();
    let mut engine = Engine::new(fake.clone(), options());
    // There is room for four. The second waits for the first. The third would fit next to the first, but waits for
    // the second.
    let ids: Vec<Id> = [(3, 10), (2, 4), (1, 4)]
        .map(|(sequences, max)| engine.submit(Request { sequences, ..request(prompt(1, 4), max) }).unwrap())
        .to_vec();
    let mut events = Vec::new();
    engine.step(&mut events);
    assert_eq!(started(&events), ids[..1]);
    while engine.step(&mut events) == Progress::Running {}
    assert_eq!(started(&events), ids);
    let first_ends =
        events.iter().position(|event| matches!(event, Event::Finished { id, .. } if *id == ids[0]));
    let second_starts =
        events.iter().position(|event| matches!(event, Event::Started { id, .. } if *id == ids[1]));
    assert!(first_ends < second_starts);
    assert_eq!(rows_of(&fake).into_iter().max(), Some(3));
}

#[test]
fn tenants_begin_in_turn_and_each_ones_requests_in_order() {
    let mut engine = Engine::new(Fake::new(), Options { together: 1, ..options() });
    let mut submit = |tenant, sequences| {
        let asked = Request { sequences, tenant, ..request(prompt(1, 4), 3) };
        engine.submit(asked).unwrap()
    };
    let a: Vec<Id> = (0..20).map(|_| submit(1, 1)).collect();
    // It has two rows, so it waits until nothing runs, and nothing that fits overtakes it.
    let b = submit(2, 2);
    let c = [submit(3, 1), submit(3, 1)];
    let mut events = Vec::new();
    while engine.step(&mut events) == Progress::Running {}
    let want: Vec<Id> = [a[0], b, c[0], a[1], c[1]].into_iter().chain(a[2..].iter().copied()).collect();
    assert_eq!(started(&events), want);
}

#[test]
fn a_tenant_that_asks_again_and_again_does_not_starve_a_large_request() {
    let mut engine = Engine::new(Fake::new(), options());
    let mut events = Vec::new();
    let small =
        |engine: &mut Engine<Fake>| engine.submit(Request { tenant: 1, ..request(prompt(1, 4), 7) }).unwrap();
    for _ in 0..6 {
        small(&mut engine);
        engine.step(&mut events);
    }
    let large = Request { tenant: 2, sequences: 4, ..request(prompt(2, 4), 3) };
    let large = engine.submit(large).unwrap();
    let mut steps = 0;
    while !started(&events).contains(&large) {
        small(&mut engine);
        engine.step(&mut events);
        steps += 1;
        assert!(steps < 30, "it waits for what runs when its turn comes");
    }
}

#[test]
fn a_request_of_more_rows_than_there_are_runs_alone() {
    let fake = Fake::new();
    let mut engine = Engine::new(fake.clone(), options());
    engine.submit(request(prompt(1, 4), 5)).unwrap();
    engine.submit(Request { sequences: 6, ..request(prompt(2, 4), 5) }).unwrap();
    run(&mut engine);
    assert_eq!(rows_of(&fake), [1, 1, 1, 1, 6, 6, 6, 6]);
}

#[test]
fn the_place_of_a_response_that_ended_is_taken() {
    let fake = Fake::new();
    let mut engine = Engine::new(fake.clone(), Options { together: 2, ..options() });
    for max_tokens in [3, 9, 6] {
        engine.submit(request(prompt(1, 4), max_tokens)).unwrap();
    }
    run(&mut engine);
    assert_eq!(rows_of(&fake), [2, 2, 1, 2, 2, 2, 2, 2]);
}

#[test]
fn a_long_prompt_holds_up_a_running_response_by_a_slice_at_most() {
    let fake = Fake::new();
    let mut engine = Engine::new(fake.clone(), options());
    let short = engine.submit(request(prompt(1, 4), 60)).unwrap();
    let mut events = Vec::new();
    engine.step(&mut events);
    let long = engine.submit(request(prompt(2, 200), 1)).unwrap();
    let mut steps = 0;
    while started(&events).len() < 2 {
        events.clear();
        fake.passes.lock().unwrap().clear();
        engine.step(&mut events);
        steps += 1;
        let tokens = events.iter().filter(|event| matches!(event, Event::Token { id, .. } if *id == short));
        assert_eq!(tokens.count(), 1, "each step");
        let read: usize = fake.passes.lock().unwrap().iter().flatten().map(ExactSizeIterator::len).sum();
        assert!(read <= 1 + SLICE + 15, "{read}");
        if started(&events) == [long] {
            break;
        }
    }
    assert_eq!(steps, ends(200).len());
}

#[test]
fn short_prompts_share_a_slice() {
    let mut engine = Engine::new(Fake::new(), options());
    for len in [3, 4, 5, 2] {
        engine.submit(request(prompt(1, len), 2)).unwrap();
    }
    let mut events = Vec::new();
    engine.step(&mut events);
    assert_eq!(started(&events).len(), 2, "3 and 4 of 8 tokens");
    engine.step(&mut events);
    assert_eq!(started(&events).len(), 4, "5 and 2");
}

#[test]
fn a_slice_of_0_counts_as_1() {
    let mut engine = Engine::new(Fake::new(), Options { slice: 0, ..options() });
    for start in [1, 2] {
        engine.submit(request(prompt(start, 40), 2)).unwrap();
    }
    engine.step(&mut Vec::new());
    assert_eq!(engine.stats().prompt_tokens, 1);
}

#[test]
fn guesses_are_judged_while_none_is_tried() {
    // A guess that is nearly always right pays at a cost of 0.9. What is assumed of the longest match does not.
    let tries = |banned_ids: Vec<u32>| {
        let mut engine = Engine::with_draft(Fake::new(), Draft::Prompt, options());
        engine.submit(Request { banned_ids, ..request(prompt(1, 9), 200) }).unwrap();
        let mut events = Vec::new();
        while engine.step(&mut events) == Progress::Running {
            engine.rows.pretend_that_a_guess_costs(0.9);
        }
        engine.stats().drafted_tokens
    };
    assert!(tries((1..VOCAB as u32).collect()) > 50, "a text of one token");
    assert_eq!(tries(Vec::new()), 0, "a text at random");
}

#[test]
fn what_the_engine_does_is_counted() {
    let options = Options { together: 2, prefix_bytes: 10_000, ..options() };
    let mut engine = Engine::new(Fake::new(), Options { cache_bytes: 10_000, ..options });
    let mut events = Vec::new();
    for (len, max) in [(4, 20), (64, 5), (64, 1)] {
        engine.submit(request(prompt(1, len), max)).unwrap();
    }
    for _ in 0..3 {
        engine.step(&mut events);
    }
    let Stats { waiting_requests, reading_requests, running_responses, promised_bytes, .. } = engine.stats();
    assert_eq!((waiting_requests, reading_requests, running_responses), (1, 1, 1));
    assert_eq!(promised_bytes, BYTES * (4 + 19 + 64 + 4));
    while engine.step(&mut events) == Progress::Running {}
    let reused: usize =
        events.iter().map(|event| if let Event::Started { reused, .. } = event { *reused } else { 0 }).sum();
    let stats = engine.stats();
    assert!(reused > 0 && stats.prefix_bytes > 0, "{stats:?}");
    let want = Stats {
        cache_bytes: 10_000,
        prefix_bytes: stats.prefix_bytes,
        prompt_tokens: (4 + 64 + 64 - reused) as u64,
        reused_tokens: reused as u64,
        response_tokens: 20 + 5 + 1,
        steps: stats.steps,
        ..Stats::default()
    };
    assert_eq!(stats, want);
}
