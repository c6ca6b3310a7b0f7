//! What a step of generation does besides the model: candidates, mark, draw. candle's sampler beside ours.
//!
//! `cargo bench --bench sampling`; one thread with `RAYON_NUM_THREADS=1`.

#![allow(missing_docs)] // criterion's macros

use candle_core::{Device, Tensor};
use candle_transformers::generation::{LogitsProcessor, Sampling as CandleSampling};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use wmdetect::scheme::{DEFAULT_DEPTH, Distribution, GBits, Key, Preset, Watermark};
use wmgen::logits::Logits;
use wmgen::sample::{Draw, History, Mark, Sampler, Sampling};

/// Gemma 2's vocabulary.
const VOCABULARY: usize = 256_000;
const CAP: f32 = 30.0;

/// Logits as a model has them: a broad bulk and a few hundred that stand out.
fn logits(random: &mut ChaCha12Rng) -> Vec<f32> {
    let mut logits: Vec<f32> =
        (0..VOCABULARY).map(|_| (0..4).map(|_| random.random_range(-3.0..3.0f32)).sum()).collect();
    for _ in 0..300 {
        logits[random.random_range(0..VOCABULARY)] += random.random_range(8.0..16.0);
    }
    logits
}

/// From logits to a token, unmarked: candle's sampler gets logits that are capped already.
fn sampler(c: &mut Criterion) {
    let raw = logits(&mut ChaCha12Rng::seed_from_u64(1));
    let capped: Vec<f32> = raw.iter().map(|x| CAP * (x / CAP).tanh()).collect();
    let tensor = Tensor::new(capped.as_slice(), &Device::Cpu).expect("a tensor");
    let temperature = 0.7;
    for (name, top_k, top_p, candle) in [
        ("top-k 100, top-p 0.95", 100, 0.95, CandleSampling::TopKThenTopP { k: 100, p: 0.95, temperature }),
        ("top-k 100", 100, 1.0, CandleSampling::TopK { k: 100, temperature }),
        ("top-p 0.95", 0, 0.95, CandleSampling::TopP { p: 0.95, temperature }),
        ("all", 0, 1.0, CandleSampling::All { temperature }),
    ] {
        let mut group = c.benchmark_group(format!("sampler/{name}"));
        let sampling = Sampling { temperature, top_k, top_p, seed: 1, ..Sampling::default() };
        let (mut sampler, mut draw) = (Sampler::default(), Draw::new(1, 0));
        let logits = Logits::before_cap(&raw, Some(CAP));
        group.bench_function("ours", |b| {
            b.iter(|| {
                draw.token(
                    sampler.distribution(&sampling, logits, &History::default()).expect("a distribution"),
                )
            });
        });
        let mut processor = LogitsProcessor::from_sampling(1, candle);
        group.bench_function("candle", |b| b.iter(|| processor.sample(&tensor).expect("a token")));
    }
}

/// The whole mark of a token: the rule, the hashes, the tournament, the history.
fn mark(c: &mut Criterion) {
    let key = Key::generate(Preset::default()).expect("a key");
    let watermark = Watermark::new(key.prf());
    let mut random = ChaCha12Rng::seed_from_u64(2);
    let mut group = c.benchmark_group("mark");
    for candidates in [100, VOCABULARY] {
        let tokens: Vec<u32> = (0..candidates as u32).map(|i| i * (VOCABULARY / candidates) as u32).collect();
        let logits: Vec<f32> = tokens.iter().map(|_| random.random_range(-3.0..3.0)).collect();
        let unmarked = Distribution::from_logits(tokens, &logits).expect("a distribution");
        let mut mark = Mark::start(Some(&watermark), &[], 0, 0);
        for token in 0..4 {
            mark.push(token);
        }
        let mut token = 4;
        group.bench_function(format!("{candidates} candidates"), |b| {
            b.iter_batched_ref(
                || unmarked.clone(),
                |candidates| {
                    let position = mark.apply(candidates);
                    token += 1; // no context comes twice
                    mark.push(token);
                    position
                },
                BatchSize::LargeInput,
            );
        });
        let keyed_by = key.prf();
        let keyed = keyed_by.context(&[1, 2, 3, 4]);
        let mut g = vec![GBits(0); candidates];
        group.bench_function(format!("{candidates} candidates, hashes on one thread"), |b| {
            b.iter(|| keyed.g_bits_of(unmarked.tokens(), &mut g));
        });
        // The g-values of other contexts each time: a processor learns which way the branches of the same go.
        let g: Vec<Vec<GBits>> = (0..32)
            .map(|context| {
                let mut g = vec![GBits(0); candidates];
                keyed_by.context(&[context, 2, 3, 4]).g_bits_of(unmarked.tokens(), &mut g);
                g
            })
            .collect();
        let mut contexts = g.iter().cycle();
        group.bench_function(format!("{candidates} candidates, tournament"), |b| {
            b.iter_batched_ref(
                || unmarked.clone(),
                |candidates| {
                    if let Some(g) = contexts.next() {
                        candidates.tournament(g, DEFAULT_DEPTH, 2);
                    }
                },
                BatchSize::LargeInput,
            );
        });
    }
}

criterion_group!(benches, sampler, mark);
criterion_main!(benches);
