//! `wmgen train`.

use std::io::{IsTerminal, stderr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use wmdetect::atomic_file;
use wmdetect::shell::outputs::Outputs;
use wmdetect::shell::stop_when_asked;
use wmdetect::text::Tokenizer;
use wmgen::model::{Config, Device};
use wmgen::train::curve::{self, Point};
use wmgen::train::optimizer::AdamW;
use wmgen::train::parameters::Table;
use wmgen::train::{Data, Settings, Sizes, Trainer, corpus, tokenizer};

use super::args::TrainArgs;
use super::{model, say};

/// The run, beside the model in the output directory.
const CHECKPOINT: &str = "checkpoint.safetensors";
/// Time between two lines where standard error is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(20);

/// What a run has come to, in training.json.
#[derive(Serialize)]
struct Report<'a> {
    schema_version: u32,
    parameters: usize,
    settings: Settings,
    steps: u64,
    tokens: u64,
    epochs: f64,
    train_tokens: usize,
    train_bytes: usize,
    held_out_tokens: usize,
    held_out_bytes: usize,
    seconds: f64,
    loss: Option<f64>,
    held_out: f64,
    held_out_scored: u64,
    perplexity: f64,
    bits_per_byte: f64,
    points: &'a [Point],
    /// Where --steps was changed on the way: the step, and --steps before.
    changes: &'a [(u64, u64)],
}

pub(super) fn run(args: &TrainArgs) -> Result<()> {
    model::set_threads(args.threads)?;
    let dir = args.output.as_path();
    let checkpoint = dir.join(CHECKPOINT);
    let holds_run = Outputs::new(false)
        .reads(&args.text)
        .check_directory(dir, "run", |dir| dir.join(CHECKPOINT).exists())?;
    if holds_run && !args.resume {
        bail!("{} holds a run already; --resume goes on with it, or choose another directory", dir.display());
    }
    let mut text = String::new();
    for path in &args.text {
        text.push_str(&super::read_text(path)?);
        text.push_str("\n\n");
    }
    let tokenizer_json = tokenizer_json(args, &text)?;
    let tokenizer = Tokenizer::from_json_bytes(tokenizer_json.as_bytes(), "the tokenizer of the run")?;
    say(&format!("{} entries in the vocabulary; cutting the text into tokens", tokenizer.vocab_size()));
    let data = Data::new(&text, &tokenizer)?;
    drop(text);
    let config = config(args, tokenizer.vocab_size())?;
    let settings = settings(args);
    let device = args.device.open()?;
    let mut run = if holds_run {
        Trainer::resume(&checkpoint, &config, &settings, &data, &device)?
    } else {
        Trainer::new(&config, &settings, &data, &device)?
    };
    say(&format!(
        "{:.1} million parameters; {:.1} million tokens to train on, {:.0} thousand held out; {} of {} steps of {} tokens done",
        Table::new(&config).len() as f64 / 1e6,
        data.train.tokens.len() as f64 / 1e6,
        data.held_out.tokens.len() as f64 / 1e3,
        run.step_count(),
        settings.steps,
        settings.tokens_a_step(),
    ));
    // Everything has been looked at; from here on the directory is the run's.
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let stop = stop_when_asked()?;
    let save_every = Duration::from_secs_f64(args.checkpoint_minutes.max(0.0) * 60.0);
    steps(&mut run, &settings, save_every, &stop, |run| save(run, dir, &checkpoint, &tokenizer_json))?;
    save(&run, dir, &checkpoint, &tokenizer_json)?;
    report(&run, &config, &settings, &data, dir)?;
    if !run.is_done() {
        say(&format!("stopped after step {}; the same command with --resume goes on", run.step_count()));
    }
    Ok(())
}

