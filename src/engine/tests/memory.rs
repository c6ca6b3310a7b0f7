//! Tests of the cache budget, and of prompts that begin alike.

use super::fake::{BYTES, Fake, expected};
use super::*;
use crate::engine::model::LanguageModel as _;

/// Answers a request, and returns how many of its prompt's tokens were taken over.
fn reused(engine: &mut Engine<Fake>, request: &Request) -> usize {
    let id = engine.submit(request.clone()).unwrap();
    let mut events = Vec::new();
    while engine.step(&mut events) == Progress::Running {}
    let reused = events
        .iter()
        .find_map(|event| if let Event::Started { reused, .. } = event { Some(*reused) } else { None });
    let mut answers = Answers::default();
    answers.take(events);
    for sequence in 0..request.sequences {
        let want = expected(request, sequence as u64, &ends(request.prompt.len()));
        assert_eq!(answers.of(id, sequence), want, "the text of a prompt that was read anew");
    }
    reused.unwrap()
}

fn with_prefixes() -> Options {
    Options { prefix_bytes: 1 << 20, ..options() }
}

#[test]
fn requests_wait_until_the_memory_that_they_may_need_is_free() {
    for cache_bytes in [300, 450, 600, 100_000] {
        let fake = Fake::new();
        let mut engine = Engine::new(fake.clone(), Options { cache_bytes, ..options() });
        let requests: Vec<Request> =
            (0..6).map(|i| Request { sequences: 1 + i % 2, ..request(prompt(i as u32, 6), 10) }).collect();
        let ids: Vec<Id> = requests.iter().map(|request| engine.submit(request.clone()).unwrap()).collect();
        let answers = run(&mut engine);
        for (id, request) in ids.into_iter().zip(&requests) {
            assert_eq!(answers.of(id, 0), expected(request, 0, &ends(6)));
        }
        assert!(fake.peak_bytes() <= cache_bytes, "{} of {cache_bytes}", fake.peak_bytes());
        // The memory is used: from 300 bytes on, two responses run at a time.
        assert!(fake.peak_bytes() > 150, "{} of {cache_bytes}", fake.peak_bytes());
    }
}

#[test]
fn memory_comes_back_however_a_response_ends() {
    let fake = Fake::new();
    let mut engine = Engine::new(fake.clone(), Options { cache_bytes: 400, ..options() });
    let whole = Request { sequences: 2, ..request(prompt(1, 11), 10) };
    for round in 0..5 {
        let id = engine.submit(whole.clone()).unwrap();
        let mut events = Vec::new();
        engine.step(&mut events);
        match round {
            0 => engine.cancel(id),
            1 => engine.cancel_sequence(id, 1),
            2 => {
                let mut poisoned = whole.clone();
                poisoned.prompt[10] = super::fake::POISON;
                engine.cancel(id);
                engine.submit(poisoned).unwrap();
            }
            3 => {
                engine.cancel(id);
                engine.submit(Request { banned_ids: (0..30).collect(), ..whole.clone() }).unwrap();
            }
            _ => {}
        }
        run(&mut engine);
    }
    let id = engine.submit(whole.clone()).unwrap();
    assert_eq!(run(&mut engine).of(id, 1), expected(&whole, 1, &ends(11)));
}

#[test]
fn memory_comes_back_from_a_prompt_that_was_being_read() {
    let long = Request { sequences: 2, ..request(prompt(1, 60), 10) };
    let cancels: [fn(&mut Engine<Fake>, Id); 2] =
        [|engine, id| engine.cancel(id), |engine, id| engine.cancel_sequence(id, 1)];
    for cancel in cancels {
        // Memory for exactly one such request at a time.
        let cache_bytes = 2 * Fake::new().cache_bytes(60 + 9);
        let mut engine = Engine::new(Fake::new(), Options { cache_bytes, ..options() });
        let first = engine.submit(long.clone()).unwrap();
        let mut events = Vec::new();
        engine.step(&mut events);
        assert!(events.is_empty(), "the prompt has more slices");
        cancel(&mut engine, first);
        let next = engine.submit(long.clone()).unwrap();
        for _ in 0..200 {
            engine.step(&mut events);
        }
        let mut answers = Answers::default();
        answers.take(events);
        assert_eq!(answers.of(next, 1), expected(&long, 1, &ends(60)));
    }
}

