//! What a student learns at a position: the loss and the gradient of one position's logits.
//!
//! Both engines take a [`Lesson`], which is rows with a goal for each position. For one position at a time, they ask it
//! for the loss and its gradient with respect to the logits. So each rule is in one place:
//!
//! - the next token: −ln p(id), with p after the soft cap;
//! - a teacher's logits: the generalised Jensen-Shannon [`Divergence`] of TRL's `DistillationTrainer`, over the whole
//!   vocabulary or over the most likely tokens ([`support`]);
//! - ids and log-probabilities of a file: the same divergence over these ids or, if the ids were sampled, the
//!   cross-entropy of Gemma 3's report.

pub mod support;

use super::error::{Error, Result};
use crate::kernels::loops;
use crate::sample::LEAST_TEMPERATURE;

/// The generalised Jensen-Shannon divergence of a teacher T and a student S. With M = (1 − β) S + β T it is β KL(T‖M) + (1
/// − β) KL(S‖M). At β = 0 it is the forward divergence KL(T‖S), at β = 1 the reverse divergence KL(S‖T).
///
/// Agarwal et al., "On-policy distillation of language models", 2024 (arXiv 2306.13649). Names and meanings are those of
/// TRL's `DistillationTrainer`. Nothing is multiplied by the square of the temperature.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Divergence {
    /// β, from 0 (forward) to 1 (reverse).
    pub beta: f64,
    /// Temperature: the divisor of both models' logits.
    pub temperature: f64,
    /// Number of most likely tokens to compare: the teacher's at β = 0, the student's at β = 1, both models' in between; 0
    /// is all.
    pub loss_top_k: usize,
    /// Whether all other tokens are compared together as one more token. Otherwise both distributions are renormalised.
    pub loss_add_tail: bool,
}

impl Divergence {
    /// The forward divergence over the whole vocabulary, which is measured on held-out rows.
    pub const FORWARD: Self = Self { beta: 0.0, temperature: 1.0, loss_top_k: 0, loss_add_tail: true };

    /// Checks that the numbers are in range.
    ///
    /// # Errors
    /// Returns an error that names the first number out of range.
    pub fn validate(&self) -> Result<()> {
        let numbers = [
            ("--beta", self.beta, (0.0..=1.0).contains(&self.beta), "a number from 0 to 1"),
            (
                "--temperature",
                self.temperature,
                self.temperature >= LEAST_TEMPERATURE,
                "a number from 0.000001",
            ),
        ];
        for (name, value, valid, expected) in numbers {
            if !(valid && value.is_finite()) {
                return Err(Error::Setting { name, found: value.to_string(), expected: expected.into() });
            }
        }
        Ok(())
    }
}

/// What is learned at the positions with a goal.
#[derive(Debug, Clone, PartialEq)]
pub enum Goals {
    /// The next id of the row.
    Ids,
    /// A teacher's distribution.
    Teacher {
        /// The teacher's final logits, `[goals, vocab]`.
        logits: Vec<f32>,
        /// Divergence from the teacher.
        divergence: Divergence,
    },
    /// Some ids with a teacher's log-probabilities.
    Listed {
        /// Number of entries for each goal.
        k: usize,
        /// Ids, `[goals, k]`.
        ids: Vec<u32>,
        /// Log-probabilities, `[goals, k]`, in nats; −∞ marks a place without an entry.
        logprobs: Vec<f32>,
        /// How they are learned from.
        rule: ListRule,
    },
}

/// How a list of ids and log-probabilities is learned from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ListRule {
    /// The ids are the teacher's most likely ones.
    Divergence(Divergence),
    /// The ids were sampled by the teacher's probability. The loss is the cross-entropy with their probabilities,
    /// renormalised, and 0 elsewhere. Gemma Team, "Gemma 3 technical report", 2025, section 2.2.
    Sampled,
}

/// Rows of one length, and the goal of each position. A row has one token more than positions.
#[derive(Debug, Clone, PartialEq)]
pub struct Lesson {
    rows: Vec<Vec<u32>>,
    /// Number of each position's goal, if it has one; `[rows · positions]`.
    goals: Vec<Option<usize>>,
    what: Goals,
}

/// Memory that rows of logits reuse.
#[derive(Debug, Default)]
pub struct Scratch {
    slope: Vec<f32>,
    teacher: Vec<f32>,
    p: Vec<f32>,
    q: Vec<f32>,
}

