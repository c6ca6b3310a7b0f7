//! How fast the detector is, beside the `tokenizers` library where it takes the library's place.
//!
//! ```sh
//! cargo run --release -p wmgen-research --bin detector_speed -- tokenizer.json text.txt [target/release/wmdetect]
//! cargo run --release -p wmgen-research --bin detector_speed -- --scaling tokenizer.json text.txt
//! ```
//!
//! With `--scaling` it measures how the time of `score` and `segments` grows with the length of the text, from 1,000 to a
//! million tokens, and prints the slope of log time over log length; that needs 5 MB of text.
//!
//! Text is scored with a key of 32 bytes, whose scheme is that of the preset `secret`. Then it is scored with two keys of
//! the other scheme: one with a single channel, and one of the preset `balanced`, which has 16.
//!
//! Needs some megabytes of plain text. Everything runs on one core, in rounds that take turns; the figures are medians
//! over the rounds with the least and the largest in brackets, of
//! the time that the thread had a processor where the system tells that. With the program's path the last row is the time from
//! start to exit of `wmdetect score` on a file of 1 kB. One JSON object a row.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::cell::Cell;
use std::hint::black_box;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use wmdetect::Cache;
use wmdetect::scheme::{Key, Preset, Scheme, synthid};
use wmdetect::text::normalise::Normaliser;
use wmdetect::{Detector, Input, Keyring, Tokenizer};

const ROUNDS: usize = 7;
/// Bytes of text a round, at least.
const ROUND_BYTES: usize = 1 << 20;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (scaling, files) = match &args[..] {
        [flag, files @ ..] if flag == "--scaling" => (true, files),
        files => (false, files),
    };
    let [tokenizer, text, program @ ..] = files else {
        eprintln!("usage: detector_speed [--scaling] TOKENIZER.json TEXT [WMDETECT]");
        return ExitCode::from(2);
    };
    let text = String::from_utf8_lossy(&std::fs::read(text).expect("a readable text")).into_owned();
    assert!(text.len() >= 2 * ROUND_BYTES, "expected 2 MiB of text or more, found {} bytes", text.len());
    let cache = Cache::of_user();
    let seconds = time(|| Tokenizer::open_with_cache(tokenizer, cache.as_ref()).expect("a tokenizer"));
    println!("{{\"what\": \"open the tokenizer\", \"seconds\": {seconds:.4}}}");
    let detector =
        || Detector::new(key(0), Tokenizer::open(tokenizer).expect("a tokenizer")).expect("an unbound key");
    let detector = detector();
    if scaling {
        growth(&detector, &text);
        return ExitCode::SUCCESS;
    }
    let mut library = tokenizers::Tokenizer::from_file(tokenizer).expect("a tokenizer");
    library.set_encode_special_tokens(true);
    library.with_post_processor(None::<tokenizers::PostProcessorWrapper>);

    tokens_to_score(&detector, &text);
    tokenizing(&text, &Tokenizer::open(tokenizer).expect("a tokenizer"), &library);
    text_to_score("secret", &detector, &library, &text);
    let one_channel = synthid::Sha256V2 { channels: 1, ..Default::default() };
    let schemes = [("one channel", Scheme::from(one_channel)), ("balanced", Preset::Balanced.scheme())];
    for (name, scheme) in schemes {
        let key = Key::generate(scheme).expect("a key");
        let tokenizer = Tokenizer::open(tokenizer).expect("a tokenizer");
        text_to_score(name, &Detector::new(key, tokenizer).expect("an unbound key"), &library, &text);
    }
    attribution(&detector, &text);
    if let [program] = program {
        process(program, tokenizer, &text);
    }
    ExitCode::SUCCESS
}

fn key(number: u16) -> Key {
    let mut bytes = [7; 32];
    bytes[..2].copy_from_slice(&number.to_le_bytes());
    Key::from_bytes(&bytes, "speed").expect("32 bytes are a key")
}

/// Seconds that `work` takes, a mean over enough runs: of this thread on a processor where Linux tells, so that other
/// programs count little; else by the clock. Linux counts in steps of some milliseconds.
fn time<R>(mut work: impl FnMut() -> R) -> f64 {
    let (start, used, mut runs) = (Instant::now(), processor_nanoseconds(), 0);
    while runs == 0 || start.elapsed().as_secs_f64() < 0.15 {
        black_box(work());
        runs += 1;
    }
    let seconds = match (used, processor_nanoseconds()) {
        (Some(before), Some(after)) => (after - before) as f64 / 1e9,
        _ => start.elapsed().as_secs_f64(),
    };
    seconds / f64::from(runs)
}

