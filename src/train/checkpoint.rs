//! A run on disk: one safetensors file with the parameters, both moments, and everything that the next step depends
//! on.
//!
//! It is written to a temporary file and renamed, so a kill leaves the old or the new checkpoint, never a half.

use super::config::Settings;
use super::curve::Point;
use super::error::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use wmdetect::atomic_file;

/// Contents of a checkpoint besides the numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Version of this structure.
    pub schema_version: u32,
    /// The model's config.json.
    pub config: serde_json::Value,
    /// The settings of the run.
    pub settings: Settings,
    /// SHA-256 of the tokens; see [`super::corpus::Data::fingerprint`].
    pub data: String,
    /// The teacher's fingerprint, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<String>,
    /// Number of steps done.
    pub step: u64,
    /// Number of tokens learned; 0 in checkpoints without this field.
    #[serde(default)]
    pub tokens: u64,
    /// Current epoch of the data.
    pub epoch: u64,
    /// Number of windows of the epoch that are used up.
    pub next: usize,
    /// Sum of the training loss since the last point, and number of steps in it.
    pub running: (f64, u64),
    /// Seconds of training.
    pub seconds: f64,
    /// The curve so far.
    pub points: Vec<Point>,
    /// Changes of the length: the step from which on, and `settings.steps` before. Empty in most runs.
    #[serde(default)]
    pub changes: Vec<(u64, u64)>,
}

/// Parameters and the optimiser's moments, each laid out as in [`super::parameters::Table`].
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    /// Parameters.
    pub params: Vec<f32>,
    /// Means of the gradients.
    pub mean: Vec<f32>,
    /// Mean squares of the gradients.
    pub square: Vec<f32>,
}

/// Key of the state in the file's metadata.
const STATE: &str = "state";
/// Key in the metadata of the bits of the state's numbers. JSON's decimals could return with another last bit.
const BITS: &str = "bits";

impl State {
    /// Returns the numbers that steps have computed.
    fn numbers(&mut self) -> impl Iterator<Item = &mut f64> {
        let points = self.points.iter_mut().flat_map(|p| {
            let known = [&mut p.loss, &mut p.held_out, &mut p.rate].into_iter();
            known.chain(&mut p.kl).chain(&mut p.target_divergence)
        });
        [&mut self.running.0, &mut self.seconds].into_iter().chain(points)
    }
}

/// Writes a checkpoint atomically.
///
/// # Errors
/// Returns the errors of the file system.
pub fn write(path: &Path, state: &State, numbers: &Numbers) -> Result<()> {
    let damaged = |e: &dyn std::fmt::Display| Error::Checkpoint {
        path: path.into(),
        reason: format!("cannot be written: {e}"),
    };
    let json = serde_json::to_string(state).map_err(|e| damaged(&e))?;
    let bits: Vec<u64> = state.clone().numbers().map(|n| n.to_bits()).collect();
    let bits = serde_json::to_string(&bits).map_err(|e| damaged(&e))?;
    let bytes = [&numbers.params, &numbers.mean, &numbers.square].map(|values| to_bytes(values));
    let mut views = Vec::new();
    for (name, bytes) in ["params", "mean", "square"].into_iter().zip(&bytes) {
        views.push((
            name,
            TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes).map_err(|e| damaged(&e))?,
        ));
    }
    let metadata = HashMap::from([(STATE.to_owned(), json), (BITS.to_owned(), bits)]);
    let file = safetensors::serialize(views, Some(metadata)).map_err(|e| damaged(&e))?;
    atomic_file::write(path, &file).map_err(Error::write(path))
}

/// Reads a checkpoint.
///
/// # Errors
/// Returns an error if the file does not exist or is damaged.
pub fn read(path: &Path) -> Result<(State, Numbers)> {
    let file = fs::read(path).map_err(Error::read(path))?;
    let damaged = |reason: String| Error::Checkpoint { path: path.into(), reason };
    let (_, metadata) = SafeTensors::read_metadata(&file).map_err(|e| damaged(format!("is damaged: {e}")))?;
    let entry = |key| metadata.metadata().as_ref().and_then(|m| m.get(key));
    let state = entry(STATE).ok_or_else(|| damaged("is not a checkpoint of a training run".into()))?;
    let mut state: State =
        serde_json::from_str(state).map_err(|e| damaged(format!("has a state of another version: {e}")))?;
    if state.schema_version != 1 {
        return Err(damaged(format!("has version {}, expected 1", state.schema_version)));
    }
    if let Some(bits) = entry(BITS) {
        let bits: Vec<u64> =
            serde_json::from_str(bits).map_err(|e| damaged(format!("has damaged numbers: {e}")))?;
        let expected = state.numbers().count();
        if bits.len() != expected {
            return Err(damaged(format!("has {} numbers in its state, expected {expected}", bits.len())));
        }
        for (number, bits) in state.numbers().zip(bits) {
            *number = f64::from_bits(bits);
        }
    }
    let tensors = SafeTensors::deserialize(&file).map_err(|e| damaged(format!("is damaged: {e}")))?;
    let numbers = |name: &str| match tensors.tensor(name) {
        Ok(view) if view.dtype() == Dtype::F32 => Ok(from_bytes(view.data())),
        _ => Err(damaged(format!("has no f32 tensor {name:?}"))),
    };
    let numbers = Numbers { params: numbers("params")?, mean: numbers("mean")?, square: numbers("square")? };
    Ok((state, numbers))
}

/// Returns the little-endian bytes of numbers.
pub(super) fn to_bytes(values: &[f32]) -> Vec<u8> {
    let mut bytes = vec![0; values.len() * 4];
    for (b, v) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(values) {
        *b = v.to_le_bytes();
    }
    bytes
}

fn from_bytes(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_bit_for_bit() {
        let points = (1..200u32).map(|i| {
            let x = f64::from(i);
            Point {
                step: 1,
                tokens: 2,
                loss: x.sqrt(),
                held_out: x.ln() + 1.0,
                kl: Some(x.cbrt()),
                target_divergence: Some(x.cbrt() + 0.1),
                rate: 0.003 / x,
            }
        });
        let state = State {
            schema_version: 1,
            config: serde_json::json!({}),
            settings: Settings::default(),
            data: String::new(),
            teacher: Some("t".into()),
            step: 7,
            tokens: 12,
            epoch: 0,
            next: 3,
            running: (245.890_531_590_208_45, 50),
            seconds: 41.497_072_886,
            points: points.collect(),
            changes: vec![(3, 9)],
        };
        let numbers = Numbers { params: vec![0.1], mean: vec![0.2], square: vec![0.3] };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        write(&path, &state, &numbers).unwrap();
        assert_eq!(read(&path).unwrap(), (state, numbers));
    }
}
