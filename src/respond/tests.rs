//! Tests with a model that recites and, where the mark matters, with a tiny random Gemma.

use std::path::Path;
use std::sync::Arc;

use wmdetect::scheme::{Key, Preset, Secret};
use wmdetect::text::Tokenizer;
use wmdetect::verdict::Verdict;

use super::*;
use crate::engine::{self, Engine, Feed, LanguageModel, worker};
use crate::logits::LogitRows;
use crate::model::{Gemma, LoadOptions};
use crate::sample::{SampleError, Sampling};
use crate::text::{Prompt, SpecialTokens};
use crate::verify::{Input, Origin, Verifier};

const VOCAB: usize = 512;
const EOS: u32 = 1;
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny-gemma2");
/// Token that the reciter cannot produce.
const BROKEN: u32 = u32::MAX;

fn tokenizer() -> Arc<Tokenizer> {
    Arc::new(Tokenizer::open(MODEL).unwrap())
}

/// Continues each prompt that it knows in one way.
#[derive(Clone)]
struct Reciter(Arc<Vec<(Vec<u32>, Vec<u32>)>>);

impl Reciter {
    /// Makes a model that knows texts by their prompts; `{` in a text makes it fail there.
    fn new(tokenizer: &Tokenizer, texts: &[(&str, &str)]) -> Self {
        let ids = |text: &str| tokenizer.encode(text).unwrap().ids;
        let entry = |(prompt, text): &(&str, &str)| {
            let prompt = Prompt::Text((*prompt).to_owned()).ids(tokenizer).unwrap();
            let mut answer = ids(text.split('{').next().unwrap());
            answer.push(if text.contains('{') { BROKEN } else { EOS });
            (prompt, answer)
        };
        Self(Arc::new(texts.iter().map(entry).collect()))
    }

    fn next(&self, ids: &[u32]) -> u32 {
        let known = self.0.iter().find_map(|(prompt, answer)| {
            ids.strip_prefix(&prompt[..])
                .filter(|said| answer.starts_with(said))
                .map(|said| answer[said.len()])
        });
        known.expect("only what it knows is asked for")
    }
}

impl LanguageModel for Reciter {
    type Cache = Vec<u32>;
    type Error = SampleError;

    fn vocab(&self) -> usize {
        VOCAB
    }

    fn context(&self) -> usize {
        1000
    }

    fn cache_bytes(&self, positions: usize) -> usize {
        positions
    }

    fn new_cache(&self) -> Vec<u32> {
        Vec::new()
    }

    fn len(&self, cache: &Vec<u32>) -> usize {
        cache.len()
    }

    fn fork(&self, cache: &Vec<u32>, len: usize) -> Result<Option<Vec<u32>>, SampleError> {
        Ok(Some(cache[..len].to_vec()))
    }

    fn truncate(&self, cache: &mut Vec<u32>, len: usize) -> Result<bool, SampleError> {
        cache.truncate(len);
        Ok(true)
    }

