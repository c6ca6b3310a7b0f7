//! Measures the runs at one depth.

use std::sync::Arc;
use std::time::Instant;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use wmdetect::scheme::{Key, PositionKind, Watermark};

use super::{BenchDecode, BenchDepth, BenchError, Settings, Spread};
use crate::engine::{Next, Request, Sequence};
use crate::model::{Cache, Gemma};
use crate::sample::Sampler;

pub(super) struct Bench<'a> {
    model: &'a Gemma,
    settings: &'a Settings,
    watermark: Watermark,
    sampler: Sampler,
    random: ChaCha12Rng,
}

/// Runs of one kind: some sequences decoded together.
#[derive(Default)]
struct Runs {
    /// Tokens per second of each run.
    plain: Vec<f64>,
    marked: Vec<f64>,
    /// Seconds of sampling for each token of the marked runs.
    sampling: Vec<f64>,
    /// Seconds of the mark for each marked position.
    mark: Vec<f64>,
}

impl Runs {
    fn report(&self, sequences: usize, bound: f64) -> BenchDecode {
        let (plain, marked) = (Spread::of(&self.plain), Spread::of(&self.marked));
        let mark = Spread::of(&self.mark).median;
        BenchDecode {
            sequences: sequences as u64,
            plain,
            marked,
            share_of_bound: plain.median / sequences as f64 / bound,
            sampling_microseconds: Spread::of(&self.sampling).median * 1e6,
            mark_microseconds: mark * 1e6,
            mark_share: mark * marked.median,
        }
    }
}

impl<'a> Bench<'a> {
    pub(super) fn new(model: &'a Gemma, settings: &'a Settings, key: &Key) -> Self {
        Self {
            model,
            settings,
            watermark: Watermark::new(key.prf()),
            sampler: Sampler::default(),
            random: ChaCha12Rng::seed_from_u64(settings.sampling.seed),
        }
    }

    /// Returns random tokens that a text could have.
    fn tokens(&mut self, count: usize) -> Vec<u32> {
        let vocab = self.model.config().vocab as u32;
        (0..count).map(|_| self.random.random_range(0..vocab)).collect()
    }

    /// Measures everything at one depth. The kinds of runs take turns, so that other activity of the machine affects
    /// all of them.
    pub(super) fn at(&mut self, depth: usize, bound: f64) -> Result<BenchDepth, BenchError> {
        let settings = self.settings;
        let mut before = self.model.new_cache(1);
        if depth > 0 {
            self.model.forward_raw(&[self.tokens(depth)], &mut before)?;
        }
        let mut prefill = Vec::new();
        let mut runs: Vec<(usize, Runs)> = settings.batch.iter().map(|n| (*n, Runs::default())).collect();
        for repetition in 0..=settings.repetitions {
            let mut cache = before.fork()?;
            let prompt = self.tokens(settings.prefill);
            let start = Instant::now();
            self.model.forward_raw(&[&prompt], &mut cache)?;
            let rate = prompt.len() as f64 / start.elapsed().as_secs_f64();
            if repetition > 0 {
                prefill.push(rate);
            }
            for (sequences, runs) in &mut runs {
                // The two take turns in coming first.
                let mut order = [false, true];
                order.rotate_left(repetition % 2);
                for with_mark in order {
                    let mut unused = Runs::default();
                    let runs = if repetition > 0 { &mut *runs } else { &mut unused };
                    self.decode(&before, *sequences, with_mark, runs)?;
                }
            }
        }
        let decode = runs.iter().map(|(sequences, runs)| runs.report(*sequences, bound)).collect();
        Ok(BenchDepth { depth: depth as u64, prefill: Spread::of(&prefill), decode })
    }

    /// Does what the engine does for a token of each of `count` sequences, `decode` times. All sequences begin where
    /// `before` ends.
    fn decode(
        &mut self,
        before: &Cache,
        count: usize,
        with_mark: bool,
        runs: &mut Runs,
    ) -> Result<(), BenchError> {
        let Settings { sampling, decode, .. } = self.settings;
        let mut forks = (0..count).map(|_| before.fork()).collect::<Result<Vec<Cache>, _>>()?;
        let mut caches: Vec<&mut Cache> = forks.iter_mut().collect();
        let request = Arc::new(Request {
            max_tokens: usize::MAX,
            sampling: *sampling,
            watermark: with_mark.then(|| self.watermark.clone()),
            ..Request::new(Vec::new())
        });
        let mut sequences: Vec<Sequence> =
            (0..count as u64).map(|i| Sequence::new(Arc::clone(&request), i)).collect();
        let mut tokens = self.tokens(count);
        let start = Instant::now();
        for _ in 0..*decode {
            self.model.step(&tokens, &mut caches)?.read(|rows| -> Result<(), BenchError> {
                for (i, (sequence, token)) in sequences.iter_mut().zip(&mut tokens).enumerate() {
                    // Times at which the token began, and at which its stages ended.
                    let mut times = [Instant::now(); 5];
                    let next = sequence.next_in_stages(&mut self.sampler, rows.row(i), |stage| {
                        times[stage as usize + 1] = Instant::now();
                    })?;
                    let (Next::Token(drawn) | Next::Last(drawn)) = next else { continue };
                    *token = drawn.id;
                    let [shaping, marking, drawing, keeping] =
                        std::array::from_fn(|i| (times[i + 1] - times[i]).as_secs_f64());
                    if with_mark {
                        runs.sampling.push(shaping + drawing);
                    }
                    if drawn.position == Some(PositionKind::Marked) {
                        runs.mark.push(marking + keeping);
                    }
                }
                Ok(())
            })?;
        }
        let rate = (count * decode) as f64 / start.elapsed().as_secs_f64();
        (if with_mark { &mut runs.marked } else { &mut runs.plain }).push(rate);
        Ok(())
    }
}
