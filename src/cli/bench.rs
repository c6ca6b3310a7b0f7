//! `wmgen bench`: how fast a model runs here, with and without the mark, beside what reading its weights alone takes.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use rayon::prelude::*;
use wmdetect::report::SCHEMA_VERSION;
use wmdetect::report::bench::{
    BenchDepth, BenchModel, BenchRead, BenchReport, BenchSampling, BenchWatermark, Spread,
};
use wmdetect::scheme::{DEFAULT_DEPTH, DEFAULT_NGRAM_LEN, Key, PositionKind, Watermark};
use wmgen::model::{Cache, Gemma, LoadOptions, Weights};
use wmgen::quantize::random::{Random, Shape};
use wmgen::sample::{Draw, Mark, Sampler, Sampling};

use super::args::{BenchArgs, ShapeArg};
use super::{model, print, print_json, say};

pub(super) fn run(args: &BenchArgs) -> Result<()> {
    let sampling = Sampling {
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        repeat_penalty: 1.0,
        seed: args.seed,
    };
    sampling.check(true)?;
    for (name, value) in
        [("prefill", args.prefill), ("decode", args.decode), ("repetitions", args.repetitions)]
    {
        ensure!(value > 0, "--{name} is 0, expected at least 1");
    }
    model::set_threads(args.threads)?;
    let weights = open(args)?;
    let limit = weights.config().max_position;
    for depth in &args.depth {
        let needed = depth.saturating_add(args.prefill.max(args.decode));
        ensure!(needed <= limit, "depth {depth} needs {needed} positions, the model has {limit}");
    }
    let read = sweep(&weights, args.repetitions);
    let model = Gemma::new(weights.config().clone(), &weights, LoadOptions::default())?;

    let key = Key::generate(DEFAULT_DEPTH, DEFAULT_NGRAM_LEN)?;
    let mut bench = Bench {
        model: &model,
        args,
        sampling,
        watermark: Watermark::new(key.prf()),
        sampler: Sampler::default(),
        random: ChaCha12Rng::seed_from_u64(args.seed),
    };
    let depths = args
        .depth
        .iter()
        .map(|depth| {
            say(&format!("depth {depth} ..."));
            bench.at(*depth, read.bound)
        })
        .collect::<Result<Vec<_>>>()?;
    let report = BenchReport {
        schema_version: SCHEMA_VERSION,
        model: describe(args, &weights),
        threads: rayon::current_num_threads() as u64,
        prefill_tokens: args.prefill as u64,
        decode_tokens: args.decode as u64,
        repetitions: args.repetitions as u64,
        sampling: BenchSampling {
            temperature: sampling.temperature,
            top_k: sampling.top_k as u64,
            top_p: sampling.top_p,
        },
        watermark: BenchWatermark {
            scheme: key.scheme().name().into(),
            depth: key.scheme().depth() as u64,
            ngram_len: key.scheme().ngram_len() as u64,
        },
        read,
        depths,
        peak_resident_bytes: peak_resident_bytes(),
    };
    if args.json { print_json(&report) } else { Ok(print(text(&report).as_bytes())?) }
}

impl ShapeArg {
    fn shape(self) -> Shape {
        match self {
            Self::Gemma2_2b => Shape::Gemma2_2b,
            Self::Gemma2_9b => Shape::Gemma2_9b,
            Self::Tiny => Shape::Tiny,
        }
    }
}

/// The model's files, or random weights in memory or in a file.
fn open(args: &BenchArgs) -> Result<Weights> {
    let Some(shape) = args.shape else {
        // clap asks for one of the two.
        return Ok(Weights::open(model::locate(args.model.as_deref().unwrap_or_default())?)?);
    };
    let shape = shape.shape();
    let random = Random::new(&shape.config(), args.quant.format(), args.seed)?;
    say(&format!("making {:.1} MB of random weights ...", random.bytes() as f64 / 1e6));
    if let Some(path) = &args.write_gguf {
        write_whole(&random, path).with_context(|| format!("cannot write {}", path.display()))?;
        return Ok(Weights::open(path)?);
    }
    let mut bytes = Vec::with_capacity(random.bytes() as usize);
    random.write(&mut bytes)?;
    Ok(Weights::from_gguf_bytes(bytes, shape.name())?)
}

/// Writes the file whole or not at all.
fn write_whole(random: &Random, path: &Path) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    let part = path.with_file_name(name);
    let write = || -> Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&part)?);
        random.write(&mut file)?;
        file.flush()?;
        Ok(std::fs::rename(&part, path)?)
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&part)))
}

