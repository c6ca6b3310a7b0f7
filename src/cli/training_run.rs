//! A training run of `wmgen train` or `wmgen distill`: its directory, its steps, its report.

use std::io::{IsTerminal, stderr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use schemars::JsonSchema;
use serde::Serialize;
use wmdetect::shell::outputs::Outputs;
use wmdetect::shell::{Hinted, stop_when_asked};
use wmdetect::text::Tokenizer;
use wmdetect::{atomic_file, hex};
use wmgen::model::{Config, Device};
use wmgen::train::curve::{self, Point};
use wmgen::train::examples::Examples;
use wmgen::train::optimizer::AdamW;
use wmgen::train::parameters::Table;
use wmgen::train::{Data, Error, HeldOut, Lessons, Settings, Trainer};

use super::args::RunArgs;
use super::directory_lock::lock_directory;
use super::{model, read_text, say};

/// File name of the checkpoint, which is next to the model in the output directory.
const CHECKPOINT: &str = "checkpoint.safetensors";
/// Time between two lines if standard error is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(20);

/// The report in training.json.
#[derive(Serialize, JsonSchema)]
pub(super) struct Report<'a> {
    /// Version of this object, 1.
    schema_version: u32,
    /// Numbers of the model.
    parameters: usize,
    /// Settings of the run.
    settings: Settings,
    /// Steps done.
    steps: u64,
    /// Tokens seen in these steps.
    tokens: u64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    text: Option<TextSize>,
    /// Time of the steps over all runs, in seconds.
    seconds: f64,
    /// Mean training loss before the last point, in nats per token; null without a point.
    loss: Option<f64>,
    /// Loss on all held-out rows, in nats per token.
    held_out: f64,
    /// Tokens that the held-out loss was measured on.
    held_out_scored: u64,
    /// Exponential of the held-out loss.
    perplexity: f64,
    /// The held-out loss in bits per byte; absent without a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    bits_per_byte: Option<f64>,
    /// Divergence from the teacher on all held-out tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    kl: Option<f64>,
    /// Divergence from a file's targets on all held-out tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_divergence: Option<f64>,
    /// Points of the curve.
    points: &'a [Point],
    /// Changes of --steps during the run: the step, and the former --steps.
    changes: &'a [(u64, u64)],
}

/// Size of a text.
#[derive(Serialize, JsonSchema)]
struct TextSize {
    /// Passes over the training text.
    epochs: f64,
    /// Tokens to train on.
    train_tokens: usize,
    /// Bytes to train on.
    train_bytes: usize,
    /// Held-out tokens.
    held_out_tokens: usize,
    /// Held-out bytes.
    held_out_bytes: usize,
}

/// A run's directory and what will be written to it.
pub(super) struct Place<'a> {
    pub dir: &'a Path,
    pub tokenizer_json: &'a str,
    pub tokenizer: &'a Tokenizer,
    pub config: &'a Config,
    pub settings: &'a Settings,
    pub args: &'a RunArgs,
    /// The text, if the run learns text.
    pub text: Option<&'a Data>,
}

/// Checks the directory of a run before anything is read. Returns whether it holds a run to resume.
pub(super) fn check_directory(dir: &Path, args: &RunArgs, inputs: Outputs) -> Result<bool> {
    save_every(args)?;
    let holds_run = inputs.check_directory(dir, "run", |dir| dir.join(CHECKPOINT).exists())?;
    if holds_run && !args.resume {
        return Err(holds_another(dir, args.resume));
    }
    Ok(holds_run)
}

/// Returns the error that a directory holds another run. With `resume`, that run began after this one had looked.
fn holds_another(dir: &Path, resume: bool) -> anyhow::Error {
    let dir = dir.display();
    let way = if resume { "the same command again" } else { "--resume" };
    let message = format!("cannot begin a run in {dir}: expected a directory without one, found a run");
    Hinted::new(message, format!("{way} goes on with it, or choose another directory")).into()
}