#[test]
fn a_prompt_that_begins_like_an_earlier_one_is_read_from_where_they_part() {
    let mut engine = Engine::new(Fake::new(), with_prefixes());
    let first = request(prompt(1, 60), 10);
    assert_eq!(reused(&mut engine, &first), 0);
    // The time must not reveal to one tenant what another has asked.
    assert_eq!(reused(&mut engine, &Request { tenant: 1, ..first.clone() }), 0);
    // The same prompt again takes over as many slices as leave something to read.
    assert_eq!(reused(&mut engine, &first), 40);
    let mut second = first.clone();
    second.prompt[30] += 1;
    assert_eq!(reused(&mut engine, &Request { sequences: 2, ..second }), 24);
    let other = request(prompt(2, 60), 10);
    assert_eq!(reused(&mut engine, &other), 0);
}

#[test]
fn positions_that_were_not_read_as_a_prompt_are_not_taken_over() {
    let mut engine = Engine::new(Fake::new(), with_prefixes());
    let first = request(prompt(1, 60), 30);
    reused(&mut engine, &first);
    // The next turn of a conversation: the prompt, the answer and something more.
    let (answer, _) = expected(&first, 0, &ends(60));
    let next = request([first.prompt, answer, prompt(3, 20)].concat(), 10);
    assert_eq!(reused(&mut engine, &next), 40);
}

#[test]
fn a_cache_that_cannot_go_back_is_not_taken_over() {
    let mut engine = Engine::new(Fake { window: 50, ..Fake::new() }, with_prefixes());
    let (long, short) = (request(prompt(1, 60), 5), request(prompt(1, 45), 5));
    assert_eq!([&long, &long, &short].map(|request| reused(&mut engine, request)), [0, 0, 0]);
    // The shorter prompt has lost nothing, so it serves the longer one too.
    assert_eq!([&short, &long].map(|request| reused(&mut engine, request)), [24, 24]);
}

#[test]
fn the_prefix_that_was_used_longest_ago_is_given_up_first() {
    // Room for two prompts.
    let mut engine = Engine::new(Fake::new(), Options { prefix_bytes: 130 * BYTES, ..options() });
    let [a, b, c] = [1, 2, 3].map(|start| request(prompt(start, 60), 3));
    assert_eq!([&a, &b, &a, &c].map(|request| reused(&mut engine, request)), [0, 0, 40, 0]);
    assert_eq!([&a, &c, &b].map(|request| reused(&mut engine, request)), [40, 40, 0]);
    // Serving another prompt counts as a use; here it is a use of the older of the two kept
    // prompts.
    let like_c = request(c.prompt[..45].to_vec(), 3);
    assert_eq!([&like_c, &c].map(|request| reused(&mut engine, request)), [24, 40]);
}

#[test]
fn prefixes_are_given_back_when_requests_need_the_memory() {
    let fake = Fake::new();
    let cache_bytes = 150 * BYTES;
    let mut engine =
        Engine::new(fake.clone(), Options { cache_bytes, prefix_bytes: usize::MAX, ..options() });
    let small = request(prompt(1, 60), 10);
    assert_eq!([&small, &small].map(|request| reused(&mut engine, request)), [0, 40]);
    // Two prefixes and a response to one of them would be too much.
    assert_eq!(reused(&mut engine, &request(prompt(3, 60), 10)), 0);
    assert!(fake.peak_bytes() <= cache_bytes, "{}", fake.peak_bytes());
    let large = request(prompt(2, 100), 40);
    assert_eq!(reused(&mut engine, &large), 0);
    assert_eq!(reused(&mut engine, &small), 0);
    assert!(fake.peak_bytes() <= cache_bytes, "{}", fake.peak_bytes());
}
