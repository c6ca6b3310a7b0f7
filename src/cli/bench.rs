//! `wmgen bench`: how fast a model runs here, with and without the mark, beside what reading its weights alone takes.

use std::fmt::Write as _;
use std::io::BufWriter;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use rayon::prelude::*;
use wmdetect::atomic_file::AtomicFile;
use wmdetect::report::SCHEMA_VERSION;
use wmdetect::scheme::{DEFAULT_DEPTH, DEFAULT_NGRAM_LEN, Key, PositionKind, Watermark};
use wmgen::bench::{
    BenchDecode, BenchDepth, BenchModel, BenchRead, BenchReport, BenchSampling, BenchWatermark, Spread,
};
use wmgen::kernels::elementwise::sum_of_words;
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
    let least_batch = args.batch.iter().copied().min().unwrap_or(0);
    for (name, value) in [
        ("prefill", args.prefill),
        ("decode", args.decode),
        ("repetitions", args.repetitions),
        ("batch", least_batch),
    ] {
        ensure!(value > 0, "--{name} is 0, expected at least 1");
    }
    model::set_threads(args.threads)?;
    let weights = open(args)?;
    let limit = weights.config().max_position;
    for depth in &args.depth {
        let needed = depth.saturating_add(args.prefill.max(args.decode));
        ensure!(needed <= limit, "depth {depth} needs {needed} positions, the model has {limit}");
    }
    let model = Gemma::new(weights.config().clone(), &weights, LoadOptions::default())?;
    let read = sweep(&model.matrix_memory(), args.repetitions);

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
    let random = Random::new(&shape.config(), args.quant.mixture(), args.seed)?;
    say(&format!("making {:.1} MB of random weights ...", random.bytes() as f64 / 1e6));
    if let Some(path) = &args.write_gguf {
        write_whole(&random, path).with_context(|| format!("cannot write {}", path.display()))?;
        return Ok(Weights::open(path)?);
    }
    let mut bytes = Vec::with_capacity(random.bytes() as usize);
    random.write(&mut bytes)?;
    Ok(Weights::from_gguf_bytes(bytes, shape.name())?)
}

fn write_whole(random: &Random, path: &Path) -> Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, AtomicFile::create(path)?);
    random.write(&mut file)?;
    Ok(file.into_inner()?.commit()?)
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

/// Reads all weights where they lie for a step, with all threads, several times; the first time, which may wait for the
/// disk, does not count.
fn sweep(matrices: &[&[u8]], repetitions: usize) -> BenchRead {
    /// Bytes that a thread reads at a time.
    const PART: usize = 1 << 20;
    let parts: Vec<&[u8]> = matrices.iter().flat_map(|matrix| matrix.chunks(PART)).collect();
    let bytes = matrices.iter().map(|matrix| matrix.len()).sum::<usize>() as f64;
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

struct Bench<'a> {
    model: &'a Gemma,
    args: &'a BenchArgs,
    sampling: Sampling,
    watermark: Watermark,
    sampler: Sampler,
    random: ChaCha12Rng,
}

/// Runs of one kind: some sequences together.
#[derive(Default)]
struct Runs {
    /// Tokens a second.
    plain: Vec<f64>,
    marked: Vec<f64>,
    /// Seconds of each token of the marked runs.
    sampling: Vec<f64>,
    /// Seconds of each marked position.
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

/// A sequence that grows.
struct Sequence {
    token: u32,
    mark: Mark,
    draw: Draw,
}

impl Bench<'_> {
    /// Tokens that a text could have.
    fn tokens(&mut self, count: usize) -> Vec<u32> {
        let vocab = self.model.config().vocab as u32;
        (0..count).map(|_| self.random.random_range(0..vocab)).collect()
    }