/// Returns the tokenizer.json of the run that is resumed, if there is one. `named` is the tokenizer that was asked for; it
/// must cut texts into the same tokens.
pub(super) fn resumed_tokenizer(dir: &Path, args: &RunArgs, named: Option<&Path>) -> Result<Option<String>> {
    let place = dir.join("tokenizer.json");
    if !args.resume || !place.exists() {
        return Ok(None);
    }
    let json = model::read_tokenizer_json(&place)?;
    if let Some(named) = named {
        let other = model::read_tokenizer_json(named)?;
        let digests = |json: &str, path: &Path| -> Result<[String; 2]> {
            let binding = Tokenizer::from_json_bytes(json.as_bytes(), &path.to_string_lossy())?.binding();
            let rules = binding.rules.map_or_else(|| "none".into(), |rules| hex::encode(&rules));
            Ok([hex::encode(&binding.fingerprint), rules])
        };
        let [expected, found] = [digests(&json, &place)?, digests(&other, named)?];
        let differ = |(i, what): (usize, &str)| {
            let (expected, found) = (&expected[i], &found[i]);
            (expected != found).then(|| format!("tokenizer: {what}: expected {expected}, found {found}"))
        };
        let differences: Vec<String> =
            ["vocabulary", "rules"].into_iter().enumerate().filter_map(differ).collect();
        if !differences.is_empty() {
            return Err(not_resumed(Error::OtherSettings { path: dir.join(CHECKPOINT), differences }));
        }
    }
    Ok(Some(json))
}

/// Returns the time between two checkpoints.
fn save_every(args: &RunArgs) -> Result<Duration> {
    let minutes = args.checkpoint_minutes;
    match Duration::try_from_secs_f64(minutes * 60.0) {
        Ok(time) => Ok(time),
        Err(_) => bail!("--checkpoint-minutes is {minutes}, expected a finite number from 0"),
    }
}

/// Turns a checkpoint's error into one with a hint. Settings that differ are printed first, one a line.
fn not_resumed(error: Error) -> anyhow::Error {
    match error {
        Error::OtherSettings { path, differences } => {
            for difference in &differences {
                say(difference);
            }
            let (path, count) = (path.display(), differences.len());
            Hinted::new(
                format!("the checkpoint {path} is of other settings: expected those that it was made with, found {count} that differ"),
                "give the settings that it was made with, or start afresh in another directory",
            )
            .into()
        }
        Error::Checkpoint { .. } => Hinted::new(
            error.to_string(),
            "start afresh in another directory, or give what the run was started with",
        )
        .into(),
        error => error.into(),
    }
}

/// Turns a step's error into one with a hint.
fn not_taken(error: Error) -> anyhow::Error {
    match error {
        Error::Diverged { .. } => {
            Hinted::new(error.to_string(), "start afresh in another directory with a lower --learning-rate")
                .into()
        }
        error => error.into(),
    }
}

/// Reads the texts of files and joins them.
pub(super) fn read_texts(paths: &[PathBuf]) -> Result<String> {
    let mut text = String::new();
    for path in paths {
        text.push_str(&read_text(path)?);
        text.push_str("\n\n");
    }
    Ok(text)
}

/// Reads the examples of a file, and says how many are left out.
pub(super) fn read_examples(path: &Path, tokenizer: &Tokenizer, context: usize) -> Result<Examples> {
    let examples = Examples::new(&read_text(path)?, path, tokenizer, context)?;
    if examples.too_long > 0 {
        say(&format!(
            "warning: {} examples have more than {} tokens and are left out; a greater --context takes them",
            examples.too_long,
            context + 1
        ));
    }
    Ok(examples)
}