fn weight_bytes(weights: &Weights) -> u64 {
    weights.tensors().map(|(_, info)| info.len as u64).sum()
}

fn describe(args: &BenchArgs, weights: &Weights) -> BenchModel {
    let mut formats = std::collections::BTreeMap::<_, u64>::new();
    let mut parameters = 0;
    for (_, info) in weights.tensors() {
        let numbers = info.shape.iter().product::<usize>() as u64;
        parameters += numbers;
        *formats.entry(info.format.name()).or_default() += numbers;
    }
    let format = formats.into_iter().max_by_key(|(_, numbers)| *numbers).map_or("", |(name, _)| name);
    let name = match (args.shape, &args.model) {
        (Some(shape), _) => shape.shape().name().to_owned(),
        (None, model) => model.clone().unwrap_or_default(),
    };
    let weight_bytes = weight_bytes(weights);
    BenchModel { name, format: format.into(), random: args.shape.is_some(), parameters, weight_bytes }
}

/// Reads all weights with all threads, several times; the first time, which may wait for the disk, does not count.
fn sweep(weights: &Weights, repetitions: usize) -> BenchRead {
    /// Bytes that a thread reads at a time.
    const PART: usize = 1 << 20;
    let names: Vec<&str> = weights.tensors().map(|(name, _)| name).collect();
    let parts: Vec<&[u8]> =
        names.iter().flat_map(|name| weights.bytes(name).unwrap_or_default().chunks(PART)).collect();
    let bytes = weight_bytes(weights) as f64;
    let once = || {
        let start = Instant::now();
        let sum = parts.par_iter().map(|part| sum_of_words(part)).reduce(|| 0, u64::wrapping_add);
        std::hint::black_box(sum);
        bytes / start.elapsed().as_secs_f64() / 1e9
    };
    once();
    let rates: Vec<f64> = (0..repetitions).map(|_| once()).collect();
    let gigabytes_per_second = Spread::of(&rates);
    BenchRead { gigabytes_per_second, bound: gigabytes_per_second.median * 1e9 / bytes }
}

/// Uses every whole word of the bytes, in sums that do not wait for each other.
fn sum_of_words(bytes: &[u8]) -> u64 {
    const LANES: usize = 32;
    let mut sums = [0u64; LANES];
    for line in bytes.as_chunks::<8>().0.as_chunks::<LANES>().0 {
        for (sum, word) in sums.iter_mut().zip(line) {
            *sum = sum.wrapping_add(u64::from_ne_bytes(*word));
        }
    }
    sums.iter().fold(0, |a, b| a.wrapping_add(*b))
}

struct Bench<'a> {
    model: &'a Gemma,
    args: &'a BenchArgs,
    sampling: Sampling,
    watermark: Watermark,
    sampler: Sampler,
    random: ChaCha12Rng,
}

/// One decode run.
struct Decoded {
    tokens_per_second: f64,
    /// Of each token.
    sampling: Vec<Duration>,
    /// Of each marked position.
    mark: Vec<Duration>,
}

