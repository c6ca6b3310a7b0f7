//! The settings of a run, and a small Gemma 2's configuration.

use super::error::{Error, Result};
use super::objective::Divergence;
use super::optimizer::AdamW;
use super::tokenizer::{BOS, EOS};
use crate::model::config::RopeBase;
use crate::model::{Architecture, Config, LayerKind};

/// Everything besides model and data that a run's result depends on. Two runs with the same settings end with the same
/// parameters, bit for bit, on one kind of processor, whatever the number of threads.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Steps of the whole run; the learning rate falls towards the last.
    pub steps: u64,
    /// Rows of a step.
    pub batch: usize,
    /// Rows that one thread works on at a time.
    pub micro_batch: usize,
    /// Tokens of a row that are predicted.
    pub context: usize,
    /// Largest learning rate.
    pub learning_rate: f64,
    /// What the learning rate falls to, as a share of the largest.
    pub floor: f64,
    /// Steps of the rise to the largest learning rate.
    pub warmup: u64,
    /// The optimiser.
    pub optimizer: AdamW,
    /// Standard deviation of the first parameters.
    pub init_std: f32,
    /// Seed of the first parameters and of the order of the data.
    pub seed: u64,
    /// Steps between two points of the curve.
    pub eval_every: u64,
    /// Held-out rows that a point is measured on; all if there are fewer.
    pub eval_rows: usize,
    /// How a teacher is learned from; none in a run that learns from ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distillation: Option<Distillation>,
}

/// How a teacher is learned from; names and meanings are those of TRL's `DistillationTrainer`.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distillation {
    /// Share of steps on the student's own samples.
    pub lmbda: f64,
    /// The loss.
    pub divergence: Divergence,
    /// Tokens of a sample at most.
    pub max_completion_length: usize,
    /// Tokens of a text's row that are the prompt of a sample.
    pub prompt_tokens: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            steps: 1000,
            batch: 16,
            micro_batch: 4,
            context: 512,
            learning_rate: 3e-3,
            floor: 0.1,
            warmup: 100,
            optimizer: AdamW::default(),
            init_std: 0.02,
            seed: 1,
            eval_every: 100,
            eval_rows: 64,
            distillation: None,
        }
    }
}

impl Settings {
    /// Refuses what cannot be run.
    ///
    /// # Errors
    /// Names the first impossible setting.
    pub fn validate(&self, config: &Config) -> Result<()> {
        const ABOVE: &str = "a finite number above 0";
        const BELOW: &str = "a number from 0 and below 1";
        let at_least_one = [
            ("--steps", self.steps),
            ("--batch", self.batch as u64),
            ("--micro-batch", self.micro_batch as u64),
            ("--context", self.context as u64),
            ("--eval-every", self.eval_every),
            ("--eval-rows", self.eval_rows as u64),
        ];
        for (name, value) in at_least_one {
            if value == 0 {
                return Err(Error::Setting { name, found: "0".into(), expected: "at least 1".into() });
            }
        }
        if self.context > config.max_position {
            let expected = format!("at most {}, the model's positions", config.max_position);
            return Err(Error::Setting { name: "--context", found: self.context.to_string(), expected });
        }
        let o = &self.optimizer;
        let numbers = [
            ("--learning-rate", self.learning_rate, self.learning_rate > 0.0, ABOVE),
            ("--final-rate", self.floor, (0.0..=1.0).contains(&self.floor), "a number from 0 to 1"),
            ("--weight-decay", o.weight_decay.into(), o.weight_decay >= 0.0, "a finite number from 0"),
            ("--clip", o.clip.into(), o.clip > 0.0, ABOVE),
            ("beta1", o.beta1.into(), (0.0..1.0).contains(&o.beta1), BELOW),
            ("--beta2", o.beta2.into(), (0.0..1.0).contains(&o.beta2), BELOW),
            ("eps", o.eps.into(), o.eps > 0.0, ABOVE),
            ("--init-std", self.init_std.into(), self.init_std > 0.0, ABOVE),
        ];
        for (name, value, valid, expected) in numbers {
            if !(valid && value.is_finite()) {
                return Err(Error::Setting { name, found: value.to_string(), expected: expected.into() });
            }
        }
        if let Some(d) = &self.distillation {
            d.divergence.validate()?;
            if !(0.0..=1.0).contains(&d.lmbda) {
                let expected = "a number from 0 to 1".into();
                return Err(Error::Setting { name: "--lmbda", found: d.lmbda.to_string(), expected });
            }
            for (name, value) in
                [("--max-completion-length", d.max_completion_length), ("--prompt-tokens", d.prompt_tokens)]
            {
                if value == 0 || value > self.context {
                    let expected = format!("from 1 to the context, {}", self.context);
                    return Err(Error::Setting { name, found: value.to_string(), expected });
                }
            }
        }
        Ok(())
    }