impl Place<'_> {
    /// Starts or resumes the run, takes its steps and reports.
    pub(super) fn train(
        &self,
        holds_run: bool,
        params: Option<Vec<f32>>,
        lessons: Lessons<'_>,
    ) -> Result<()> {
        let Self { dir, config, settings, .. } = *self;
        let checkpoint = dir.join(CHECKPOINT);
        let device = self.args.device.open()?;
        // A run that goes on is locked before its checkpoint is read.
        let resumed = if holds_run { Some(lock_directory(dir)?) } else { None };
        let size = lessons.source.size();
        let mut run = match params {
            _ if holds_run => {
                Trainer::resume(&checkpoint, config, settings, lessons, &device).map_err(not_resumed)?
            }
            Some(params) => Trainer::from(config, params, settings, lessons, &device)?,
            None => Trainer::new(config, settings, lessons, &device)?,
        };
        say(&format!(
            "{:.1} million parameters; {size}; {} of {} steps done",
            Table::new(config).len() as f64 / 1e6,
            run.step_count(),
            settings.steps,
        ));
        // All checks are done; from here on the directory belongs to the run.
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let _lock = if let Some(lock) = resumed {
            lock
        } else {
            let lock = lock_directory(dir)?;
            // Another run may have begun and ended here since the directory was checked.
            if checkpoint.exists() {
                return Err(holds_another(dir, self.args.resume));
            }
            lock
        };
        let stop = stop_when_asked()?;
        let save_every = save_every(self.args)?;
        let save = |run: &Trainer<'_>| save(run, dir, &checkpoint, self.tokenizer_json);
        steps(&mut run, settings, self.tokenizer, save_every, &stop, save)?;
        save(&run)?;
        report(&run, self)?;
        if !run.is_done() {
            say(&format!("stopped after step {}; the same command with --resume goes on", run.step_count()));
        }
        Ok(())
    }
}

