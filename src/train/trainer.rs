//! A training run: its steps, measurements and checkpoints.

use super::checkpoint::{self, Numbers, State};
use super::config::Settings;
use super::curve::Point;
use super::error::{Error, Result};
use super::export;
use super::gradients::Engine;
use super::objective::{Divergence, Goals, Lesson, ListRule};
use super::on_policy::{self, Draws};
use super::optimizer::{Segments, learning_rate};
use super::parameters::Table;
use super::rows::{Order, Row, Source, lesson, with_goals};
use super::teacher::Teacher;
use crate::model::Config;
use candle_core::Device;
use std::path::Path;

/// Results of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Number of steps done, including this one.
    pub step: u64,
    /// Mean loss of the step's tokens before the update, in nats per token.
    pub loss: f64,
    /// Number of tokens that were learned.
    pub tokens: u64,
    /// Norm of the gradient before clipping.
    pub norm: f64,
    /// Learning rate of the update.
    pub rate: f64,
    /// Point of the curve, if one was measured.
    pub point: Option<Point>,
}

/// Data to learn from.
#[derive(Debug, Clone)]
pub struct Lessons<'a> {
    /// Source of the rows.
    pub source: &'a dyn Source,
    /// Teacher that gives each token's distribution. `None` if the next token itself is learned, or the rows include their
    /// targets.
    pub teacher: Option<&'a Teacher>,
    /// Tokens that end a sample of the student.
    pub ends: Vec<u32>,
}

impl<'a, S: Source> From<&'a S> for Lessons<'a> {
    fn from(source: &'a S) -> Self {
        Self { source, teacher: None, ends: Vec::new() }
    }
}

/// Measurements on held-out rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeldOut {
    /// Mean loss of the next token, in nats per token.
    pub loss: f64,
    /// Divergence KL(teacher‖student), in nats per token, if there is a live teacher.
    pub kl: Option<f64>,
    /// Divergence from a file's targets, in nats per token. For most likely tokens, it is over them and the rest as one
    /// more token. For sampled tokens, it is over these, renormalised, against the student's whole distribution.
    pub target_divergence: Option<f64>,
    /// Number of tokens measured.
    pub tokens: u64,
}

/// A training run.
#[derive(Debug)]
pub struct Trainer<'a> {
    config: Config,
    settings: Settings,
    lessons: Lessons<'a>,
    fingerprint: String,
    segments: Segments,
    numbers: Numbers,
    grads: Vec<Vec<f32>>,
    order: Order,
    engine: Engine,
    step: u64,
    tokens: u64,
    running: (f64, u64),
    points: Vec<Point>,
    changes: Vec<(u64, u64)>,
    /// Seconds of training, including checkpoints and measurements; counted by the caller.
    pub seconds: f64,
}

impl<'a> Trainer<'a> {
    /// Starts a new run.
    ///
    /// # Errors
    /// Returns an error if the settings make no sense, the text is shorter than a window, or the configuration is
    /// impossible. Also returns the errors of the device.
    pub fn new(
        config: &Config,
        settings: &Settings,
        lessons: impl Into<Lessons<'a>>,
        device: &Device,
    ) -> Result<Self> {
        let params = Table::new(config).init(config, settings.init_std, settings.seed);
        Self::from(config, params, settings, lessons, device)
    }

    /// Starts a run from a model's parameters, in the order of [`Table`].
    ///
    /// # Errors
    /// Returns the errors of [`Self::new`].
    pub fn from(
        config: &Config,
        params: Vec<f32>,
        settings: &Settings,
        lessons: impl Into<Lessons<'a>>,
        device: &Device,
    ) -> Result<Self> {
        let (mean, square) = (vec![0.0; params.len()], vec![0.0; params.len()]);
        Self::build(config, settings, lessons.into(), device, Numbers { params, mean, square }, (0, 0))
    }

