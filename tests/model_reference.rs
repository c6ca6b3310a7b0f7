//! The model against transformers' logits, on small random checkpoints made so that window, caps and scale all bite
//! (`tests/oracle/gemma_checkpoints.py`).

use candle_core::Device;
use std::path::{Path, PathBuf};
use wmgen::model::{Gemma, LoadOptions};

/// The largest difference of any logit that is allowed against the reference, in f32. The references' own f32 logits
/// are about 1e-5 from an f64 computation.
const TOLERANCE: f32 = 1e-4;
const CHECKPOINTS: [&str; 7] = [
    "gemma2-f32",
    "gemma2-bf16",
    "gemma2-hub",
    "gemma2-long",
    "gemma2-sharded-f16",
    "gemma3-bf16",
    "gemma3-hub",
];

struct Reference {
    ids: Vec<u32>,
    /// `[n][vocab]`, of the last n positions.
    logits: Vec<Vec<f32>>,
}

fn checkpoint(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gemma").join(name)
}

fn reference(name: &str) -> Reference {
    let file = checkpoint(name).join("reference.safetensors");
    let tensors = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
    let ids = tensors["input_ids"].to_vec1::<i64>().unwrap();
    Reference {
        ids: ids.into_iter().map(|id| id as u32).collect(),
        logits: tensors["logits"].to_vec2().unwrap(),
    }
}

fn load(name: &str) -> Gemma {
    Gemma::load(checkpoint(name), LoadOptions::default()).unwrap()
}

/// The largest difference between `logits` `[positions][vocab]` of all positions and the reference.
fn difference(logits: &[Vec<f32>], reference: &Reference) -> f32 {
    assert_eq!(logits.len(), reference.ids.len());
    let tail = &logits[logits.len() - reference.logits.len()..];
    let pairs = tail.iter().flatten().zip(reference.logits.iter().flatten());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, |a, d| if d.is_nan() { f32::NAN } else { a.max(d) })
}

fn all_logits(model: &Gemma, ids: &[u32]) -> Vec<Vec<f32>> {
    let mut cache = model.new_cache(1);
    model.forward_all(&[ids], &mut cache).unwrap().squeeze(0).unwrap().to_vec2().unwrap()
}

#[test]
fn one_pass_equals_transformers() {
    for name in CHECKPOINTS {
        let reference = reference(name);
        let found = difference(&all_logits(&load(name), &reference.ids), &reference);
        assert!(found < TOLERANCE, "{name}: {found}");
    }
}