    fn feed<T>(
        &self,
        batch: &mut [Feed<'_, Vec<u32>>],
        read: impl FnOnce(LogitRows<'_>) -> T,
    ) -> Result<T, SampleError> {
        let mut rows = Vec::new();
        for Feed { cache, ids, logits } in batch {
            cache.extend_from_slice(ids);
            for len in cache.len() - *logits + 1..=cache.len() {
                let mut row = vec![0.0; VOCAB];
                match self.next(&cache[..len]) {
                    BROKEN => row[7] = f32::NAN,
                    id => row[id as usize] = 1.0,
                }
                rows.extend(row);
            }
        }
        Ok(read(LogitRows::new(&rows, VOCAB, None)))
    }
}

fn info(tokenizer: &Arc<Tokenizer>) -> ModelInfo {
    ModelInfo {
        tokenizer: Arc::clone(tokenizer),
        special: SpecialTokens { stops: vec![EOS], never: vec![] },
        context: 1000,
        receipt: ModelReceipt {
            name: "reciter".into(),
            fingerprint: None,
            dtype: "f32".into(),
            softcap: false,
        },
    }
}

fn responder(texts: &[(&str, &str)]) -> Responder<Reciter> {
    let tokenizer = tokenizer();
    let engine = Engine::new(Reciter::new(&tokenizer, texts), engine::Options::default());
    Responder::new(engine, info(&tokenizer))
}

fn greedy() -> Options {
    Options { sampling: Sampling { temperature: 0.0, ..Sampling::default() }, ..Options::default() }
}

fn prompt(text: &str) -> Prompt {
    Prompt::Text(text.to_owned())
}

fn finished(event: Event) -> Vec<Receipt> {
    match event {
        Event::Finished(receipts) => receipts,
        event => panic!("expected the end of a prompt, found {event:?}"),
    }
}

#[test]
fn pieces_are_the_text_and_prompts_end_in_their_order() {
    let texts = [("a", " long story of é😀 and the sea"), ("b", " end"), ("c", "")];
    let mut responder = responder(&texts);
    let ids = texts.map(|(name, _)| responder.submit(&prompt(name), &greedy()).unwrap());
    let (mut said, mut last) = ([const { String::new() }; 3], [None; 3]);
    let mut ends = Vec::new();
    for (id, event) in responder {
        let place = ids.iter().position(|other| *other == id).unwrap();
        match event {
            Event::Piece(piece) => {
                assert_eq!((piece.sequence, last[place]), (0, None), "nothing follows the last piece");
                said[place] += &piece.text;
                last[place] = piece.finished;
            }
            end => ends.push((place, finished(end))),
        }
    }
    assert_eq!(ends.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [0, 1, 2]);
    for ((place, receipts), (_, text)) in ends.iter().zip(texts) {
        assert_eq!((&*said[*place], &*receipts[0].text), (text, text));
        assert_eq!(last[*place], Some(FinishReason::Stop));
        assert_eq!(receipts[0].finish_reason, Some(FinishReason::Stop));
        assert_eq!(tokenizer().decode(&receipts[0].tokens), text);
    }
}

#[test]
fn a_stop_string_across_pieces_ends_its_text() {
    let mut responder = responder(&[("a", "one ENDLESS sea")]);
    let options = Options { stop: vec!["NDLE".into()], n: 2, ..greedy() };
    responder.submit(&prompt("a"), &options).unwrap();
    let (mut said, mut pieces, mut receipts) = (String::new(), 0, Vec::new());
    for (_, event) in responder {
        match event {
            Event::Piece(piece) if piece.sequence == 1 => {
                said += &piece.text;
                pieces += 1;
                if piece.finished.is_some() {
                    assert_eq!(piece.finished, Some(FinishReason::Stop));
                    assert!(piece.token.is_some(), "the text ends with the token that completes the string");
                }
            }
            Event::Piece(_) => {}
            end => receipts = finished(end),
        }
    }
    assert_eq!((&*said, &*receipts[1].text), ("one E", "one E"));
    assert!(receipts.len() == 2 && pieces >= receipts[1].tokens.len());
    let tokens = &receipts[1].tokens;
    let [spelled, before] = [tokens.len(), tokens.len() - 1].map(|len| tokenizer().decode(&tokens[..len]));
    assert!(spelled.starts_with("one E") && before.len() < "one E".len(), "{spelled:?}, {before:?}");
}

#[test]
fn an_end_that_is_ignored_is_not_drawn() {
    let tokens = tokenizer().encode(" end").unwrap().ids;
    let mut responder = responder(&[("a", " end")]);
    let options = Options {
        ignore_stops: true,
        max_tokens: tokens.len() + 1,
        unmarked_because: Some("greedy".into()),
        request_id: Some("r-1".into()),
        ..greedy()
    };
    responder.submit(&prompt("a"), &options).unwrap();
    let receipt = finished(responder.map(|(_, event)| event).last().unwrap()).remove(0);
    assert_eq!(receipt.finish_reason, Some(FinishReason::Length));
    assert!(receipt.tokens.starts_with(&tokens) && receipt.tokens.last() != Some(&EOS), "{receipt:?}");
    assert_eq!(
        (receipt.watermark.reason, receipt.request_id),
        (options.unmarked_because, options.request_id)
    );
}

#[test]
fn a_receipt_whose_text_was_changed_contradicts_itself() {
    let mut responder = responder(&[("a", "one ENDLESS sea")]);
    responder.submit(&prompt("a"), &greedy()).unwrap();
    let whole = finished(responder.by_ref().map(|(_, event)| event).last().unwrap()).remove(0);
    let tokenizer = tokenizer();
    let with_text = |text: &str| Receipt { text: text.to_owned(), ..whole.clone() };
    assert_eq!(whole.tokens_of_text(&tokenizer).unwrap(), whole.tokens);
    assert_eq!(with_text("").tokens_of_text(&tokenizer).unwrap(), whole.tokens);
    let cut = with_text("one E");
    let spelled = tokenizer.decode(cut.tokens_of_text(&tokenizer).unwrap());
    assert!(spelled.starts_with("one E") && spelled.len() < whole.text.len(), "{spelled:?}");
    for (text, at) in [("one endless sea", 4), ("one ENDLESS sea!", 15)] {
        let refused = with_text(text).tokens_of_text(&tokenizer).map(<[u32]>::to_vec);
        assert!(matches!(refused, Err(ReceiptError::Text { at: found }) if found == at), "{refused:?}");
    }
}

#[test]
fn a_prompt_that_fails_ends_alone_and_in_its_place() {
    let mut responder = responder(&[("a", " the sea"), ("b", " the{"), ("c", "")]);
    assert!(matches!(
        responder.submit(&Prompt::Tokens(vec![]), &greedy()),
        Err(RespondError::Request(RequestError::EmptyPrompt))
    ));
    let ids =
        ["a", "b", "c"].map(|name| responder.submit(&prompt(name), &Options { n: 2, ..greedy() }).unwrap());
    let ends: Vec<(engine::Id, Event)> =
        responder.filter(|(_, event)| !matches!(event, Event::Piece(_))).collect();
    assert_eq!(ends.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids);
    assert!(matches!(
        ends[1].1,
        Event::Failed(RespondError::Failed(Failure::Sample(SampleError::Nan { token: 7 })))
    ));
    let texts = [0, 2].map(|place| match &ends[place].1 {
        Event::Finished(receipts) => receipts.iter().map(|receipt| &*receipt.text).collect::<Vec<_>>(),
        event => panic!("{event:?}"),
    });
    assert_eq!(texts, [[" the sea"; 2], [""; 2]]);
}

#[test]
fn a_cancelled_prompt_is_silent_and_holds_up_no_other() {
    let mut responder = responder(&[("a", " long story of the sea"), ("b", " end")]);
    let [a, b] = ["a", "b"].map(|name| responder.submit(&prompt(name), &greedy()).unwrap());
    let mut ends = Vec::new();
    while let Some((id, event)) = responder.next() {
        let is_end = matches!(&event, Event::Piece(Piece { finished: Some(_), .. }));
        if (id, is_end) == (b, true) {
            responder.cancel(a);
        }
        if let Event::Finished(_) = event {
            ends.push(id);
        }
    }
    assert_eq!(ends, [b]);
}

#[test]
fn to_stop_ends_what_has_begun_and_drops_the_rest() {
    let tokenizer = tokenizer();
    let reciter = Reciter::new(&tokenizer, &[("a", " long story"), ("b", " of the sea")]);
    let engine = Engine::new(reciter, engine::Options { together: 1, ..engine::Options::default() });
    let mut responder = Responder::new(engine, info(&tokenizer));
    let a = responder.submit(&prompt("a"), &greedy()).unwrap();
    responder.submit(&prompt("b"), &greedy()).unwrap();
    assert!(matches!(responder.next(), Some((id, Event::Piece(_))) if id == a));
    responder.stop();
    let mut rest: Vec<(engine::Id, Event)> = responder.by_ref().collect();
    let (id, end) = rest.pop().unwrap();
    let receipts = finished(end);
    assert_eq!((id, receipts[0].finish_reason), (a, Some(FinishReason::Interrupted)));
    assert!(!receipts[0].tokens.is_empty() && rest.iter().all(|(id, _)| *id == a));
    assert!(responder.submit(&prompt("b"), &greedy()).is_err());
}

#[test]
fn a_client_gets_what_a_responder_gives() {
    let texts = [("a", " long story of the sea"), ("b", " the{")];
    let tokenizer = tokenizer();
    let (handle, thread) =
        worker::spawn(Reciter::new(&tokenizer, &texts), engine::Options::default(), Some(1)).unwrap();
    let client = Client::new(handle.clone(), info(&tokenizer));
    let options = Options { stop: vec!["sea".into()], ..greedy() };
    let shown = |event: Event| match event {
        Event::Finished(receipts) => format!("{:?}", receipts[0].text),
        event => format!("{event:?}"),
    };
    let mut here = responder(&texts);
    for (name, _) in texts {
        here.submit(&prompt(name), &options).unwrap();
        let there: Vec<String> = client.submit(&prompt(name), &options).unwrap().map(shown).collect();
        assert_eq!(there, here.by_ref().map(|(_, event)| shown(event)).collect::<Vec<_>>());
    }
    handle.drain();
    assert!(matches!(
        client.submit(&prompt("a"), &options).err(),
        Some(RespondError::Request(RequestError::Draining))
    ));
    thread.join().unwrap();
}

#[test]
fn receipts_of_an_interrupted_prompt_are_whole_and_one_that_never_began_has_none() {
    let tokenizer = tokenizer();
    let reciter = Reciter::new(&tokenizer, &[("a", " long story of the sea")]);
    let (handle, _thread) = worker::spawn(reciter, engine::Options::default(), Some(1)).unwrap();
    let client = Client::new(handle, info(&tokenizer));
    // The text is held back from the beginning of the stop string on.
    let options = Options { n: 2, stop: vec!["long story of the lake".into()], ..greedy() };
    let (sender, events) = std::sync::mpsc::channel();
    let submit = || {
        let sender = sender.clone();
        client.submit_to(&prompt("a"), &options, move |event| drop(sender.send(event))).unwrap()
    };
    let mut exchange = submit();
    let (mut tokens, mut last) = (0, None);
    while tokens < 6 {
        let event = events.recv().unwrap();
        if let engine::Event::Token { id, .. } = event {
            (tokens, last) = (tokens + 1, Some(id));
        }
        assert!(exchange.take(event).all(|event| matches!(event, Event::Piece(_))));
    }
    let receipts = exchange.interrupt().unwrap();
    assert_eq!(receipts.len(), 2);
    for receipt in &receipts {
        assert_eq!(receipt.finish_reason, Some(FinishReason::Interrupted));
        assert_eq!(receipt.tokens_of_text(&tokenizer).unwrap(), receipt.tokens);
    }
    assert!(receipts.iter().all(|receipt| receipt.text.starts_with(" long")), "{receipts:?}");

    let mut waiting = submit();
    let id = last.unwrap();
    let stopped = |sequence| engine::Event::Finished { id, sequence, reason: FinishReason::Interrupted };
    let ends: Vec<Event> = [0, 1].into_iter().flat_map(|sequence| waiting.take(stopped(sequence))).collect();
    assert!(matches!(ends.last(), Some(Event::Failed(RespondError::Stopped))), "{ends:?}");
}

#[test]
fn an_engine_that_panics_fails_the_prompt_and_refuses_the_next() {
    let tokenizer = tokenizer();
    let (handle, _thread) =
        worker::spawn(Reciter::new(&tokenizer, &[]), engine::Options::default(), Some(1)).unwrap();
    let client = Client::new(handle, info(&tokenizer));
    let events: Vec<Event> = client.submit(&prompt("unknown"), &greedy()).unwrap().collect();
    assert!(matches!(events[..], [Event::Failed(RespondError::Stopped)]), "{events:?}");
    let ids = client.info().prompt_ids(&prompt("unknown")).unwrap();
    assert!(matches!(client.submit(&Prompt::Tokens(ids), &greedy()).err(), Some(RespondError::Stopped)));
}

/// The receipt says what was done, so a verifier that reads it counts the same tokens.
#[test]
fn a_verifier_counts_the_tokens_that_the_receipt_says_are_marked() {
    let model = Gemma::load(Path::new(MODEL), LoadOptions::default()).unwrap();
    let tokenizer = tokenizer();
    let key = Key::from_bytes(&[1; 32], "a fixed key").unwrap();
    let info = ModelInfo::new(&model, "tiny", Arc::clone(&tokenizer));
    let mut responder = Responder::new(Engine::new(model.clone(), engine::Options::default()), info);
    let verifier =
        Verifier::new(&model, "tiny", &tokenizer, [&key], crate::verify::Options::default()).unwrap();
    let plain = Sampling { seed: 5, ..Sampling::default() };
    let penalties = Sampling { frequency_penalty: 2.0, presence_penalty: 1.0, min_p: 0.2, ..plain };
    for sampling in [plain, penalties] {
        let mark = Some(KeyMark::new(&key).unwrap());
        let options = Options { max_tokens: 60, sampling, mark, ..Options::default() };
        responder.submit(&prompt("the sea"), &options).unwrap();
        let receipt = finished(responder.by_ref().map(|(_, event)| event).last().unwrap()).remove(0);
        let receipt = Receipt::parse(&serde_json::to_string(&receipt).unwrap()).unwrap();
        assert!(receipt.watermark.applied && receipt.tokens.len() > 20, "{receipt:?}");
        assert_eq!((&receipt.watermark.key_id, receipt.sampling), (&Some(key.id()), sampling));

        let read_with = |sampling| {
            let origin = Origin::of_receipt(&Receipt { sampling, ..receipt.clone() });
            verifier.verify(Input::Tokens(&receipt.tokens), &origin).unwrap()
        };
        let report = read_with(sampling);
        assert_eq!(report.scored_tokens, receipt.watermark.marked_tokens as u64);
        assert_eq!((report.verdict, &report.warnings[..]), (Verdict::Watermarked, &[][..]), "{report:?}");
        // Reading with other settings than those of the draws costs evidence.
        let others = [Sampling { frequency_penalty: 0.0, ..sampling }, Sampling { min_p: 0.0, ..sampling }];
        for other in others.into_iter().filter(|other| *other != sampling) {
            assert!(read_with(other).ln_e < report.ln_e, "{other:?}");
        }
    }
}

/// Each text has its own channel, which its receipt names. With it, the verifier tries no other channel; without it,
/// all of them.
#[test]
fn the_channel_of_a_receipt_spares_the_others() {
    let model = Gemma::load(Path::new(MODEL), LoadOptions::default()).unwrap();
    let tokenizer = tokenizer();
    let key = Key::new(Preset::Balanced, Secret::new(vec![1; 32].into())).unwrap();
    let info = ModelInfo::new(&model, "tiny", Arc::clone(&tokenizer));
    let mut responder = Responder::new(Engine::new(model.clone(), engine::Options::default()), info);
    let options = crate::verify::Options::default();
    let verifier = Verifier::new(&model, "tiny", &tokenizer, [&key], options).unwrap();
    let sampling = Sampling { seed: 6, ..Sampling::default() };
    let mark = Some(KeyMark::new(&key).unwrap());
    let options = Options { n: 6, max_tokens: 60, sampling, mark, ..Options::default() };
    responder.submit(&prompt("the sea"), &options).unwrap();
    let receipts = finished(responder.by_ref().map(|(_, event)| event).last().unwrap());
    let channels: Vec<u16> = receipts.iter().map(|receipt| receipt.watermark.channel.unwrap()).collect();
    assert!(channels.iter().any(|channel| *channel != channels[0]), "{channels:?}");
    for (receipt, channel) in receipts.iter().zip(channels) {
        assert_eq!(receipt.counted(&key).0, receipt.watermark.marked_tokens);
        // The first token has no context, and every other one has.
        assert!(
            receipt.watermark.marked_tokens + receipt.watermark.repeated_contexts == receipt.tokens.len() - 1
        );
        let of_receipt = Origin::of_receipt(receipt);
        let with = verifier.verify(Input::Tokens(&receipt.tokens), &of_receipt).unwrap();
        assert_eq!(
            (with.verdict, with.channel, with.channels_tried),
            (Verdict::Watermarked, Some(channel), None)
        );
        assert_eq!(with.scored_tokens, receipt.watermark.marked_tokens as u64);
        let given = Origin::given(receipt.prompt_tokens.clone(), receipt.sampling);
        let without = verifier.verify(Input::Tokens(&receipt.tokens), &given).unwrap();
        assert_eq!((without.channel, without.channels_tried), (Some(channel), Some(16)));
        let paid = without.log10_p - with.log10_p;
        assert!((paid - 16_f64.log10()).abs() < 1e-9, "{paid}");
    }
}