    /// Continues a run from a checkpoint. Its length may differ: the learning rate then continues as if the run always had
    /// this length, and [`Self::changes`] records the change.
    ///
    /// # Errors
    /// Returns the errors of [`Self::new`]. Also returns an error if the checkpoint cannot be read, is beyond the end, or
    /// has other settings, another model or other data.
    pub fn resume(
        path: &Path,
        config: &Config,
        settings: &Settings,
        lessons: impl Into<Lessons<'a>>,
        device: &Device,
    ) -> Result<Self> {
        let lessons = lessons.into();
        let (state, numbers) = checkpoint::read(path)?;
        let differs = |reason: String| Error::Checkpoint { path: path.into(), reason };
        if state.config != export::config_json(config) {
            return Err(differs("is of a model of another configuration".into()));
        }
        let differences = state.settings.differences(settings);
        if !differences.is_empty() {
            return Err(Error::OtherSettings { path: path.into(), differences });
        }
        if state.step > settings.steps {
            return Err(differs(format!("is of step {}, beyond the last, {}", state.step, settings.steps)));
        }
        let len = Table::new(config).len();
        if [&numbers.params, &numbers.mean, &numbers.square].iter().any(|n| n.len() != len) {
            return Err(differs(format!("does not hold {len} parameters and as many moments")));
        }
        if state.teacher.as_deref() != lessons.teacher.map(Teacher::fingerprint) {
            return Err(differs("is of another teacher".into()));
        }
        let mut run = Self::build(config, settings, lessons, device, numbers, (state.epoch, state.next))?;
        if state.data != run.fingerprint {
            return Err(differs("is of another text or tokenizer".into()));
        }
        run.step = state.step;
        run.tokens = if state.tokens == 0 { state.step * settings.tokens_a_step() } else { state.tokens };
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
        lessons: Lessons<'a>,
        device: &Device,
        numbers: Numbers,
        (epoch, next): (u64, usize),
    ) -> Result<Self> {
        config.validate()?;
        settings.validate(config)?;
        let id = lessons.source.largest_id();
        if id as usize >= config.vocab {
            return Err(crate::model::Error::Token { id, vocab: config.vocab }.into());
        }
        if let Some(teacher) = lessons.teacher.filter(|teacher| teacher.context() < settings.context) {
            let expected = format!("at most {}, the teacher's positions", teacher.context());
            return Err(Error::Setting { name: "--context", found: settings.context.to_string(), expected });
        }
        if lessons.source.held_out(settings.context, 1).is_empty() {
            let expected = format!("at least one window of {} held out", settings.context);
            return Err(Error::Text { found: lessons.source.size(), expected });
        }
        let engine = Engine::new(config, &numbers.params, device)?;
        let table = Table::new(config);
        Ok(Self {
            segments: Segments::new(&table),
            order: Order::new(lessons.source, settings.seed, settings.context, epoch, next)?,
            fingerprint: lessons.source.fingerprint(),
            config: config.clone(),
            settings: *settings,
            lessons,
            numbers,
            grads: Vec::new(),
            engine,
            step: 0,
            tokens: 0,
            running: (0.0, 0),
            points: Vec::new(),
            changes: Vec::new(),
            seconds: 0.0,
        })
    }

    /// Returns the number of steps done.
    pub fn step_count(&self) -> u64 {
        self.step
    }

    /// Returns whether all steps are done.
    pub fn is_done(&self) -> bool {
        self.step >= self.settings.steps
    }

    /// Returns the curve so far.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Returns the changes of the length: the step from which on, and the number of steps before.
    pub fn changes(&self) -> &[(u64, u64)] {
        &self.changes
    }

    /// Returns the parameters, in the order of [`Table`].
    pub fn params(&self) -> &[f32] {
        &self.numbers.params
    }

    /// Returns the number of tokens learned.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Returns the epoch of the data, and the number of its windows that are used up.
    pub fn position(&self) -> (u64, usize) {
        self.order.position()
    }