/// Takes steps until the run is done or `stop` is set; saves at intervals.
fn steps(
    run: &mut Trainer<'_>,
    settings: &Settings,
    save_every: Duration,
    stop: &AtomicBool,
    save: impl Fn(&Trainer<'_>) -> Result<()>,
) -> Result<()> {
    let terminal = stderr().is_terminal();
    let (started, before, first) = (Instant::now(), run.seconds, run.step_count());
    let (mut saved, mut said) = (Instant::now(), None::<Instant>);
    let mut held_out = run.points().last().map(|p| p.held_out);
    let mut average = None;
    while !run.is_done() && !stop.load(Ordering::Relaxed) {
        let step = run.step()?;
        run.seconds = before + started.elapsed().as_secs_f64();
        // A mean over about the last twenty steps.
        let mean = average.map_or(step.loss, |mean| mean + 0.05 * (step.loss - mean));
        average = Some(mean);
        if let Some(point) = step.point {
            held_out = Some(point.held_out);
        }
        let due = step.point.is_some() || said.is_none_or(|t| t.elapsed() >= LINE_EVERY);
        if terminal || due {
            let rate = (step.step - first) as f64 / started.elapsed().as_secs_f64();
            let line = format!(
                "step {}/{}  loss {mean:.4}  held out {}  {:.0} tokens/s  {} left",
                step.step,
                settings.steps,
                held_out.map_or("-".into(), |loss| format!("{loss:.4}")),
                rate * settings.tokens_a_step() as f64,
                time((settings.steps - step.step) as f64 / rate),
            );
            if terminal && !due {
                eprint_line(&line);
            } else {
                if terminal {
                    eprint_line(&line);
                    say("");
                } else {
                    say(&line);
                }
                said = Some(Instant::now());
            }
        }
        if saved.elapsed() >= save_every {
            save(run)?;
            saved = Instant::now();
        }
    }
    Ok(())
}

/// Overwrites the terminal's last line.
fn eprint_line(line: &str) {
    use std::io::Write;
    let mut out = stderr();
    let _ = write!(out, "\r{line}\x1b[K").and_then(|()| out.flush());
}

fn time(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as u64;
    if minutes >= 60 {
        format!("{} h {:02} min", minutes / 60, minutes % 60)
    } else {
        format!("{minutes} min")
    }
}

fn save(run: &Trainer<'_>, dir: &Path, checkpoint: &Path, tokenizer_json: &str) -> Result<()> {
    run.save(checkpoint)?;
    run.export(dir, tokenizer_json)?;
    let curve = dir.join("loss.svg");
    atomic_file::write(&curve, curve::svg(run.points()).as_bytes())
        .with_context(|| format!("cannot write {}", curve.display()))
}

/// Measures on everything that is held out and writes training.json.
fn report(run: &Trainer<'_>, config: &Config, settings: &Settings, data: &Data, dir: &Path) -> Result<()> {
    let (held_out, scored) = run.held_out(usize::MAX)?;
    let tokens = run.step_count() * settings.tokens_a_step();
    let bytes_a_token = data.held_out.bytes as f64 / data.held_out.tokens.len() as f64;
    let report = Report {
        schema_version: 1,
        parameters: Table::new(config).len(),
        settings: *settings,
        steps: run.step_count(),
        tokens,
        epochs: tokens as f64 / data.train.tokens.len() as f64,
        train_tokens: data.train.tokens.len(),
        train_bytes: data.train.bytes,
        held_out_tokens: data.held_out.tokens.len(),
        held_out_bytes: data.held_out.bytes,
        seconds: run.seconds,
        loss: run.points().last().map(|p| p.loss),
        held_out,
        held_out_scored: scored,
        perplexity: held_out.exp(),
        bits_per_byte: held_out / std::f64::consts::LN_2 / bytes_a_token,
        points: run.points(),
        changes: run.changes(),
    };
    let path = dir.join("training.json");
    let mut json = serde_json::to_vec_pretty(&report)?;
    json.push(b'\n');
    atomic_file::write(&path, &json).with_context(|| format!("cannot write {}", path.display()))?;
    say(&format!(
        "held out: {held_out:.4} nats a token over {scored} tokens, perplexity {:.2}, {:.4} bits a byte; {:.2} million tokens in {}; {}",
        report.perplexity,
        report.bits_per_byte,
        tokens as f64 / 1e6,
        time(run.seconds),
        dir.display(),
    ));
    Ok(())
}

/// The tokenizer of the directory, the one asked for, or a new one; in this order.
fn tokenizer_json(args: &TrainArgs, text: &str) -> Result<String> {
    let place = args.output.join("tokenizer.json");
    if args.resume && place.exists() {
        return std::fs::read_to_string(&place).with_context(|| format!("cannot read {}", place.display()));
    }
    if let Some(path) = &args.tokenizer {
        let path = if path.is_dir() { path.join("tokenizer.json") } else { path.clone() };
        return std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()));
    }
    say("learning a vocabulary");
    let paragraphs: Vec<&str> = corpus::documents(text).into_iter().flatten().collect();
    Ok(tokenizer::train(&paragraphs, args.vocab)?)
}

fn config(args: &TrainArgs, vocab: usize) -> Result<Config> {
    if let Some(path) = &args.config {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let config = Config::from_json(&text)?;
        if config.vocab < vocab {
            bail!(
                "{} has a vocabulary of {}, the tokenizer has {vocab}; set vocab_size to {vocab}",
                path.display(),
                config.vocab
            );
        }
        return Ok(config);
    }
    let sizes = Sizes {
        hidden: args.hidden,
        layers: args.layers,
        heads: args.heads,
        kv_heads: args.kv_heads,
        head_dim: args.head_dim,
        intermediate: args.intermediate,
        window: args.window,
        context: args.context,
    };
    Ok(sizes.gemma2(vocab)?)
}

fn settings(args: &TrainArgs) -> Settings {
    Settings {
        steps: args.steps,
        batch: args.batch,
        micro_batch: args.micro_batch,
        context: args.context,
        learning_rate: args.learning_rate,
        floor: args.final_rate,
        warmup: args.warmup,
        optimizer: AdamW {
            weight_decay: args.weight_decay,
            clip: args.clip,
            beta2: args.beta2,
            ..AdamW::default()
        },
        init_std: args.init_std,
        seed: args.seed,
        eval_every: args.eval_every,
        eval_rows: args.eval_rows,
    }
}

impl super::args::DeviceArg {
    /// The device.
    pub(super) fn open(self) -> Result<Device> {
        Ok(match self {
            Self::Cpu => Device::Cpu,
            Self::Cuda => {
                Device::new_cuda(0).context("no CUDA device; build with --features cuda, or --device cpu")?
            }
            Self::Metal => Device::new_metal(0)
                .context("no Metal device; build with --features metal, or --device cpu")?,
        })
    }
}
