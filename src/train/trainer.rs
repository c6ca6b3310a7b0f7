//! The loop's body: one step, one measurement, one checkpoint.

use super::autograd::Autograd;
use super::checkpoint::{self, Numbers, State};
use super::config::Settings;
use super::corpus::{Data, Order};
use super::curve::Point;
use super::error::{Error, Result};
use super::export;
use super::fused::{Fused, Workspace};
use super::optimizer::{Segments, learning_rate};
use super::parameters::Table;
use crate::model::Config;
use candle_core::Device;
use rayon::prelude::*;
use std::path::Path;
use std::sync::Mutex;

/// Who computes loss and gradients.
#[derive(Debug)]
enum Engine {
    /// By hand, one micro batch a thread.
    Fused { fused: Box<Fused>, memory: Mutex<Vec<Workspace>> },
    /// By candle, one micro batch after the other.
    Autograd(Box<Autograd>),
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Steps done, this one included.
    pub step: u64,
    /// Mean loss of the step's tokens before the update, nats a token.
    pub loss: f64,
    /// Norm of the gradient before clipping.
    pub norm: f64,
    /// Learning rate of the update.
    pub rate: f64,
    /// Whether a point of the curve was measured.
    pub point: Option<Point>,
}

/// A run.
#[derive(Debug)]
pub struct Trainer<'a> {
    config: Config,
    settings: Settings,
    data: &'a Data,
    fingerprint: String,
    segments: Segments,
    numbers: Numbers,
    grads: Vec<Vec<f32>>,
    order: Order,
    engine: Engine,
    step: u64,
    running: (f64, u64),
    points: Vec<Point>,
    changes: Vec<(u64, u64)>,
    /// Seconds of training, checkpoints and measurements included; counted by the caller.
    pub seconds: f64,
}

impl<'a> Trainer<'a> {
    /// A run from the start.
    ///
    /// # Errors
    /// Settings that make no sense, a text without a window, an impossible configuration, or what the device says.
    pub fn new(config: &Config, settings: &Settings, data: &'a Data, device: &Device) -> Result<Self> {
        let table = Table::new(config);
        let params = table.init(config, settings.init_std, settings.seed)?;
        let (mean, square) = (vec![0.0; table.len()], vec![0.0; table.len()]);
        Self::build(config, settings, data, device, Numbers { params, mean, square }, (0, 0))
    }

    /// A run from where a checkpoint left it. Its length may be another one: the learning rate goes on as if it had been
    /// so from the start, and [`Self::changes`] remembers.
    ///
    /// # Errors
    /// As [`Self::new`]; a checkpoint that cannot be read, or of other settings, another model or other data, or that is
    /// beyond the end.
    pub fn resume(
        path: &Path,
        config: &Config,
        settings: &Settings,
        data: &'a Data,
        device: &Device,
    ) -> Result<Self> {
        let (state, numbers) = checkpoint::read(path)?;
        let differs = |reason: String| Error::Checkpoint { path: path.into(), reason };
        if state.config != export::config_json(config) {
            return Err(differs("is of a model of another configuration".into()));
        }
        if (Settings { steps: settings.steps, ..state.settings }) != *settings {
            let reason = format!("is of other settings: {:?}, not {settings:?}", state.settings);
            return Err(differs(reason));
        }
        if state.step > settings.steps {
            return Err(differs(format!("is of step {}, beyond the last, {}", state.step, settings.steps)));
        }
        let len = Table::new(config).len();
        if [&numbers.params, &numbers.mean, &numbers.square].iter().any(|n| n.len() != len) {
            return Err(differs(format!("does not hold {len} parameters and as many moments")));
        }
        let mut run = Self::build(config, settings, data, device, numbers, (state.epoch, state.next))?;
        if state.data != run.fingerprint {
            return Err(differs("is of another text or tokenizer".into()));
        }
        run.step = state.step;
        run.running = state.running;
        run.points = state.points;
        run.changes = state.changes;
        if state.settings.steps != settings.steps {
            run.changes.push((state.step, state.settings.steps));
        }
        run.seconds = state.seconds;
        Ok(run)
    }

