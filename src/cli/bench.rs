//! `wmgen bench`.

use std::fmt::Write as _;
use std::io::BufWriter;

use anyhow::{Result, anyhow, bail};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use wmdetect::counted::counted;
use wmdetect::shell::OneLine;
use wmdetect::shell::outputs::{Kind, Output, Outputs};
use wmgen::bench::{self, BenchError, BenchReport, DraftSettings, Guesses, Settings, Spread};
use wmgen::engine::Draft;
use wmgen::model::{LoadOptions, Weights};
use wmgen::quantize::random::{Random, Shape};
use wmgen::sample::Sampling;
use wmgen::text::Prompt;

use super::args::{BenchArgs, ShapeArg};
use super::model::{self, Place};
use super::{print, print_json, prompts, say};
use crate::draft_args::DraftArg;

pub(super) fn run(args: &BenchArgs) -> Result<()> {
    let settings = Settings {
        prefill: args.prefill,
        decode: args.decode,
        depth: args.depth.clone(),
        batch: args.batch.clone(),
        repetitions: args.repetitions,
        sampling: Sampling {
            temperature: args.temperature,
            top_k: args.top_k,
            top_p: args.top_p,
            seed: args.seed,
            ..Sampling::default()
        },
    };
    settings.check().map_err(|error| match error {
        BenchError::Zero { .. } => anyhow!("--{error}"),
        error => error.into(),
    })?;
    model::set_threads(args.threads)?;
    let (weights, name) = open(args)?;
    let random = args.shape.is_some();
    let drafts = drafts(args, &weights, settings.sampling)?;
    let before = |depth| say(&format!("depth {depth} ..."));
    let report = bench::run(&weights, &name, random, &settings, before, &drafts)?;
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

/// Opens the model's files, or makes random weights in memory or in a file. Returns the weights and
/// the model's name.
fn open(args: &BenchArgs) -> Result<(Weights, String)> {
    let Some(shape) = args.shape else {
        // clap requires one of the two.
        let model = args.model.clone().unwrap_or_default();
        return Ok((Place::of(Some(&model))?.weights()?, model));
    };
    let shape = shape.shape();
    let name = shape.name().to_owned();
    let out = args.write_gguf.as_deref();
    let out = out.map(|path| Outputs::new(args.force).open(path, Kind::MODEL)).transpose()?;
    let random = Random::new(&shape.config(), args.quant.mixture(), args.seed)?;
    say(&format!("making {:.1} MB of random weights ...", random.bytes() as f64 / 1e6));
    if let (Some(path), Some(out)) = (&args.write_gguf, out) {
        write_whole(&random, out)?;
        return Ok((Weights::open(path)?, name));
    }
    let mut bytes = Vec::with_capacity(random.bytes() as usize);
    random.write(&mut bytes)?;
    Ok((Weights::from_gguf_bytes(bytes, shape.name())?, name))
}

/// Returns the settings for measuring drafts: each source of guesses with each number of sequences.
fn drafts(args: &BenchArgs, weights: &Weights, sampling: Sampling) -> Result<Vec<DraftSettings>> {
    let mut sources = Vec::new();
    if let Some(draft) = &args.draft {
        let rows = weights.config().vocab;
        let (name, source) = match (draft, &args.model) {
            (DraftArg::None, _) => bail!("--draft is none, expected prompt or a model"),
            (DraftArg::Prompt, _) => ("prompt", Draft::Prompt),
            (DraftArg::Model(_), None) => {
                bail!("--draft with a model needs --model: random weights guess nothing")
            }
            (DraftArg::Model(name), Some(model)) => {
                let tokenizer = Place::of(Some(model))?.tokenizer()?;
                let place = draft.check(&tokenizer, rows)?;
                let Draft::Model(place) = place else { unreachable!("a model was named") };
                (name.as_str(), Draft::Model(place.load(LoadOptions::default())?))
            }
        };
        sources.push((name.to_owned(), Guesses::Of(source)));
    }
    for &acceptance in &args.acceptance {
        sources.push(("simulated".into(), Guesses::Simulated { acceptance, cost: args.guess_cost }));
    }
    let mut settings = Vec::new();
    for (name, guesses) in sources {
        for &together in &args.batch {
            settings.push(DraftSettings {
                name: name.clone(),
                prompts: draft_prompts(args, weights, together)?,
                guesses: guesses.clone(),
                draft_tokens: args.draft_tokens.into(),
                decode: args.decode,
                together,
                repetitions: args.repetitions,
                sampling,
            });
        }
    }
    Ok(settings)
}

/// Returns the prompts for measuring drafts: those of --prompts, or `count` prompts of random
/// tokens.
fn draft_prompts(args: &BenchArgs, weights: &Weights, count: usize) -> Result<Vec<Vec<u32>>> {
    let Some(path) = &args.prompts else {
        let mut random = ChaCha12Rng::seed_from_u64(args.seed);
        let rows = weights.config().vocab as u32;
        let mut prompt = |_| (0..args.prefill).map(|_| random.random_range(0..rows)).collect();
        return Ok((0..count).map(&mut prompt).collect());
    };
    let Some(model) = &args.model else { bail!("--prompts needs --model: random weights have no tokenizer") };
    let tokenizer = Place::of(Some(model))?.tokenizer()?;
    let mut prompts = Vec::new();
    for (label, text) in prompts::read_lines(path)? {
        let text = text.map_err(|error| anyhow!("{}: {error}", label.input))?;
        prompts.push(Prompt::Text(text).ids(&tokenizer)?);
    }
    Ok(prompts)
}

fn write_whole(random: &Random, out: Output) -> Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, out);
    random.write(&mut file)?;
    Ok(file.into_inner()?.finish(&[])?)
}

fn text(report: &BenchReport) -> String {
    let mut out = String::new();
    let m = &report.model;
    let of = |s: &Spread| format!("{:.2} ({:.2}–{:.2})", s.median, s.min, s.max);
    let _ = writeln!(
        out,
        "{} {}: {:.1} million parameters, {:.1} MB; {}, {}, median (least–greatest)",
        OneLine(&m.name),
        m.format,
        m.parameters as f64 / 1e6,
        m.weight_bytes as f64 / 1e6,
        counted(report.threads, "thread"),
        counted(report.repetitions, "repetition")
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
    for d in &report.drafts {
        let stated = d.stated_acceptance.map_or(String::new(), |p| format!(", {:.0} % right", 100.0 * p));
        let _ = writeln!(
            out,
            "drafts by {}{stated}, {} of {} tokens, {}: {:.2} tokens a pass, {:.1} % of guesses right",
            OneLine(&d.draft),
            counted(d.texts, "text"),
            report.decode_tokens,
            if d.marked { "marked" } else { "unmarked" },
            d.tokens_per_pass,
            100.0 * d.acceptance
        );
        let _ = writeln!(
            out,
            "  decode of {}: {} tokens/s without, {} with: {} times",
            d.sequences,
            of(&d.without),
            of(&d.with),
            of(&d.gain)
        );
    }
    if let Some(bytes) = report.peak_resident_bytes {
        let _ = writeln!(out, "peak resident: {:.1} MB", bytes as f64 / 1e6);
    }
    out
}