    /// Takes one step: gradients of a batch, an update and, when it is due, a point of the curve.
    ///
    /// # Errors
    /// Returns an error if the loss or the gradient is not finite, and the errors of the device.
    pub fn step(&mut self) -> Result<Step> {
        let rows = self.batch()?;
        let count = rows.iter().map(|row| row.count() as u64).sum::<u64>();
        let tokens = count.max(1) as f64;
        let loss = self.gradients(&rows, (1.0 / tokens) as f32)? / tokens;
        let norm = self.segments.sum(&mut self.grads);
        check_finite(self.step + 1, loss, norm)?;
        let s = &self.settings;
        let rate = learning_rate(self.step, s.steps, s.warmup, s.learning_rate, s.floor);
        let Numbers { params, mean, square } = &mut self.numbers;
        s.optimizer.update(&self.segments, params, mean, square, &self.grads[0], norm, self.step, rate);
        self.engine.set(params)?;
        self.step += 1;
        self.tokens += count;
        self.running = (self.running.0 + loss, self.running.1 + 1);
        let point = if self.step.is_multiple_of(s.eval_every) || self.is_done() {
            let HeldOut { loss: held_out, kl, target_divergence, .. } =
                self.held_out(self.settings.eval_rows)?;
            let loss = self.running.0 / self.running.1 as f64;
            let (step, tokens) = (self.step, self.tokens);
            let point = Point { step, tokens, loss, held_out, kl, target_divergence, rate };
            self.running = (0.0, 0);
            self.points.push(point);
            Some(point)
        } else {
            None
        };
        Ok(Step { step: self.step, loss, tokens: count, norm, rate, point })
    }

    /// Returns the rows of the next step, from the source or from the student. The source's order advances in either case.
    fn batch(&mut self) -> Result<Vec<Row>> {
        let (s, source) = (&self.settings, self.lessons.source);
        let mut row = |_| source.row(self.order.next(source), s.context);
        let rows: Vec<Row> = (0..s.batch).map(&mut row).collect();
        match &s.distillation {
            Some(d) if on_policy::is_on_policy(s.seed, self.step, d.lmbda) => self.continued(&rows),
            _ => Ok(rows),
        }
    }

    /// Returns the student's continuations of the prompts of rows.
    fn continued(&self, rows: &[Row]) -> Result<Vec<Row>> {
        let s = &self.settings;
        let Some(d) = &s.distillation else { return Ok(rows.to_vec()) };
        let draws = Draws {
            max_tokens: d.max_completion_length,
            temperature: d.divergence.temperature,
            ends: self.lessons.ends.clone(),
            prompt_tokens: d.prompt_tokens,
            seed: s.seed,
        };
        let config = Config { max_position: s.context, ..self.config.clone() };
        let model = on_policy::student(&config, &self.numbers.params)?;
        on_policy::continue_rows(&model, rows, &draws, self.step)
    }

    /// Returns the current student's sample for the first held-out row: prompt and continuation.
    ///
    /// # Errors
    /// Returns an error if the model fails.
    pub fn sample(&self) -> Result<(Vec<u32>, Vec<u32>)> {
        let rows = self.continued(&self.lessons.source.held_out(self.settings.context, 1))?;
        let Some(row) = rows.into_iter().next() else { return Ok((Vec::new(), Vec::new())) };
        let (prompt, rest) = row.ids.split_at(row.prompt.unwrap_or(0));
        Ok((prompt.to_vec(), rest.to_vec()))
    }

    /// Makes a lesson of a micro batch.
    fn lesson(&self, rows: &[Row]) -> Result<Lesson> {
        match (&self.settings.distillation, self.lessons.teacher) {
            (Some(d), Some(teacher)) => teacher.lesson(rows, d.divergence),
            _ => Ok(lesson(rows, self.lessons.source.rule())),
        }
    }

    /// Returns how many rows have their goals in memory at once: one micro batch per thread, since a teacher's logits are
    /// large.
    fn group(&self) -> usize {
        rayon::current_num_threads().saturating_mul(self.settings.micro_batch)
    }

