//! Settings of a run, and the configuration of a small Gemma 2.

use super::error::{Error, Result};
use super::objective::Divergence;
use super::optimizer::AdamW;
use super::tokenizer::{BOS, EOS};
use crate::model::config::RopeBase;
use crate::model::{Architecture, Config, LayerKind};

/// Everything besides model and data that a run's result depends on. On one kind of processor, two runs with the same
/// settings end with bit-identical parameters, for any number of threads.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Number of steps in the whole run; the learning rate falls towards the last.
    pub steps: u64,
    /// Number of rows in a step.
    pub batch: usize,
    /// Number of rows that one thread works on at a time.
    pub micro_batch: usize,
    /// Number of tokens of a row that are predicted.
    pub context: usize,
    /// Largest learning rate.
    pub learning_rate: f64,
    /// Final learning rate, as a share of the largest.
    pub floor: f64,
    /// Number of steps over which the learning rate rises to its largest value.
    pub warmup: u64,
    /// The optimiser.
    pub optimizer: AdamW,
    /// Standard deviation of the initial parameters.
    pub init_std: f32,
    /// Seed of the initial parameters and of the order of the data.
    pub seed: u64,
    /// Number of steps between two points of the curve.
    pub eval_every: u64,
    /// Number of held-out rows on which a point is measured; all of them if there are fewer.
    pub eval_rows: usize,
    /// Settings for learning from a teacher; `None` in a run that learns from ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distillation: Option<Distillation>,
}

/// Settings for learning from a teacher. Names and meanings are those of TRL's `DistillationTrainer`.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Distillation {
    /// Share of steps on the student's own samples.
    pub lmbda: f64,
    /// The loss.
    pub divergence: Divergence,
    /// Maximum number of tokens in a sample.
    pub max_completion_length: usize,
    /// Number of tokens of a text's row that serve as the prompt of a sample.
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
    /// Checks that a run with these settings is possible.
    ///
    /// # Errors
    /// Returns an error that names the first impossible setting.
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

    /// Describes how another run's settings differ, apart from the number of steps: "learning rate: expected 0.003, found
    /// 0.01", where `self` is what is expected.
    pub(super) fn differences(&self, found: &Self) -> Vec<String> {
        let (expected, found) = (self.named(), found.named());
        let pairs = expected.into_iter().zip(found).filter(|(expected, found)| expected != found);
        pairs
            .map(|((name, expected), (_, found))| format!("{name}: expected {expected}, found {found}"))
            .collect()
    }

    /// Returns all settings except the number of steps, under the names of their options.
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

    /// Returns the number of tokens in a step of a text.
    pub fn tokens_a_step(&self) -> u64 {
        (self.batch * self.context) as u64
    }
}

/// Sizes of a new Gemma 2.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Number of layers; local and global ones alternate, local first.
    pub layers: usize,
    /// Number of query heads.
    pub heads: usize,
    /// Number of key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width of the feed-forward layer.
    pub intermediate: usize,
    /// Window of the local layers.
    pub window: usize,
    /// Number of positions.
    pub context: usize,
}

impl Sizes {
    /// Returns Gemma 2's configuration with these sizes: caps of 50 and 30, and a tied head. Queries are scaled by the
    /// head's width, the only choice that GGUF can express.
    ///
    /// # Errors
    /// Returns an error if a size is impossible.
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