    fn build(
        config: &Config,
        settings: &Settings,
        data: &'a Data,
        device: &Device,
        numbers: Numbers,
        (epoch, next): (u64, usize),
    ) -> Result<Self> {
        config.validate()?;
        settings.validate(config)?;
        let streams = [&data.train.tokens, &data.held_out.tokens];
        if let Some(&id) = streams.into_iter().flatten().find(|id| **id as usize >= config.vocab) {
            return Err(crate::model::Error::Token { id, vocab: config.vocab }.into());
        }
        if data.held_out.windows(settings.context, 0).is_empty() {
            let found = format!("{} held-out tokens", data.held_out.tokens.len());
            return Err(Error::Text {
                found,
                expected: format!("at least one window of {}", settings.context),
            });
        }
        let engine = match Fused::new(config) {
            Ok(fused) if device.is_cpu() => {
                Engine::Fused { fused: Box::new(fused), memory: Mutex::default() }
            }
            _ => Engine::Autograd(Box::new(Autograd::new(config, &numbers.params, device)?)),
        };
        let table = Table::new(config);
        Ok(Self {
            segments: Segments::new(&table),
            order: Order::new(&data.train, settings.seed, settings.context, epoch, next)?,
            fingerprint: data.fingerprint(),
            config: config.clone(),
            settings: *settings,
            data,
            numbers,
            grads: Vec::new(),
            engine,
            step: 0,
            running: (0.0, 0),
            points: Vec::new(),
            changes: Vec::new(),
            seconds: 0.0,
        })
    }

    /// Steps done.
    pub fn step_count(&self) -> u64 {
        self.step
    }

    /// Whether all steps are done.
    pub fn is_done(&self) -> bool {
        self.step >= self.settings.steps
    }

    /// The curve so far.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// How often the length was changed: the step from which on, and the number of steps before.
    pub fn changes(&self) -> &[(u64, u64)] {
        &self.changes
    }

    /// The parameters, in the order of [`Table`].
    pub fn params(&self) -> &[f32] {
        &self.numbers.params
    }

    /// Epoch of the data, and windows of it that are used up.
    pub fn position(&self) -> (u64, usize) {
        self.order.position()
    }

    /// One step: gradients of a batch, an update, and at its time a point of the curve.
    ///
    /// # Errors
    /// Returns an error if the loss is not a number; also the errors of the device.
    pub fn step(&mut self) -> Result<Step> {
        let s = &self.settings;
        let rows: Vec<Vec<u32>> = (0..s.batch)
            .map(|_| {
                let window = self.order.next(&self.data.train);
                self.data.train.row(self.data.bos, window, s.context)
            })
            .collect();
        let tokens = s.tokens_a_step() as f64;
        let loss = self.gradients(&rows, (1.0 / tokens) as f32)? / tokens;
        let norm = self.segments.sum(&mut self.grads);
        if !loss.is_finite() || !norm.is_finite() {
            return Err(Error::Diverged { step: self.step, loss });
        }
        let s = &self.settings;
        let rate = learning_rate(self.step, s.steps, s.warmup, s.learning_rate, s.floor);
        let Numbers { params, mean, square } = &mut self.numbers;
        s.optimizer.update(&self.segments, params, mean, square, &self.grads[0], norm, self.step, rate);
        if let Engine::Autograd(model) = &mut self.engine {
            model.set(params)?;
        }
        self.step += 1;
        self.running = (self.running.0 + loss, self.running.1 + 1);
        let point = if self.step.is_multiple_of(s.eval_every) || self.is_done() {
            let held_out = self.held_out(self.settings.eval_rows)?.0;
            let point = Point {
                step: self.step,
                tokens: self.step * self.settings.tokens_a_step(),
                loss: self.running.0 / self.running.1 as f64,
                held_out,
                rate,
            };
            self.running = (0.0, 0);
            self.points.push(point);
            Some(point)
        } else {
            None
        };
        Ok(Step { step: self.step, loss, norm, rate, point })
    }