    /// Fills `self.grads`, one entry for each micro batch, and returns the sum of the losses.
    fn gradients(&mut self, rows: &[Row], factor: f32) -> Result<f64> {
        let (len, size) = (self.numbers.params.len(), self.settings.micro_batch);
        let runs = self.engine.runs(rows.len().div_ceil(size));
        let mut grads = std::mem::take(&mut self.grads);
        grads.resize_with(runs, Vec::new);
        for run in &mut grads {
            run.clear();
            run.resize(len, 0.0);
        }
        let mut losses = Vec::new();
        for group in rows.chunks(self.group()) {
            let lessons = group.chunks(size).map(|rows| self.lesson(rows)).collect::<Result<Vec<_>>>()?;
            let first = losses.len().min(runs - 1);
            losses.extend(self.engine.learn(&self.numbers.params, &lessons, &mut grads[first..], factor)?);
        }
        self.grads = grads;
        Ok(losses.iter().sum())
    }

    /// Returns the mean loss on the first `rows` held-out rows (all, if there are fewer), and the divergence from the
    /// teacher or from the targets of a file.
    ///
    /// # Errors
    /// Returns the errors of the device.
    pub fn held_out(&self, rows: usize) -> Result<HeldOut> {
        let rows = self.lessons.source.held_out(self.settings.context, rows);
        let tokens = rows.iter().map(|row| row.count() as u64).sum::<u64>();
        let taught = self.lessons.teacher.is_some() || self.lessons.source.rule().is_some();
        let (mut losses, mut divergences) = (Vec::new(), Vec::new());
        for group in rows.chunks(self.group()) {
            let parts = || group.chunks(self.settings.micro_batch);
            let ids: Vec<Lesson> = parts().map(|rows| with_goals(rows, Goals::Ids)).collect();
            losses.extend(self.engine.measure(&self.numbers.params, &ids)?);
            if taught {
                let lessons = parts().map(|rows| self.forward(rows)).collect::<Result<Vec<_>>>()?;
                divergences.extend(self.engine.measure(&self.numbers.params, &lessons)?);
                // The cross-entropy is the divergence plus the teacher's entropy.
                divergences.extend(lessons.iter().map(|lesson| -lesson.entropy()));
            }
        }
        let mean = |sums: &[f64]| sums.iter().sum::<f64>() / tokens.max(1) as f64;
        let divergence = taught.then(|| mean(&divergences));
        let (kl, target_divergence) =
            if self.lessons.teacher.is_some() { (divergence, None) } else { (None, divergence) };
        Ok(HeldOut { loss: mean(&losses), kl, target_divergence, tokens })
    }

    /// Makes a lesson of a micro batch with the teacher's distributions, for the forward divergence.
    fn forward(&self, rows: &[Row]) -> Result<Lesson> {
        if let Some(teacher) = self.lessons.teacher {
            return teacher.lesson(rows, Divergence::FORWARD);
        }
        let rule = match self.lessons.source.rule() {
            Some(ListRule::Divergence(_)) => Some(ListRule::Divergence(Divergence::FORWARD)),
            other => other,
        };
        Ok(lesson(rows, rule))
    }

    /// Writes a checkpoint atomically.
    ///
    /// # Errors
    /// Returns the errors of the file system.
    pub fn save(&self, path: &Path) -> Result<()> {
        let (epoch, next) = self.order.position();
        let state = State {
            schema_version: 1,
            config: export::config_json(&self.config),
            settings: self.settings,
            data: self.fingerprint.clone(),
            teacher: self.lessons.teacher.map(|teacher| teacher.fingerprint().to_owned()),
            step: self.step,
            tokens: self.tokens,
            epoch,
            next,
            running: self.running,
            seconds: self.seconds,
            points: self.points.clone(),
            changes: self.changes.clone(),
        };
        checkpoint::write(path, &state, &self.numbers)
    }