    /// What differs in another run's settings, the number of steps aside, in words: "learning rate: expected 0.003, found
    /// 0.01", where `self` is what is expected.
    pub(super) fn differences(&self, found: &Self) -> Vec<String> {
        let (expected, found) = (self.named(), found.named());
        let pairs = expected.into_iter().zip(found).filter(|(expected, found)| expected != found);
        pairs
            .map(|((name, expected), (_, found))| format!("{name}: expected {expected}, found {found}"))
            .collect()
    }

    /// All settings but the number of steps, by the words of their options.
    fn named(&self) -> Vec<(&'static str, String)> {
        let Self { batch, micro_batch, context, learning_rate, floor, warmup, optimizer, .. } = self;
        let Self { steps: _, init_std, seed, eval_every, eval_rows, distillation, .. } = self;
        let AdamW { beta1, beta2, eps, weight_decay, clip } = optimizer;
        let of = |value: fn(&Distillation) -> String| distillation.as_ref().map_or("none".into(), value);
        vec![
            ("batch", batch.to_string()),
            ("micro batch", micro_batch.to_string()),
            ("context", context.to_string()),
            ("learning rate", learning_rate.to_string()),
            ("final rate", floor.to_string()),
            ("warmup", warmup.to_string()),
            ("weight decay", weight_decay.to_string()),
            ("beta1", beta1.to_string()),
            ("beta2", beta2.to_string()),
            ("eps", eps.to_string()),
            ("clip", clip.to_string()),
            ("init std", init_std.to_string()),
            ("seed", seed.to_string()),
            ("eval every", eval_every.to_string()),
            ("eval rows", eval_rows.to_string()),
            ("lmbda", of(|d| d.lmbda.to_string())),
            ("beta", of(|d| d.divergence.beta.to_string())),
            ("temperature", of(|d| d.divergence.temperature.to_string())),
            ("loss top k", of(|d| d.divergence.loss_top_k.to_string())),
            ("loss add tail", of(|d| d.divergence.loss_add_tail.to_string())),
            ("max completion length", of(|d| d.max_completion_length.to_string())),
            ("prompt tokens", of(|d| d.prompt_tokens.to_string())),
        ]
    }

    /// Tokens of a step of a text.
    pub fn tokens_a_step(&self) -> u64 {
        (self.batch * self.context) as u64
    }
}

/// The sizes of a Gemma 2 that is made from nothing.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Layers; local and global ones alternate, local first.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width of the feed-forward layer.
    pub intermediate: usize,
    /// Window of the local layers.
    pub window: usize,
    /// Positions.
    pub context: usize,
}

impl Sizes {
    /// Gemma 2's configuration of these sizes: caps of 50 and 30, a tied head, and queries scaled by the head's width,
    /// the only choice that GGUF can express.
    ///
    /// # Errors
    /// An impossible size.
    pub fn gemma2(&self, vocab: usize) -> Result<Config> {
        let rope = RopeBase { base: 10_000.0, factor: 1.0 };
        let kind = |i: usize| {
            if i.is_multiple_of(2) { LayerKind::Local { window: self.window } } else { LayerKind::Global }
        };
        let config = Config {
            architecture: Architecture::Gemma2,
            name: None,
            hidden: self.hidden,
            layers: (0..self.layers).map(kind).collect(),
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            intermediate: self.intermediate,
            vocab,
            query_pre_attn_scalar: self.head_dim as f64,
            attn_softcap: Some(50.0),
            final_softcap: Some(30.0),
            rms_eps: 1e-6,
            norm_offset: 1.0,
            rope_local: rope,
            rope_global: rope,
            max_position: self.context,
            tie: true,
            bos: Some(BOS),
            eos: vec![EOS],
        };
        config.validate()?;
        Ok(config)
    }
}