fn processor_nanoseconds() -> Option<u64> {
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
}

/// Median, least and largest.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let digits = |value: f64| if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    let [least, median, largest] = [0, values.len() / 2, values.len() - 1].map(|i| digits(values[i]));
    format!("\"median\": {median}, \"range\": [{least}, {largest}]")
}

/// Pieces of about `len` bytes, whole characters.
fn documents(text: &str, len: usize, total: usize) -> Vec<&str> {
    let (mut documents, mut start) = (Vec::new(), 0);
    while start + len <= text.len() && documents.len() * len < total {
        let end = (0..=start + len).rev().find(|&end| text.is_char_boundary(end)).expect("0 is one");
        documents.push(&text[start..end]);
        start = end;
    }
    documents
}

fn tokens_to_score(detector: &Detector, text: &str) {
    let encoded = detector.tokens(Input::bytes(&text.as_bytes()[..2 * ROUND_BYTES])).expect("tokens");
    for len in [64, 256, 1024, 8192, 131_072] {
        let documents: Vec<&[u32]> = encoded.chunks_exact(len).collect();
        let count = (documents.len() * len) as f64;
        let rates = (0..ROUNDS).map(|_| {
            let seconds = time(|| {
                documents
                    .iter()
                    .map(|ids| detector.score(Input::tokens(ids)).expect("a report").tokens)
                    .sum::<u64>()
            });
            count / seconds / 1e6
        });
        println!(
            "{{\"what\": \"tokens to score\", \"tokens a document\": {len}, \"unit\": \"million tokens a second\", {}}}",
            spread(rates.collect())
        );
    }
}

fn tokenizing(text: &str, ours: &Tokenizer, library: &tokenizers::Tokenizer) {
    let documents = documents(text, 10_000, ROUND_BYTES);
    let bytes: usize = documents.iter().map(|text| text.len()).sum();
    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let a =
            time(|| documents.iter().map(|text| ours.encode(text).expect("tokens").ids.len()).sum::<usize>());
        let b = time(|| {
            documents.iter().map(|text| library.encode(*text, false).expect("tokens").len()).sum::<usize>()
        });
        rates.push(bytes as f64 / a / 1e6);
        ratios.push(b / a);
    }
    println!("{{\"what\": \"text to tokens, 10 kB\", \"unit\": \"MB a second\", {}}}", spread(rates));
    println!("{{\"what\": \"text to tokens, 10 kB\", \"unit\": \"times tokenizers\", {}}}", spread(ratios));
}

fn text_to_score(key: &str, detector: &Detector, library: &tokenizers::Tokenizer, text: &str) {
    for len in [1_000, 10_000, 100_000, 1_000_000] {
        let documents = documents(text, len, ROUND_BYTES);
        let bytes: usize = documents.iter().map(|text| text.len()).sum();
        let (mut rates, mut ratios) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let a = time(|| {
                let scored =
                    |text: &&str| detector.score(Input::bytes(text.as_bytes())).expect("a report").tokens;
                documents.iter().map(scored).sum::<u64>()
            });
            let b = time(|| {
                let scored = |text: &&str| {
                    let text = Normaliser::default().apply_bytes(text.as_bytes());
                    let encoding = library.encode(text.text(), false).expect("tokens");
                    detector.score(Input::tokens(encoding.get_ids())).expect("a report").tokens
                };
                documents.iter().map(scored).sum::<u64>()
            });
            rates.push(bytes as f64 / a / 1e6);
            ratios.push(b / a);
        }
        println!(
            "{{\"what\": \"text to score\", \"key\": \"{key}\", \"bytes a document\": {len}, \"unit\": \"MB a second\", {}}}",
            spread(rates)
        );
        println!(
            "{{\"what\": \"text to score\", \"key\": \"{key}\", \"bytes a document\": {len}, \"unit\": \"times tokenizers\", {}}}",
            spread(ratios)
        );
    }
}

fn attribution(detector: &Detector, text: &str) {
    let encoded = detector.tokens(Input::bytes(&text.as_bytes()[..4000])).expect("tokens");
    let ids = &encoded[..400];
    let ring = Keyring::new((0..10_000).map(key).collect()).expect("different keys");
    let ring = Detector::builder(ring).build().expect("a detector");
    let seconds = (0..ROUNDS).map(|_| time(|| ring.attribute(Input::tokens(ids)).expect("a report")));
    println!(
        "{{\"what\": \"attribution, 400 tokens, 10,000 keys\", \"unit\": \"seconds\", {}}}",
        spread(seconds.collect())
    );
}