    /// Everything at one depth. The kinds of runs take turns, so that what else the machine does meets all.
    fn at(&mut self, depth: usize, bound: f64) -> Result<BenchDepth> {
        let mut before = self.model.new_cache(1);
        if depth > 0 {
            self.model.forward_raw(&[self.tokens(depth)], &mut before)?;
        }
        let mut prefill = Vec::new();
        let mut runs: Vec<(usize, Runs)> = self.args.batch.iter().map(|n| (*n, Runs::default())).collect();
        for repetition in 0..=self.args.repetitions {
            let mut cache = before.fork()?;
            let prompt = self.tokens(self.args.prefill);
            let start = Instant::now();
            self.model.forward_raw(&[&prompt], &mut cache)?;
            let rate = prompt.len() as f64 / start.elapsed().as_secs_f64();
            if repetition > 0 {
                prefill.push(rate);
            }
            for (sequences, runs) in &mut runs {
                // Whichever comes first of the two, every other time.
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

    /// What `wmgen generate` does for a token of each of `count` sequences, `--decode` times; all begin where `before` ends.
    fn decode(&mut self, before: &Cache, count: usize, with_mark: bool, runs: &mut Runs) -> Result<()> {
        let mut forks = (0..count).map(|_| before.fork()).collect::<Result<Vec<Cache>, _>>()?;
        let mut caches: Vec<&mut Cache> = forks.iter_mut().collect();
        let watermark = with_mark.then_some(&self.watermark);
        let marks: Vec<Mark> = (0..count).map(|_| Mark::start(watermark, &[])).collect();
        let first = self.tokens(count);
        let mut sequences: Vec<Sequence> = (0u64..)
            .zip(first)
            .zip(marks)
            .map(|((i, token), mark)| Sequence { token, mark, draw: Draw::new(self.sampling.seed, i) })
            .collect();
        let start = Instant::now();
        for _ in 0..self.args.decode {
            let tokens: Vec<u32> = sequences.iter().map(|sequence| sequence.token).collect();
            let logits = self.model.step(&tokens, &mut caches)?;
            logits.read(|rows| -> Result<(), anyhow::Error> {
                for (i, sequence) in sequences.iter_mut().enumerate() {
                    let begin = Instant::now();
                    let candidates = self.sampler.distribution(&self.sampling, rows.row(i), &[])?;
                    let shaped = Instant::now();
                    let position = sequence.mark.apply(candidates);
                    let marked = Instant::now();
                    sequence.token = sequence.draw.token(candidates);
                    let drawn = Instant::now();
                    sequence.mark.push(sequence.token);
                    let end = Instant::now();
                    if with_mark {
                        runs.sampling.push(((shaped - begin) + (drawn - marked)).as_secs_f64());
                    }
                    if position == Some(PositionKind::Marked) {
                        runs.mark.push(((marked - shaped) + (end - drawn)).as_secs_f64());
                    }
                }
                Ok(())
            })?;
        }
        let rate = (count * self.args.decode) as f64 / start.elapsed().as_secs_f64();
        (if with_mark { &mut runs.marked } else { &mut runs.plain }).push(rate);
        Ok(())
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
        let _ = writeln!(out, "  prefill of {}: {} tokens/s", report.prefill_tokens, of(&d.prefill));
        for run in &d.decode {
            let _ = writeln!(
                out,
                "  decode of {} x {}: {} tokens/s, {:.1} % of the bound; marked: {} tokens/s",
                run.sequences,
                report.decode_tokens,
                of(&run.plain),
                100.0 * run.share_of_bound,
                of(&run.marked)
            );
            let _ = writeln!(
                out,
                "    of a token: sampling {:.1} µs, mark {:.1} µs ({:.3} %)",
                run.sampling_microseconds,
                run.mark_microseconds,
                100.0 * run.mark_share
            );
        }
    }
    if let Some(bytes) = report.peak_resident_bytes {
        let _ = writeln!(out, "peak resident: {:.1} MB", bytes as f64 / 1e6);
    }
    out
}
