//! Steps of the detector: `cargo bench -p wmdetect`. With `WMDETECT_BENCH_TOKENIZER` set to a tokenizer.json the texts are
//! cut by that, else by the small one of the tests; `WMDETECT_BENCH_TEXT` names another text than our own documents.

#![allow(missing_docs, reason = "what criterion's macros make has no documentation")]

use std::hint::black_box;
use std::path::{Path, PathBuf};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wmdetect::scheme::{EvidenceKind, GBits, Key, TextGValues};
use wmdetect::statistics::{Decider, Method, Sample, Scored, Statistic as _, WeightedMean};
use wmdetect::text::Tokenizer;
use wmdetect::text::normalise::Normaliser;
use wmdetect::{Detector, Input, Keyring};

fn key(number: u16) -> Key {
    let mut bytes = [7; 32];
    bytes[..2].copy_from_slice(&number.to_le_bytes());
    Key::from_bytes(&bytes, "bench").expect("32 bytes are a key")
}

/// Ids as a text has them: a few often, many seldom.
fn ids(len: usize) -> Vec<u32> {
    (0..len as u64)
        .map(|i| {
            let random =
                i.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31).wrapping_mul(0xD6E8_FEB8_6659_FD93);
            (random >> 46) as u32 >> (random & 7)
        })
        .collect()
}

fn tokenizer() -> Tokenizer {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizer/tokenizer.json");
    let path = std::env::var_os("WMDETECT_BENCH_TOKENIZER").map_or(fixture, PathBuf::from);
    Tokenizer::open(path).expect("a tokenizer")
}

fn text() -> String {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let path = std::env::var_os("WMDETECT_BENCH_TEXT").map_or(ours, PathBuf::from);
    let bytes = std::fs::read(path).expect("a text");
    String::from_utf8_lossy(&bytes[..bytes.len().min(100_000)]).into_owned()
}

fn scheme(c: &mut Criterion) {
    let ids = ids(4096);
    let prf = key(0).prf();
    let mut group = c.benchmark_group("scheme");
    group.throughput(Throughput::Elements(ids.len() as u64));
    group.bench_function("g-values of a text", |b| b.iter(|| TextGValues::new(&prf, &[], black_box(&ids))));
    group.finish();
}

fn statistics(c: &mut Criterion) {
    let g: Vec<GBits> = TextGValues::new(&key(0).prf(), &[], &ids(4096)).scored().collect();
    let mut group = c.benchmark_group("statistics");
    group.throughput(Throughput::Elements(g.len() as u64));
    let bits = EvidenceKind::Layers { depth: 30 };
    for method in Method::ALL {
        let statistic = Decider::from(method).statistic(bits).expect("g-bits of layers");
        group.bench_function(format!("sum of the {method}"), |b| {
            b.iter(|| statistic.sum(Sample::layers(30, black_box(&g))));
        });
    }
    group.finish();
    let mut group = c.benchmark_group("exact p of the weighted mean");
    let mean = WeightedMean::new(30);
    let ones: Vec<GBits> = (0..30).map(|layer| GBits(1 << layer)).collect();
    let weights = mean.values(Sample::layers(30, &ones)).expect("g-bits of 30 layers");
    for tokens in [64, 256, 1024, 8192] {
        // One and eight standard deviations above the mean.
        let deviation = weights.iter().map(|&a| f64::from(a * a) / 4.0).sum::<f64>();
        let deviation = (deviation * tokens as f64).sqrt();
        for (what, above) in [("unmarked", 1.0), ("marked", 8.0)] {
            let sum = mean.largest_sum(Scored::full(tokens)) / 2 + (above * deviation) as i64;
            group.bench_with_input(BenchmarkId::new(what, tokens), &tokens, |b, &tokens| {
                b.iter(|| mean.p_value(Scored::full(tokens), black_box(sum)));
            });
        }
    }
    group.finish();
}

fn detectors(c: &mut Criterion) {
    let ids = ids(1024);
    let mut group = c.benchmark_group("score 1,024 tokens");
    group.throughput(Throughput::Elements(ids.len() as u64));
    for kind in [Method::Mean, Method::WeightedMean, Method::Llr] {
        let detector = Detector::builder(key(0)).method(kind).build().unwrap();
        group.bench_function(kind.name(), |b| b.iter(|| detector.score(Input::tokens(black_box(&ids)))));
    }
    group.finish();
    c.bench_function("segments of 1,024 tokens", |b| {
        let detector = Detector::builder(key(0)).build().unwrap();
        b.iter(|| detector.segments(Input::tokens(black_box(&ids))));
    });
    let ring = Keyring::new((0..100).map(key).collect()).expect("different keys");
    let ring = Detector::builder(ring).build().unwrap();
    c.bench_function("attribute 400 tokens to one of 100 keys", |b| {
        b.iter(|| ring.attribute(Input::tokens(black_box(&ids[..400]))));
    });
}

fn text_layer(c: &mut Criterion) {
    let (tokenizer, text) = (tokenizer(), text());
    let mut group = c.benchmark_group("text");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("normalise", |b| {
        b.iter(|| Normaliser::default().apply_bytes(black_box(text.as_bytes())).changes());
    });
    group.bench_function("encode", |b| b.iter(|| tokenizer.encode(black_box(&text)).expect("tokens")));
    group.bench_function("encode a run of one character", |b| {
        let run = "a".repeat(text.len());
        b.iter(|| tokenizer.encode(black_box(&run)).expect("tokens"));
    });
    group.finish();
}

criterion_group!(benches, scheme, statistics, detectors, text_layer);
criterion_main!(benches);
