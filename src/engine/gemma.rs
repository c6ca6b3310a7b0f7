//! [`Gemma`] as the engine's model.

use super::model::{Feed, LanguageModel};
use crate::logits::LogitRows;
use crate::model::{Cache, Error, Gemma, RawLogits, TAKE_BACK};

impl LanguageModel for Gemma {
    type Cache = Cache;
    type Error = Error;

    fn vocab(&self) -> usize {
        self.config().vocab
    }

    fn context(&self) -> usize {
        self.config().max_position
    }

    fn most_drafts(&self) -> usize {
        if self.takes_several() { TAKE_BACK / 2 } else { 0 }
    }

    fn cache_bytes(&self, positions: usize) -> usize {
        self.cache_bytes(positions)
    }

    fn new_cache(&self) -> Cache {
        self.new_cache(1)
    }

    fn len(&self, cache: &Cache) -> usize {
        cache.len()
    }

    fn fork(&self, cache: &Cache, len: usize) -> Result<Option<Cache>, Error> {
        cache.fork_at(len)
    }

    fn truncate(&self, cache: &mut Cache, len: usize) -> Result<bool, Error> {
        cache.truncate(len)
    }

    fn feed<T>(
        &self,
        batch: &mut [Feed<'_, Cache>],
        read: impl FnOnce(LogitRows<'_>) -> T,
    ) -> Result<T, Error> {
        // The first position of a sequence is read as a prompt.
        let is_step = |feed: &Feed<'_, Cache>| feed.logits == feed.ids.len() && !feed.cache.is_empty();
        if batch.iter().all(is_step) {
            let tokens: Vec<&[u32]> = batch.iter().map(|feed| feed.ids).collect();
            let mut caches: Vec<&mut Cache> = batch.iter_mut().map(|feed| &mut *feed.cache).collect();
            return self.steps(&tokens, &mut caches)?.read(|rows| Ok(read(rows)));
        }
        let mut logits = Vec::new();
        for Feed { cache, ids, logits: wanted } in batch {
            logits.extend(self.read(ids, cache, *wanted)?);
        }
        match RawLogits::cat(logits)? {
            Some(logits) => logits.read(|rows| Ok(read(rows))),
            None => Ok(read(LogitRows::new(&[], self.vocab(), None))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use wmdetect::scheme::{Key, Watermark};

    use crate::engine::{Draft, Engine, Event, Next, Options, Progress, Request, Sequence, Stats};
    use crate::kernels::Format;
    use crate::model::{CHUNK, random};
    use crate::sample::{Sampler, Sampling};

    /// Writes a text by definition: the prompt in one call, then one token a step, with nothing else running.
    fn alone(model: &Gemma, request: &Request, number: u64) -> Vec<u32> {
        let mut sequence = Sequence::new(Arc::new(request.clone()), number);
        let (mut cache, mut sampler) = (model.new_cache(1), Sampler::default());
        let mut logits = model.forward_raw(&[&request.prompt], &mut cache).unwrap();
        loop {
            let next = logits.read(|rows| Ok::<_, Error>(sequence.next(&mut sampler, rows.row(0)).unwrap()));
            let Next::Token(token) = next.unwrap() else { return sequence.tokens().to_vec() };
            logits = model.step(&[token.id], &mut [&mut cache]).unwrap();
        }
    }

    /// Checks that a single-token prompt is read as a prompt, whose products round differently from those of a step.
    #[test]
    fn a_first_token_is_read_as_a_prompt() {
        let model = random::model(random::config(), Format::Q8_0);
        for id in 0..20 {
            let want = model.forward(&[[id]], &mut model.new_cache(1)).unwrap().to_vec2::<f32>().unwrap();
            let mut cache = model.new_cache(1);
            let mut batch = [Feed { cache: &mut cache, ids: &[id], logits: 1 }];
            let cap = model.config().final_softcap.unwrap() as f32;
            let equal = LanguageModel::feed(&model, &mut batch, |rows| {
                let capped = rows.row(0).uncapped().iter().map(|x| crate::kernels::SoftCap(cap).of(*x));
                capped.eq(want[0].iter().copied())
            });
            assert!(equal.unwrap(), "token {id}");
        }
    }

    /// Tries prompts of one token, which take a separate path, and of one and two chunks; the last chunk has a single token.
    #[test]
    fn texts_are_those_that_the_model_writes_alone() {
        let options = |slice, prefix_bytes| Options { slice, prefix_bytes, ..Options::default() };
        let requests =
            [(1, 1), (100, 2), (300, 1), (CHUNK as u32 + 1, 1), (100, 1)].map(|(len, sequences)| {
                let prompt = (0..len).map(|i| (5 + i * 37) % 2048).collect();
                let sampling = Sampling { seed: u64::from(len), ..Sampling::default() };
                Request { sequences, max_tokens: 40, sampling, ..Request::new(prompt) }
            });
        let packed = random::model(random::config(), Format::Q8_0);
        for (model, slice) in [(packed.unrounded(), CHUNK), (packed.clone(), CHUNK), (packed, 64)] {
            let tiles = matches!(crate::kernels::Activations::new(), crate::kernels::Activations::Tiles(_));
            if tiles && slice != CHUNK {
                continue; // The sums of a matrix unit depend on the slices.
            }
            let want: Vec<Vec<u32>> = requests
                .iter()
                .flat_map(|request| (0..request.sequences as u64).map(|n| alone(&model, request, n)))
                .collect();
            let mut engine = Engine::new(model, options(slice, 1 << 30));
            let ids = requests.each_ref().map(|request| engine.submit(request.clone()).unwrap());
            let mut events = Vec::new();
            while engine.step(&mut events) == Progress::Running {}
            let mut texts = vec![Vec::new(); want.len()];
            // Index of each request's first text.
            let firsts = [0, 1, 3, 4, 5];
            for event in events {
                if let Event::Token { id, sequence, token } = event {
                    let request = ids.iter().position(|other| *other == id).unwrap();
                    texts[firsts[request] + sequence].push(token.id);
                }
            }
            assert_eq!(texts, want, "slices of {slice}");
        }
    }

    /// Tries right and wrong guesses, across the ring of the local layers, together and alone, marked and unmarked. The guesses
    /// come from the text and from the same model in another format.
    #[test]
    fn a_text_is_the_same_with_drafts() {
        let mark = Watermark::new(Key::from_bytes(&[7; 32], "a test").unwrap().prf());
        for (format, of_draft) in
            [(Format::Q8_0, Format::Q4K), (Format::Q4K, Format::BF16), (Format::BF16, Format::Q8_0)]
        {
            let model = random::model(random::config(), format);
            if !model.takes_several() {
                return; // This processor has no kernels for panels.
            }
            let requests: Vec<Request> = (0..12_u32)
                .map(|i| {
                    // A random model falls into loops if it has little choice.
                    let temperature = [0.0, 0.05, 0.3][i as usize % 3];
                    let watermark = (temperature > 0.0 && i % 2 == 1).then(|| mark.clone());
                    let sampling = Sampling { temperature, seed: u64::from(i), ..Sampling::default() };
                    let prompt = (0..=13 * i).map(|k| (5 + k % 17 * 37) % 2048).collect();
                    Request { max_tokens: 90, sampling, watermark, ..Request::new(prompt) }
                })
                .collect();
            for together in [1, 5] {
                let run = |draft, draft_tokens| {
                    let options = Options { together, slice: CHUNK, draft_tokens, ..Options::default() };
                    texts_and_stats(&model, draft, options, &requests)
                };
                let (want, _) = run(Draft::None, 0);
                let small = random::model(random::config(), of_draft);
                for (most, draft) in [(1, Draft::Prompt), (8, Draft::Prompt), (8, Draft::Model(small))] {
                    let (found, stats) = run(draft, most);
                    assert_eq!(found, want, "{}, {together} together, drafts of {most}", format.name());
                    let Stats { drafted_tokens, accepted_tokens, .. } = stats;
                    assert!(accepted_tokens > 20 && drafted_tokens > accepted_tokens, "{stats:?}");
                }
            }
        }
    }

    /// Returns the texts of requests that run in one engine, `together` at a time.
    fn texts(model: &Gemma, slice: usize, together: usize, requests: &[Request]) -> Vec<Vec<u32>> {
        texts_and_stats(model, Draft::None, Options { together, slice, ..Options::default() }, requests).0
    }

    fn texts_and_stats(
        model: &Gemma,
        draft: Draft<Gemma>,
        options: Options,
        requests: &[Request],
    ) -> (Vec<Vec<u32>>, Stats) {
        let mut engine = Engine::with_draft(model.clone(), draft, options);
        let ids: Vec<_> = requests.iter().map(|request| engine.submit(request.clone()).unwrap()).collect();
        let mut events = Vec::new();
        while engine.step(&mut events) == Progress::Running {
            engine.rows.pretend_that_a_guess_costs(0.0);
        }
        let mut texts = vec![Vec::new(); ids.len()];
        for event in events {
            if let Event::Token { id, token, .. } = event {
                texts[ids.iter().position(|other| *other == id).unwrap()].push(token.id);
            }
        }
        (texts, engine.stats())
    }

    /// Tries every format, with widths that have panels and with widths that have none. Between 1 and 9 texts run at a time:
    /// prompts of few tokens and of several slices are read while others grow, and texts end at different lengths.
    #[test]
    fn a_text_is_the_same_beside_any_number_of_others() {
        let narrow = || {
            let (hidden, head_dim, intermediate) = (96, 32, 160);
            crate::model::Config { hidden, head_dim, intermediate, ..random::config() }
        };
        let requests: Vec<Request> = [3_u32, 300, 12, 90, 1, 7, 150, 20, 64]
            .into_iter()
            .zip(5..)
            .map(|(len, max_tokens)| {
                let prompt = (0..len).map(|i| (5 + i * 37) % 2048).collect();
                let sampling = Sampling { seed: u64::from(len), ..Sampling::default() };
                Request { max_tokens, sampling, ..Request::new(prompt) }
            })
            .collect();
        for (format, config) in
            Format::ALL.into_iter().flat_map(|format| [(format, random::config()), (format, narrow())])
        {
            if !config.hidden.is_multiple_of(format.block_len()) {
                continue;
            }
            let model = random::model(config, format);
            for slice in [64, CHUNK] {
                let alone: Vec<Vec<u32>> = requests
                    .iter()
                    .flat_map(|one| texts(&model, slice, 1, std::slice::from_ref(one)))
                    .collect();
                let found = texts(&model, slice, requests.len(), &requests);
                let (name, hidden) = (format.name(), model.config().hidden);
                assert_eq!(found, alone, "{name}, width {hidden}, slices of {slice}");
            }
        }
    }
}