/// Time against length, in text and in marked tokens.
fn growth(detector: &Detector, text: &str) {
    const LENGTHS: [usize; 6] = [1_000, 4_000, 16_000, 64_000, 256_000, 1_000_000];
    let encoded = detector.tokenizer().expect("a tokenizer").encode(text).expect("tokens");
    assert!(encoded.ids.len() >= LENGTHS[5], "expected 5 MB of text, found {} tokens", encoded.ids.len());
    // Each run has another part of the text: a processor learns a short one by heart.
    let next = Cell::new(0);
    let part = |len: usize| {
        let start = if next.get() + len > encoded.ids.len() { 0 } else { next.get() };
        next.set(start + len);
        start..start + len
    };
    let bytes = |len: usize| {
        let part = part(len);
        &text.as_bytes()[encoded.offsets[part.start].start..encoded.offsets[part.end - 1].end]
    };
    let marked = marked_tokens(encoded.ids.len());
    slope("score, text", &LENGTHS, |len| {
        detector.score(Input::bytes(bytes(len))).expect("a report").spans.len()
    });
    slope("segments, text", &LENGTHS, |len| {
        detector.segments(Input::bytes(bytes(len))).expect("a report").segments.len()
    });
    slope("score, marked tokens", &LENGTHS, |len| {
        detector.score(Input::tokens(&marked[part(len)])).expect("a report").spans.len()
    });
    slope("segments, marked tokens", &LENGTHS, |len| {
        detector.segments(Input::tokens(&marked[part(len)])).expect("a report").segments.len()
    });
}

/// Random ids, each the one of two whose first layers have more ones.
fn marked_tokens(len: usize) -> Vec<u32> {
    let prf = key(0).prf();
    let mut ids: Vec<u32> = (0..4).collect();
    let mut state = 1_u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 46) as u32
    };
    while ids.len() < len {
        let context = prf.context(&ids[ids.len() - 4..]);
        let ones = |token: &u32| (context.g_bits(*token).0 & 0x3FF).count_ones();
        ids.push([draw(), draw()].into_iter().max_by_key(ones).expect("two"));
    }
    ids
}

fn slope(what: &str, lengths: &[usize], work: impl Fn(usize) -> usize) {
    let points: Vec<(f64, f64)> = lengths
        .iter()
        .map(|&len| {
            let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| time(|| work(len))).collect();
            rounds.sort_by(f64::total_cmp);
            let seconds = rounds[ROUNDS / 2];
            println!(
                "{{\"what\": \"{what}\", \"tokens\": {len}, \"unit\": \"microseconds\", \"median\": {:.1}, \"range\": [{:.1}, {:.1}]}}",
                seconds * 1e6,
                rounds[0] * 1e6,
                rounds[ROUNDS - 1] * 1e6
            );
            ((len as f64).ln(), seconds.ln())
        })
        .collect();
    let n = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / n, y + point.1 / n));
    let (up, across) = points
        .iter()
        .fold((0.0, 0.0), |(up, across), p| (up + (p.0 - x) * (p.1 - y), across + (p.0 - x) * (p.0 - x)));
    println!("{{\"what\": \"{what}\", \"exponent\": {:.3}}}", up / across);
}

fn process(program: &str, tokenizer: &str, text: &str) {
    let dir = std::env::temp_dir().join(format!("wmdetect-speed-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let (key_file, text_file) = (dir.join("k.bin"), dir.join("text.txt"));
    key(0).write(&key_file, true).expect("a key file");
    std::fs::write(&text_file, documents(text, 1000, 1)[0]).expect("a text");
    let run = || {
        let mut command = Command::new(program);
        command.args(["score", "--json", "--tokenizer", tokenizer, "--key"]).arg(&key_file).arg(&text_file);
        let start = Instant::now();
        black_box(command.stdout(Stdio::null()).status().expect("the program"));
        start.elapsed().as_secs_f64() * 1e3
    };
    // The first fills the cache.
    run();
    let milliseconds = (0..3 * ROUNDS).map(|_| run()).collect();
    println!(
        "{{\"what\": \"wmdetect score, 1 kB, start to exit\", \"unit\": \"milliseconds\", {}}}",
        spread(milliseconds)
    );
    let _ = std::fs::remove_dir_all(&dir);
}
