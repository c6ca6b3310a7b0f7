//! Computes loss and gradients: the fused engine with one micro batch per thread, or autograd with one after the other.

use super::autograd::Autograd;
use super::error::Result;
use super::fused::{Fused, Workspace};
use super::objective::Lesson;
use crate::model::Config;
use candle_core::Device;
use rayon::prelude::*;
use std::sync::Mutex;

/// Engine of a run.
#[derive(Debug)]
pub(super) enum Engine {
    /// Hand-written gradients.
    Fused { fused: Box<Fused>, memory: Mutex<Vec<Workspace>> },
    /// Candle's gradients.
    Autograd(Box<Autograd>),
}

impl Engine {
    pub(super) fn new(config: &Config, params: &[f32], device: &Device) -> Result<Self> {
        Ok(match Fused::new(config) {
            Ok(fused) if device.is_cpu() => Self::Fused { fused: Box::new(fused), memory: Mutex::default() },
            _ => Self::Autograd(Box::new(Autograd::new(config, params, device)?)),
        })
    }

    /// Tells the engine that the parameters have changed.
    pub(super) fn set(&mut self, params: &[f32]) -> Result<()> {
        match self {
            Self::Fused { .. } => Ok(()),
            Self::Autograd(model) => model.set(params),
        }
    }

    /// Returns how many sets of gradients a step of this many micro batches needs.
    pub(super) fn runs(&self, micro: usize) -> usize {
        match self {
            Self::Fused { .. } => micro,
            Self::Autograd(_) => 1,
        }
    }

    /// Adds the gradients of `factor` times each lesson's loss to its set of gradients, and returns the losses. Autograd
    /// has one set for all lessons.
    pub(super) fn learn(
        &self,
        params: &[f32],
        lessons: &[Lesson],
        grads: &mut [Vec<f32>],
        factor: f32,
    ) -> Result<Vec<f64>> {
        match self {
            Self::Fused { fused, memory } => grads
                .par_iter_mut()
                .zip(lessons)
                .with_max_len(1)
                .map(|(grads, lesson)| {
                    with_workspace(memory, |work| fused.learn(params, lesson, Some((grads, factor)), work))
                })
                .collect(),
            Self::Autograd(model) => {
                lessons.iter().map(|lesson| model.learn(lesson, Some((&mut grads[0], factor)))).collect()
            }
        }
    }

    /// Returns only the losses.
    pub(super) fn measure(&self, params: &[f32], lessons: &[Lesson]) -> Result<Vec<f64>> {
        match self {
            Self::Fused { fused, memory } => lessons
                .par_iter()
                .with_max_len(1)
                .map(|lesson| with_workspace(memory, |work| fused.learn(params, lesson, None, work)))
                .collect(),
            Self::Autograd(model) => lessons.iter().map(|lesson| model.learn(lesson, None)).collect(),
        }
    }
}

/// Runs with the memory of an earlier pass, if some is free.
fn with_workspace<T>(memory: &Mutex<Vec<Workspace>>, run: impl FnOnce(&mut Workspace) -> T) -> T {
    let free = || memory.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut work = free().pop().unwrap_or_default();
    let result = run(&mut work);
    free().push(work);
    result
}