    /// Fills `self.grads`, one for each micro batch, and returns the sum of the losses.
    fn gradients(&mut self, rows: &[Vec<u32>], factor: f32) -> Result<f64> {
        let len = self.numbers.params.len();
        let micro: Vec<&[Vec<u32>]> = rows.chunks(self.settings.micro_batch).collect();
        let params = &self.numbers.params;
        match &self.engine {
            Engine::Fused { fused, memory } => {
                self.grads.resize_with(micro.len(), || vec![0.0; len]);
                let losses: Vec<f64> = self
                    .grads
                    .par_iter_mut()
                    .zip(&micro)
                    .with_max_len(1)
                    .map(|(grads, rows)| {
                        grads.fill(0.0);
                        with_workspace(memory, |work| {
                            fused.loss(params, &slices(rows), Some((grads, factor)), work)
                        })
                    })
                    .collect::<Result<_>>()?;
                Ok(losses.iter().sum())
            }
            Engine::Autograd(model) => {
                self.grads.resize_with(1, || vec![0.0; len]);
                let grads = &mut self.grads[0];
                grads.fill(0.0);
                let mut loss = 0.0;
                for rows in micro {
                    loss += model.loss(&slices(rows), Some((grads, factor)))?;
                }
                Ok(loss)
            }
        }
    }

    /// Mean loss on the first `rows` held-out windows (all, if there are fewer), nats a token, and the number of tokens.
    ///
    /// # Errors
    /// What the device says.
    pub fn held_out(&self, rows: usize) -> Result<(f64, u64)> {
        let s = &self.settings;
        let stream = &self.data.held_out;
        let windows = stream.windows(s.context, 0);
        let rows: Vec<Vec<u32>> =
            windows.iter().take(rows).map(|window| stream.row(self.data.bos, *window, s.context)).collect();
        let tokens = (rows.len() * s.context) as u64;
        let params = &self.numbers.params;
        let losses: Vec<f64> = match &self.engine {
            Engine::Fused { fused, memory } => rows
                .par_chunks(s.micro_batch)
                .with_max_len(1)
                .map(|rows| with_workspace(memory, |work| fused.loss(params, &slices(rows), None, work)))
                .collect::<Result<_>>()?,
            Engine::Autograd(model) => rows
                .chunks(s.micro_batch)
                .map(|rows| model.loss(&slices(rows), None))
                .collect::<Result<_>>()?,
        };
        Ok((losses.iter().sum::<f64>() / tokens as f64, tokens))
    }

    /// Writes a checkpoint atomically.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save(&self, path: &Path) -> Result<()> {
        let (epoch, next) = self.order.position();
        let state = State {
            schema_version: 1,
            config: export::config_json(&self.config),
            settings: self.settings,
            data: self.fingerprint.clone(),
            step: self.step,
            epoch,
            next,
            running: self.running,
            seconds: self.seconds,
            points: self.points.clone(),
            changes: self.changes.clone(),
        };
        checkpoint::write(path, &state, &self.numbers)
    }

    /// Writes the model as it is now, see [`export::write`].
    ///
    /// # Errors
    /// What the file system says.
    pub fn export(&self, dir: &Path, tokenizer_json: &str) -> Result<()> {
        export::write(dir, &self.config, &self.numbers.params, tokenizer_json)
    }
}

fn slices(rows: &[Vec<u32>]) -> Vec<&[u32]> {
    rows.iter().map(Vec::as_slice).collect()
}

/// Runs with memory of an earlier pass, if some is free.
fn with_workspace<T>(memory: &Mutex<Vec<Workspace>>, run: impl FnOnce(&mut Workspace) -> T) -> T {
    let free = || memory.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut work = free().pop().unwrap_or_default();
    let result = run(&mut work);
    free().push(work);
    result
}

#[cfg(test)]
mod tests {
    use super::super::tokenizer;
    use super::*;
    use crate::train::Sizes;
    use wmdetect::text::Tokenizer;

    const TEXT: &str = "The old man went down to the river, and the old river went down to the sea.";

    fn data() -> (Data, String, usize) {
        let json = tokenizer::train(&[TEXT; 4], 340).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokenizer.json");
        std::fs::write(&path, &json).unwrap();
        let tokenizer = Tokenizer::open(&path).unwrap();
        let text = vec![TEXT; 300].join("\n");
        (Data::new(&text, &tokenizer).unwrap(), json, tokenizer.vocab_size())
    }