impl Bench<'_> {
    /// Tokens that a text could have.
    fn tokens(&mut self, count: usize) -> Vec<u32> {
        let vocab = self.model.config().vocab as u32;
        (0..count).map(|_| self.random.random_range(0..vocab)).collect()
    }

    /// Everything at one depth. The three kinds of runs take turns, so that what else the machine does meets all.
    fn at(&mut self, depth: usize, bound: f64) -> Result<BenchDepth> {
        let mut cache = self.model.new_cache(1);
        let before = self.tokens(depth);
        let (mut prefill, mut plain, mut marked) = (Vec::new(), Vec::new(), Vec::new());
        let (mut sampling, mut mark) = (Vec::new(), Vec::new());
        for repetition in 0..=self.args.repetitions {
            self.fill(&before, &mut cache)?;
            let prompt = self.tokens(self.args.prefill);
            let start = Instant::now();
            self.model.forward_raw(&[&prompt], &mut cache)?;
            let rate = prompt.len() as f64 / start.elapsed().as_secs_f64();
            // Whichever comes first of the two, every other time.
            let mut runs = [false, true];
            runs.rotate_left(repetition % 2);
            for with_mark in runs {
                self.fill(&before, &mut cache)?;
                let run = self.decode(&mut cache, with_mark)?;
                if repetition > 0 {
                    (if with_mark { &mut marked } else { &mut plain }).push(run.tokens_per_second);
                    if with_mark {
                        sampling.extend(run.sampling.iter().map(Duration::as_secs_f64));
                        mark.extend(run.mark.iter().map(Duration::as_secs_f64));
                    }
                }
            }
            if repetition > 0 {
                prefill.push(rate);
            }
        }
        let (decode, decode_marked) = (Spread::of(&plain), Spread::of(&marked));
        let mark = Spread::of(&mark).median;
        Ok(BenchDepth {
            depth: depth as u64,
            prefill: Spread::of(&prefill),
            decode,
            decode_marked,
            share_of_bound: decode.median / bound,
            sampling_microseconds: Spread::of(&sampling).median * 1e6,
            mark_microseconds: mark * 1e6,
            mark_share: mark * decode_marked.median,
        })
    }

    /// Leaves the tokens of `before` in the cache, and nothing else.
    fn fill(&self, before: &[u32], cache: &mut Cache) -> Result<()> {
        if !cache.rewind(before.len()) {
            cache.reset();
            if !before.is_empty() {
                self.model.forward_raw(&[before], cache)?;
            }
        }
        Ok(())
    }

    /// What `wmgen generate` does for a token, `--decode` times.
    fn decode(&mut self, cache: &mut Cache, with_mark: bool) -> Result<Decoded> {
        let watermark = self.watermark.clone();
        let mut mark = Mark::start(with_mark.then_some(&watermark), &[]);
        let mut draw = Draw::new(self.sampling.seed, 0);
        let mut decoded = Decoded { tokens_per_second: 0.0, sampling: Vec::new(), mark: Vec::new() };
        let mut token = self.tokens(1)[0];
        let start = Instant::now();
        for _ in 0..self.args.decode {
            let logits = self.model.forward_raw(&[[token]], cache)?;
            logits.read(|rows| -> Result<(), anyhow::Error> {
                let begin = Instant::now();
                let candidates = self.sampler.distribution(&self.sampling, rows.row(0), &[])?;
                let sampled = begin.elapsed();
                let begin = Instant::now();
                let position = mark.apply(candidates);
                let marked = begin.elapsed();
                let begin = Instant::now();
                token = draw.token(candidates);
                decoded.sampling.push(sampled + begin.elapsed());
                let begin = Instant::now();
                mark.push(token);
                if position == Some(PositionKind::Marked) {
                    decoded.mark.push(marked + begin.elapsed());
                }
                Ok(())
            })?;
        }
        decoded.tokens_per_second = self.args.decode as f64 / start.elapsed().as_secs_f64();
        Ok(decoded)
    }
}

/// The kernel's own count of the most memory that the process had resident.
fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

fn text(report: &BenchReport) -> String {
    let mut out = String::new();
    let m = &report.model;
    let of = |s: &Spread| format!("{:.2} ({:.2}–{:.2})", s.median, s.min, s.max);
    let _ = writeln!(
        out,
        "{} {}: {:.1} million parameters, {:.1} MB; {} threads, {} repetitions, median (least–greatest)",
        m.name,
        m.format,
        m.parameters as f64 / 1e6,
        m.weight_bytes as f64 / 1e6,
        report.threads,
        report.repetitions
    );
    let _ = writeln!(
        out,
        "reading the weights: {} GB/s, so a step of decoding has a bound of {:.2} tokens/s",
        of(&report.read.gigabytes_per_second),
        report.read.bound
    );
    for d in &report.depths {
        let _ = writeln!(out, "depth {}", d.depth);
        let _ = writeln!(out, "  prefill {:<14} {} tokens/s", report.prefill_tokens, of(&d.prefill));
        let _ = writeln!(
            out,
            "  decode {:<15} {} tokens/s, {:.1} % of the bound",
            report.decode_tokens,
            of(&d.decode),
            100.0 * d.share_of_bound
        );
        let _ = writeln!(out, "  decode, marked         {} tokens/s", of(&d.decode_marked));
        let _ = writeln!(
            out,
            "  of a token: sampling {:.1} µs, mark {:.1} µs ({:.3} %)",
            d.sampling_microseconds,
            d.mark_microseconds,
            100.0 * d.mark_share
        );
    }
    if let Some(bytes) = report.peak_resident_bytes {
        let _ = writeln!(out, "peak resident: {:.1} MB", bytes as f64 / 1e6);
    }
    out
}
