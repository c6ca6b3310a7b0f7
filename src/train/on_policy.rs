//! The student's samples: prompts that the engine continues, in batches. They depend only on the parameters, the seed and
//! the step, so a resumed run draws the same.

use super::error::{Error, Result};
use super::parameters::Table;
use super::rows::Row;
use crate::engine::{Engine, Event, Options, Progress, Request};
use crate::model::{CHUNK, Config, Error as ModelError, Gemma};
use crate::sample::Sampling;
use candle_core::{DType, Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Settings for drawing a student's samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Draws {
    /// Maximum number of tokens in a sample.
    pub max_tokens: usize,
    /// Sampling temperature, the same as in the loss.
    pub temperature: f64,
    /// Tokens that end a sample. They are learned too.
    pub ends: Vec<u32>,
    /// Number of tokens of a text's row that serve as the prompt.
    pub prompt_tokens: usize,
    /// Seed of all draws.
    pub seed: u64,
}

/// First stream of the seed for samples; those up to 2^63 belong to the epochs of the order.
const STREAM: u64 = 1 << 63;

/// Returns whether the batch of a step consists of the student's samples, which happens with probability `lmbda`.
pub fn is_on_policy(seed: u64, step: u64, lmbda: f64) -> bool {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(STREAM + step);
    rng.random::<f64>() < lmbda
}

/// Returns the student as the engine's model.
///
/// # Errors
/// Returns an error if the configuration is impossible, and the errors of the device.
pub fn student(config: &Config, params: &[f32]) -> Result<Gemma> {
    let table = Table::new(config);
    let device = Device::Cpu;
    Ok(Gemma::from_tensors(config.clone(), &device, DType::F32, |name, _| {
        let missing = || ModelError::MissingTensor { name: name.into(), path: "memory".into() };
        let tensor = table.get(name).ok_or_else(missing)?;
        Ok(Tensor::from_slice(&params[tensor.range.clone()], tensor.shape.as_slice(), &device)?)
    })?)
}

/// Replaces what follows the prompt of each row by the model's continuation. Only the continuation is learned.
///
/// # Errors
/// Returns an error if the model fails.
pub fn continue_rows(model: &Gemma, rows: &[Row], draws: &Draws, step: u64) -> Result<Vec<Row>> {
    let failed = |message: String| Error::Sample { step, message };
    let options = Options {
        together: rows.len(),
        slice: CHUNK,
        cache_bytes: usize::MAX,
        prefix_bytes: 0,
        ..Options::default()
    };
    let mut engine = Engine::new(model.clone(), options);
    let mut out = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        let len = row.prompt.unwrap_or(draws.prompt_tokens).clamp(1, row.ids.len());
        let mut rng = ChaCha8Rng::seed_from_u64(draws.seed);
        rng.set_stream(STREAM + step);
        rng.set_word_pos(16 * (1 + i as u128));
        let seed = rng.random::<u64>() >> 11;
        let sampling = Sampling { temperature: draws.temperature, top_k: 0, seed, ..Sampling::default() };
        // A row has at most one token more than the context, since its last token is only predicted.
        let room = (model.config().max_position + 1).saturating_sub(len);
        let max_tokens = draws.max_tokens.min(room);
        let prompt = row.ids[..len].to_vec();
        let request = Request { max_tokens, sampling, ..Request::new(prompt.clone()) };
        let id = engine.submit(request).map_err(|e| failed(e.to_string()))?;
        out.push((id, Row { ids: prompt, mask: vec![false; len - 1], prompt: Some(len), listed: None }));
    }
    let mut running = true;
    while running {
        let mut events = Vec::new();
        running = engine.step(&mut events) == Progress::Running;
        for event in events {
            match event {
                Event::Token { id, token, .. } => {
                    let Some((_, row)) = out.iter_mut().find(|(other, _)| *other == id) else { continue };
                    row.ids.push(token.id);
                    row.mask.push(true);
                    if draws.ends.contains(&token.id) {
                        engine.cancel(id);
                    }
                }
                Event::Failed { error, .. } => return Err(failed(error.to_string())),
                _ => {}
            }
        }
    }
    Ok(out.into_iter().map(|(_, row)| row).collect())
}