    /// Writes the current model; see [`export::write`].
    ///
    /// # Errors
    /// Returns the errors of the file system.
    pub fn export(&self, dir: &Path, tokenizer_json: &str) -> Result<()> {
        export::write(dir, &self.config, &self.numbers.params, tokenizer_json)
    }
}

/// Checks that a step can be taken.
fn check_finite(step: u64, loss: f64, norm: f64) -> Result<()> {
    let values = [("loss", loss), ("gradient norm", norm)];
    match values.into_iter().find(|(_, value)| !value.is_finite()) {
        Some((what, found)) => Err(Error::Diverged { step, what, found }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fused::{Fused, Workspace};
    use super::super::targets::{self, Choice, Targets};
    use super::super::tokenizer;
    use super::*;
    use crate::train::{Data, Distillation, Sizes};
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
        // After the first sentence, the rest is certain.
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

    #[test]
    fn a_loss_or_gradient_that_is_not_finite_ends_the_run_and_is_named() {
        let (data, _, vocab) = data();
        let (config, settings) = setup(vocab, 2);
        let params = vec![f32::NAN; Table::new(&config).len()];
        let mut run = Trainer::from(&config, params, &settings, &data, &Device::Cpu).unwrap();
        let error = run.step().unwrap_err().to_string();
        assert!(error.starts_with("training has diverged at step 1: expected a finite "), "{error}");
        let error = check_finite(2, 1.0, f64::INFINITY).unwrap_err().to_string();
        assert!(error.ends_with("at step 2: expected a finite gradient norm, found inf"), "{error}");
    }

    #[test]
    fn a_micro_batch_may_be_larger_than_any_batch() {
        let (data, _, vocab) = data();
        let (config, settings) = setup(vocab, 1);
        let loss = |micro_batch| {
            let settings = Settings { micro_batch, ..settings };
            Trainer::new(&config, &settings, &data, &Device::Cpu).unwrap().step().unwrap().loss
        };
        assert_eq!(loss(1_usize << (usize::BITS - 1)), loss(settings.batch));
    }

    /// Compares bit by bit, from several points, with threads that finish in any order.
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
                // When the run dies, the checkpoint is some steps old.
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
        // A run with another length continues from there, which is recorded. The rates that follow are those of the new
        // length.
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
        // Other settings, other data and damage are refused.
        let other = Settings { seed: 2, ..settings };
        let error = Trainer::resume(&path, &config, &other, &data, &Device::Cpu).unwrap_err().to_string();
        assert!(error.ends_with("of other settings: seed: expected 1, found 2"), "{error}");
        let mut other = data.clone();
        other.train.tokens[5] = 7;
        assert!(Trainer::resume(&path, &config, &settings, &other, &Device::Cpu).is_err());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
        assert!(Trainer::resume(&path, &config, &settings, &data, &Device::Cpu).is_err());
    }

    /// Tries a live teacher, on-policy and off-policy: the divergence falls, and a run that was killed ends with the same
    /// bits.
    #[test]
    fn a_resumed_distillation_ends_like_one_that_was_never_killed() {
        let (data, _, vocab) = data();
        let (config, settings) = setup(vocab, 40);
        let mut taught = Trainer::new(&config, &settings, &data, &Device::Cpu).unwrap();
        while !taught.is_done() {
            taught.step().unwrap();
        }
        let teacher = Teacher::new(on_policy::student(&config, taught.params()).unwrap(), vocab).unwrap();
        let divergence = Divergence { beta: 0.5, temperature: 1.0, loss_top_k: 0, loss_add_tail: true };
        let distillation =
            Distillation { lmbda: 0.5, divergence, max_completion_length: 12, prompt_tokens: 4 };
        let settings = Settings { steps: 60, eval_every: 20, distillation: Some(distillation), ..settings };
        let lessons = || Lessons { source: &data, teacher: Some(&teacher), ends: vec![1] };
        let mut whole = Trainer::new(&config, &settings, lessons(), &Device::Cpu).unwrap();
        let mut tokens = Vec::new();
        while !whole.is_done() {
            tokens.push(whole.step().unwrap().tokens);
        }
        // A row of the text has 32 tokens, a sample at most 12.
        assert!(tokens.contains(&128) && tokens.iter().any(|count| *count <= 48), "{tokens:?}");
        let kl: Vec<f64> = whole.points().iter().map(|p| p.kl.unwrap()).collect();
        assert!(kl.len() == 3 && kl[2] < 0.5 * kl[0] && kl[2] > 0.0, "{kl:?}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        for kill in [3, 33] {
            let mut run = Trainer::new(&config, &settings, lessons(), &Device::Cpu).unwrap();
            for step in 0..kill {
                run.step().unwrap();
                if step % 4 == 0 {
                    run.save(&path).unwrap();
                }
            }
            let mut run = Trainer::resume(&path, &config, &settings, lessons(), &Device::Cpu).unwrap();
            while !run.is_done() {
                run.step().unwrap();
            }
            assert_eq!(run.points(), whole.points(), "killed after {kill}");
            assert_eq!(run.params(), whole.params());
        }
        assert!(Trainer::resume(&path, &config, &settings, &data, &Device::Cpu).is_err(), "no teacher");
        assert!(Teacher::new(on_policy::student(&config, taught.params()).unwrap(), vocab + 1).is_err());
    }

    /// What is written is what the teacher says. Another tokenizer and damage are refused.
    #[test]
    fn targets_come_back_from_their_file_and_teach() {
        let (data, _, vocab) = data();
        let (config, settings) = setup(vocab, 12);
        let params = Table::new(&config).init(&config, 0.2, 5);
        let teacher = Teacher::new(on_policy::student(&config, &params).unwrap(), vocab).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("targets.safetensors");
        let divergence = Divergence { beta: 0.0, ..Divergence::FORWARD };
        for choice in [Choice::TopK, Choice::Sampled] {
            let count =
                targets::write(&path, &data, &teacher, (32, 2), (vocab, choice), 1, "print", |_, _| {})
                    .unwrap();
            let read = Targets::read(&path, "print", vocab, divergence).unwrap();
            assert!(count > 64 && read.context() == 32);
            let distillation =
                Distillation { lmbda: 0.0, divergence, max_completion_length: 12, prompt_tokens: 4 };
            let settings = Settings { distillation: Some(distillation), ..settings };
            let mut listed = Trainer::new(&config, &settings, &read, &Device::Cpu).unwrap();
            // Every entry of the vocabulary is listed, so this is the live teacher's divergence.
            let lessons = Lessons { source: &data, teacher: Some(&teacher), ends: Vec::new() };
            let live = Trainer::new(&config, &settings, lessons, &Device::Cpu).unwrap();
            let (a, b) = (listed.held_out(2).unwrap(), live.held_out(2).unwrap());
            let from_file = a.target_divergence.unwrap();
            assert!((from_file / b.kl.unwrap() - 1.0).abs() < 1e-4 && a.loss == b.loss, "{a:?} {b:?}");
            assert_eq!((a.kl, b.target_divergence), (None, None));
            while !listed.is_done() {
                listed.step().unwrap();
            }
            assert!(listed.points()[0].target_divergence.unwrap() < 0.8 * from_file);
        }
        let message = |result: Result<Targets>| result.unwrap_err().to_string();
        let other = message(Targets::read(&path, "footprint", vocab, divergence));
        assert!(other.contains("expected fingerprint footprint, found print"), "{other}");
        let reverse = Divergence { beta: 1.0, ..divergence };
        assert!(message(Targets::read(&path, "print", vocab, reverse)).contains("beta must be 0"));
        assert!(message(Targets::read(&path, "print", 10, divergence)).contains("expected ids below 10"));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
        assert!(message(Targets::read(&path, "print", vocab, divergence)).contains("cannot be read"));
    }
}