/// Takes steps until the run is done or `stop` is set, and saves at intervals.
fn steps(
    run: &mut Trainer<'_>,
    settings: &Settings,
    tokenizer: &Tokenizer,
    save_every: Duration,
    stop: &AtomicBool,
    save: impl Fn(&Trainer<'_>) -> Result<()>,
) -> Result<()> {
    let terminal = stderr().is_terminal();
    let (started, before, first) = (Instant::now(), run.seconds, run.step_count());
    let (mut saved, mut said) = (Instant::now(), None::<Instant>);
    let last = run.points().last();
    let (mut held_out, mut divergence) = (last.map(|p| p.held_out), last.map(divergence_of));
    let (mut average, mut tokens) = (None, 0);
    while !run.is_done() && !stop.load(Ordering::Relaxed) {
        let step = run.step().map_err(not_taken)?;
        run.seconds = before + started.elapsed().as_secs_f64();
        // A mean over about the last twenty steps.
        let mean = average.map_or(step.loss, |mean| mean + 0.05 * (step.loss - mean));
        average = Some(mean);
        tokens += step.tokens;
        if let Some(point) = &step.point {
            (held_out, divergence) = (Some(point.held_out), Some(divergence_of(point)));
        }
        let due = step.point.is_some() || said.is_none_or(|t| t.elapsed() >= LINE_EVERY);
        if terminal || due {
            let rate = (step.step - first) as f64 / started.elapsed().as_secs_f64();
            let line = format!(
                "step {}/{}  loss {mean:.4}  held out {}{}  {:.0} tokens/s  {} left",
                step.step,
                settings.steps,
                held_out.map_or("-".into(), |loss| format!("{loss:.4}")),
                divergence.as_deref().unwrap_or_default(),
                tokens as f64 / started.elapsed().as_secs_f64(),
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
        if step.point.is_some() && settings.distillation.is_some() {
            let text = |ids: &[u32]| tokenizer.decode(ids);
            // The sample shows how the student writes; the run does not depend on it.
            match run.sample() {
                Ok((prompt, rest)) => {
                    say(&format!("sample: {:?} goes on with {:?}", text(&prompt), text(&rest)));
                }
                Err(error) => say(&format!("warning: no sample: {error}")),
            }
        }
        if saved.elapsed() >= save_every {
            save(run)?;
            saved = Instant::now();
        }
    }
    Ok(())
}

/// Formats a point's divergence for the log.
fn divergence_of(point: &Point) -> String {
    match (point.kl, point.target_divergence) {
        (Some(kl), _) => format!("  KL {kl:.4}"),
        (None, Some(divergence)) => format!("  divergence from the targets {divergence:.4}"),
        (None, None) => String::new(),
    }
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

/// Measures on everything that is held out, and writes training.json.
fn report(run: &Trainer<'_>, place: &Place<'_>) -> Result<()> {
    let HeldOut { loss: held_out, kl, target_divergence, tokens: scored } = run.held_out(usize::MAX)?;
    let (tokens, dir) = (run.tokens(), place.dir);
    let bits_per_byte = place.text.map(|data| {
        let bytes_a_token = data.held_out.bytes as f64 / data.held_out.tokens.len() as f64;
        held_out / std::f64::consts::LN_2 / bytes_a_token
    });
    let report = Report {
        schema_version: 1,
        parameters: Table::new(place.config).len(),
        settings: *place.settings,
        steps: run.step_count(),
        tokens,
        text: place.text.map(|data| TextSize {
            epochs: tokens as f64 / data.train.tokens.len() as f64,
            train_tokens: data.train.tokens.len(),
            train_bytes: data.train.bytes,
            held_out_tokens: data.held_out.tokens.len(),
            held_out_bytes: data.held_out.bytes,
        }),
        seconds: run.seconds,
        loss: run.points().last().map(|p| p.loss),
        held_out,
        held_out_scored: scored,
        perplexity: held_out.exp(),
        bits_per_byte,
        kl,
        target_divergence,
        points: run.points(),
        changes: run.changes(),
    };
    let path = dir.join("training.json");
    let mut json = serde_json::to_vec_pretty(&report)?;
    json.push(b'\n');
    atomic_file::write(&path, &json).with_context(|| format!("cannot write {}", path.display()))?;
    say(&format!(
        "held out: {held_out:.4} nats a token over {scored} tokens, perplexity {:.2}{}{}{}; {:.2} million tokens in {}; {}",
        report.perplexity,
        bits_per_byte.map_or_else(String::new, |bits| format!(", {bits:.4} bits a byte")),
        kl.map_or_else(String::new, |kl| format!(", KL {kl:.4} to the teacher")),
        target_divergence
            .map_or_else(String::new, |value| format!(", divergence from the targets {value:.4}")),
        tokens as f64 / 1e6,
        time(run.seconds),
        dir.display(),
    ));
    Ok(())
}

/// Returns the settings of a run without a teacher.
pub(super) fn settings(args: &RunArgs, steps: u64) -> Settings {
    Settings {
        steps,
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
        distillation: None,
    }
}

impl super::args::DeviceArg {
    /// Opens the device.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_is_resumed_is_not_told_to_resume() {
        let hinted = |resume| {
            let error = holds_another(Path::new("m"), resume);
            format!("{:?}", error.downcast_ref::<Hinted>().unwrap())
        };
        assert!(hinted(false).contains("--resume goes on with it"), "{}", hinted(false));
        let again = hinted(true);
        assert!(again.contains("the same command again goes on") && !again.contains("--resume"), "{again}");
    }

    #[test]
    fn a_run_that_diverged_is_to_start_afresh() {
        let error = not_taken(Error::Diverged { step: 2, what: "gradient norm", found: f64::NAN });
        assert_eq!(
            error.to_string(),
            "training has diverged at step 2: expected a finite gradient norm, found NaN"
        );
        let hinted = format!("{:?}", error.downcast_ref::<Hinted>().unwrap());
        assert!(
            hinted.contains("start afresh in another directory with a lower --learning-rate"),
            "{hinted}"
        );
    }
}