    fn setup(vocab: usize, steps: u64) -> (Config, Settings) {
        let sizes = Sizes {
            hidden: 32,
            layers: 2,
            heads: 2,
            kv_heads: 1,
            head_dim: 16,
            intermediate: 48,
            window: 8,
            context: 32,
        };
        let settings = Settings {
            steps,
            batch: 4,
            micro_batch: 1,
            context: 32,
            learning_rate: 0.02,
            warmup: 5,
            eval_every: 20,
            eval_rows: 2,
            ..Settings::default()
        };
        (sizes.gemma2(vocab).unwrap(), settings)
    }

    #[test]
    fn a_tiny_model_learns_a_sentence_and_the_exported_one_is_the_same() {
        let (data, json, vocab) = data();
        let (config, settings) = setup(vocab, 60);
        let mut run = Trainer::new(&config, &settings, &data, &Device::Cpu).unwrap();
        let first = run.step().unwrap();
        assert!((first.loss - (vocab as f64).ln()).abs() < 0.5, "{first:?}");
        while !run.is_done() {
            run.step().unwrap();
        }
        // Beyond the first sentence, what follows is certain.
        assert!(run.points().last().unwrap().held_out < 0.3, "{:?}", run.points());

        let dir = tempfile::tempdir().unwrap();
        run.export(dir.path(), &json).unwrap();
        let model = crate::model::Gemma::load(dir.path(), crate::model::LoadOptions::default()).unwrap();
        let row = data.held_out.row(data.bos, 0, 32);
        let logits = model.forward_all(&[&row[..32]], &mut model.new_cache(1)).unwrap();
        let logits = logits.squeeze(0).unwrap().to_vec2::<f32>().unwrap();
        let nll: f64 = logits
            .iter()
            .zip(&row[1..])
            .map(|(l, id)| {
                l.iter().map(|v| f64::from(*v).exp()).sum::<f64>().ln() - f64::from(l[*id as usize])
            })
            .sum();
        let fused = Fused::new(&config).unwrap();
        let loss = fused.loss(run.params(), &[&row], None, &mut Workspace::default()).unwrap();
        assert!((nll - loss).abs() < 1e-3, "{nll} {loss}");
    }

    /// Bit for bit, from several places, with threads that finish in any order.
    #[test]
    fn a_resumed_run_ends_like_one_that_was_never_killed() {
        let (data, _, vocab) = data();
        let (config, settings) = setup(vocab, 26);
        let mut whole = Trainer::new(&config, &settings, &data, &Device::Cpu).unwrap();
        while !whole.is_done() {
            whole.step().unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        for kill in [1, 7, 20, 25] {
            let mut run = Trainer::new(&config, &settings, &data, &Device::Cpu).unwrap();
            for step in 0..kill {
                run.step().unwrap();
                // The checkpoint is some steps old when the run dies.
                if step % 3 == 0 {
                    run.save(&path).unwrap();
                }
            }
            drop(run);
            let mut run = Trainer::resume(&path, &config, &settings, &data, &Device::Cpu).unwrap();
            while !run.is_done() {
                run.step().unwrap();
            }
            assert_eq!(run.points(), whole.points(), "killed after {kill}");
            assert_eq!(run.params(), whole.params());
        }
        // Another length goes on from there, and is remembered; the rate that follows is that of the new length.
        let longer = Settings { steps: 30, ..settings };
        let mut run = Trainer::resume(&path, &config, &longer, &data, &Device::Cpu).unwrap();
        assert_eq!(run.changes(), [(run.step_count(), 26)]);
        let rate = run.step().unwrap().rate;
        assert_eq!(
            rate,
            learning_rate(run.step_count() - 1, 30, settings.warmup, settings.learning_rate, settings.floor)
        );
        let short = Settings { steps: 3, ..settings };
        assert!(Trainer::resume(&path, &config, &short, &data, &Device::Cpu).is_err());
        // Other settings, other data, damage.
        let other = Settings { seed: 2, ..settings };
        assert!(Trainer::resume(&path, &config, &other, &data, &Device::Cpu).is_err());
        let mut other = data.clone();
        other.train.tokens[5] = 7;
        assert!(Trainer::resume(&path, &config, &settings, &other, &Device::Cpu).is_err());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
        assert!(Trainer::resume(&path, &config, &settings, &data, &Device::Cpu).is_err());
    }
}