impl Lesson {
    /// Makes a lesson with the next token as the goal at all positions.
    pub fn of_ids(rows: &[&[u32]]) -> Self {
        let positions = rows.iter().map(|row| row.len().saturating_sub(1)).sum();
        let rows = rows.iter().map(|row| row.to_vec()).collect();
        Self { rows, goals: (0..positions).map(Some).collect(), what: Goals::Ids }
    }

    /// Makes a lesson of rows with a mask over their positions, row by row.
    ///
    /// # Panics
    /// Panics if the mask or the goals do not fit the rows.
    pub fn new(rows: Vec<Vec<u32>>, mask: &[bool], what: Goals) -> Self {
        let positions: usize = rows.iter().map(|row| row.len().saturating_sub(1)).sum();
        assert_eq!(mask.len(), positions, "one entry a position");
        let mut count = 0;
        let goals = mask.iter().map(|learned| {
            count += usize::from(*learned);
            learned.then(|| count - 1)
        });
        let goals = goals.collect();
        match &what {
            Goals::Ids => {}
            Goals::Teacher { logits, .. } => {
                assert!(logits.len().is_multiple_of(count.max(1)), "whole rows of logits");
            }
            Goals::Listed { k, ids, logprobs, .. } => {
                assert_eq!((ids.len(), logprobs.len()), (k * count, k * count), "k entries a goal");
            }
        }
        Self { rows, goals, what }
    }

    /// Returns the rows.
    pub fn rows(&self) -> Vec<&[u32]> {
        self.rows.iter().map(Vec::as_slice).collect()
    }

    /// Returns the number of positions with a goal.
    pub fn count(&self) -> usize {
        self.goals.iter().flatten().count()
    }

    /// Returns the sum of the entropies of the goals' distributions if the loss is their cross-entropy, in nats; else 0.
    pub(super) fn entropy(&self) -> f64 {
        match &self.what {
            Goals::Listed { k, logprobs, rule: ListRule::Sampled, .. } => {
                logprobs.chunks_exact(*k).map(support::entropy).sum()
            }
            _ => 0.0,
        }
    }

    /// Returns the loss of one position in nats, or 0 if it has no goal. Replaces the raw logits by the gradient times
    /// `factor`, which includes the soft cap. `position` counts over the rows.
    pub(super) fn learn(
        &self,
        position: usize,
        logits: &mut [f32],
        scratch: &mut Scratch,
        softcap: Option<f32>,
        factor: f32,
    ) -> f64 {
        let Some(goal) = self.goals[position] else {
            logits.fill(0.0);
            return 0.0;
        };
        let vocab = logits.len();
        let Scratch { slope, teacher, p, q } = scratch;
        for room in [&mut *slope, &mut *p, &mut *q] {
            room.resize(vocab, 0.0);
        }
        match &self.what {
            Goals::Ids => {
                let len = self.rows[0].len() - 1;
                let target = self.rows[position / len][position % len + 1] as usize;
                f64::from(loops::cross_entropy_row(logits, slope, target, softcap, factor))
            }
            Goals::Teacher { logits: all, divergence } => {
                let scale = (1.0 / divergence.temperature) as f32;
                teacher.clear();
                teacher.extend(all[goal * vocab..(goal + 1) * vocab].iter().map(|x| x * scale));
                loops::final_logits_row(logits, slope, softcap, divergence.temperature as f32);
                let factor = factor * scale;
                if divergence.loss_top_k > 0 && divergence.loss_top_k < vocab {
                    return support::most_likely(logits, slope, teacher, p, q, divergence, factor);
                }
                let beta = divergence.beta as f32;
                f64::from(loops::divergence_row(logits, slope, teacher, p, q, beta, factor))
            }
            Goals::Listed { k, ids, logprobs, rule } => {
                let range = goal * k..(goal + 1) * k;
                let (ids, logprobs) = (&ids[range.clone()], &logprobs[range]);
                let temperature = match rule {
                    ListRule::Divergence(divergence) => divergence.temperature,
                    ListRule::Sampled => 1.0,
                };
                loops::final_logits_row(logits, slope, softcap, temperature as f32);
                let factor = factor / temperature as f32;
                match rule {
                    ListRule::Divergence(d) => support::listed(logits, slope, p, ids, logprobs, d, factor),
                    ListRule::Sampled => support::sampled(logits, slope, p, ids, logprobs, factor),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
