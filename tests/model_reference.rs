//! The model against transformers' logits, on small random checkpoints made so that window, caps and scale all bite
//! (`tests/oracle/gemma_checkpoints.py`).

use candle_core::{DType, Device, Tensor, Var};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use wmgen::model::{Cache, Config, Gemma, LayerKind, LoadOptions, Weights};

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

/// The logits of all positions, fed in pieces of the given lengths.
fn logits_in_pieces(model: &Gemma, cache: &mut Cache, ids: &[u32], pieces: &[usize]) -> Vec<Vec<f32>> {
    let (mut at, mut logits) = (0, Vec::new());
    for len in pieces {
        let part = model.forward_all(&[&ids[at..at + len]], cache).unwrap();
        logits.extend(part.squeeze(0).unwrap().to_vec2::<f32>().unwrap());
        at += len;
    }
    assert_eq!(at, ids.len());
    logits
}

/// Prefill chunks and single steps in any mixture give the logits of the one pass. Every checkpoint's text is many laps
/// of its ring long; the longest 25.
#[test]
fn any_split_equals_transformers() {
    let mut rng = StdRng::seed_from_u64(7);
    for name in CHECKPOINTS {
        let (model, reference) = (load(name), reference(name));
        let window = model.config().window().unwrap();
        assert!(reference.ids.len() > 8 * window, "{name} does not go round the ring");
        let mut splits = vec![vec![1; reference.ids.len()]];
        // Around the window's length, each way of meeting the ring's end comes up.
        for longest in [3, window - 1, window, window + 1, 2 * window + 3] {
            let (mut left, mut split) = (reference.ids.len(), Vec::new());
            while left > 0 {
                let len = rng.random_range(1..=longest).min(left);
                split.push(len);
                left -= len;
            }
            splits.push(split);
        }
        let mut cache = model.new_cache(1);
        for split in splits {
            // A cache that is used again must not remember.
            cache.reset();
            let found = difference(&logits_in_pieces(&model, &mut cache, &reference.ids, &split), &reference);
            assert!(found < TOLERANCE, "{name} in pieces of {split:?}: {found}");
        }
    }
}

#[test]
fn the_last_logits_and_the_visited_ones_are_those_of_the_whole() {
    let (model, reference) = (load("gemma2-hub"), reference("gemma2-hub"));
    let whole = all_logits(&model, &reference.ids);
    let last = model.forward(&[&reference.ids], &mut model.new_cache(1)).unwrap().to_vec2::<f32>().unwrap();
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < TOLERANCE);
    assert!(close(&last[0], whole.last().unwrap()));
    let (mut seen, mut cache) = (0, model.new_cache(1));
    model
        .visit_logits(&[&reference.ids], &mut cache, 7, |start, logits| -> Result<(), wmgen::model::Error> {
            assert_eq!(start, seen);
            let logits = logits.squeeze(0)?.to_vec2::<f32>()?;
            assert!(logits.len() <= 7);
            for row in logits {
                assert!(close(&row, &whole[seen]), "position {seen}");
                seen += 1;
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, reference.ids.len());
}

#[test]
fn local_layers_keep_no_more_than_their_window() {
    for name in ["gemma2-long", "gemma3-hub"] {
        let model = load(name);
        let window = model.config().window().unwrap();
        let ids: Vec<u32> = (0..4 * window as u32).map(|i| i % 100).collect();
        for step in [1, window + 1] {
            let mut cache = model.new_cache(1);
            for chunk in ids.chunks(step) {
                model.forward(&[chunk], &mut cache).unwrap();
                for (layer, kind) in cache.layers().iter().zip(&model.config().layers) {
                    match kind {
                        LayerKind::Local { window } => assert!(layer.capacity() <= *window),
                        LayerKind::Global => assert!(layer.capacity() >= cache.len()),
                    }
                }
            }
            assert_eq!(cache.len(), 4 * window);
        }
    }
}

/// The usual mistakes, one at a time, must each fail the comparison that the real model passes.
#[test]
fn each_usual_mistake_is_noticed() {
    fn map(kind: impl Fn(usize, LayerKind) -> LayerKind) -> impl Fn(&mut Config) {
        move |c| c.layers = c.layers.iter().enumerate().map(|(i, k)| kind(i, *k)).collect()
    }
    fn window(by: isize) -> impl Fn(&mut Config) {
        map(move |_, k| match k {
            LayerKind::Local { window } => LayerKind::Local { window: window.strict_add_signed(by) },
            LayerKind::Global => k,
        })
    }
    type Mistake = (&'static str, Box<dyn Fn(&mut Config)>);
    for name in CHECKPOINTS {
        let weights = Weights::open(checkpoint(name)).unwrap();
        let w = weights.config().window().unwrap();
        let gemma2 = name.starts_with("gemma2");
        let mut mistakes: Vec<Mistake> = vec![
            ("no window", Box::new(map(|_, _| LayerKind::Global))),
            ("window everywhere", Box::new(map(move |_, _| LayerKind::Local { window: w }))),
            ("window one too wide", Box::new(window(1))),
            ("window one too narrow", Box::new(window(-1))),
            ("scale of head_dim", Box::new(|c| c.query_pre_attn_scalar = c.head_dim as f64)),
            ("norm without + 1", Box::new(|c| c.norm_offset = 0.0)),
            ("pattern shifted by one layer", Box::new(|c| c.layers.rotate_right(1))),
        ];
        if gemma2 {
            mistakes.push(("no attention cap", Box::new(|c| c.attn_softcap = None)));
            mistakes.push(("no final cap", Box::new(|c| c.final_softcap = None)));
        } else {
            mistakes.push(("global base everywhere", Box::new(|c| c.rope_local = c.rope_global)));
            mistakes.push(("local base everywhere", Box::new(|c| c.rope_global = c.rope_local)));
        }
        let reference = reference(name);
        for (mistake, make) in mistakes {
            let mut config = weights.config().clone();
            make(&mut config);
            let model = Gemma::new(config, &weights, LoadOptions::default()).unwrap();
            let found = difference(&all_logits(&model, &reference.ids), &reference);
            assert!(found > 100.0 * TOLERANCE, "{name} with {mistake} differs by only {found}");
        }
        if gemma2 {
            let options = LoadOptions { softcap: false, ..LoadOptions::default() };
            let model = Gemma::load(checkpoint(name), options).unwrap();
            assert_eq!((model.config().attn_softcap, model.config().final_softcap), (None, None));
            assert!(difference(&all_logits(&model, &reference.ids), &reference) > 100.0 * TOLERANCE);
        }
    }
}

/// Past the ring's end as well, which each sequence reaches at a time of its own.
#[test]
fn sequences_of_any_lengths_step_together() {
    for name in ["gemma2-bf16", "gemma3-bf16"] {
        let model = load(name);
        let ids = reference(name).ids;
        let prompts = [&ids[..3], &ids[10..50], &ids[20..29]];
        let read = |prompt: &&[u32]| {
            let mut cache = model.new_cache(1);
            model.forward(&[prompt], &mut cache).unwrap();
            cache
        };
        let mut alone: Vec<Cache> = prompts.iter().map(read).collect();
        let mut together: Vec<Cache> = alone.iter().map(|cache| cache.fork().unwrap()).collect();
        for step in 0..12 {
            let tokens = [ids[step], ids[step + 1], ids[step + 2]];
            let mut caches: Vec<&mut Cache> = together.iter_mut().collect();
            let logits =
                model.step(&tokens, &mut caches).unwrap().capped().unwrap().to_vec2::<f32>().unwrap();
            for ((token, cache), logits) in tokens.iter().zip(&mut alone).zip(&logits) {
                let one = model.forward(&[[*token]], cache).unwrap().to_vec2::<f32>().unwrap();
                let error = one[0].iter().zip(logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(error < TOLERANCE, "{name} step {step}: {error}");
            }
        }
        assert!(model.step(&[1, 2], &mut [&mut together[0]]).is_err());
        assert!(model.step(&[1], &mut [&mut model.new_cache(2)]).is_err());
    }
}

#[test]
fn a_batch_is_its_sequences_and_rows_can_go_and_multiply() {
    let model = load("gemma2-bf16");
    let ids = reference("gemma2-bf16").ids;
    let prompts: Vec<&[u32]> = vec![&ids[..30], &ids[30..60], &ids[60..90]];
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < TOLERANCE);
    let mut alone = Vec::new();
    for prompt in &prompts {
        let mut cache = model.new_cache(1);
        let logits = model.forward(&[prompt], &mut cache).unwrap().to_vec2::<f32>().unwrap().remove(0);
        alone.push((cache, logits));
    }
    let mut cache = model.new_cache(3);
    let together = model.forward(&prompts, &mut cache).unwrap().to_vec2::<f32>().unwrap();
    for (row, (_, logits)) in together.iter().zip(&alone) {
        assert!(close(row, logits));
    }
    // The second sequence has ended; the others go on, in another order, past the ring's end.
    cache.keep_rows(&[2, 0]).unwrap();
    for step in 0..12 {
        let rows = [[ids[step]], [ids[step + 1]]];
        let together = model.forward(&rows, &mut cache).unwrap().to_vec2::<f32>().unwrap();
        for (i, (row, of)) in rows.iter().zip([2, 0]).enumerate() {
            let logits = model.forward(&[row], &mut alone[of].0).unwrap().to_vec2::<f32>().unwrap();
            assert!(close(&together[i], &logits[0]), "step {step} of sequence {of}");
        }
    }
    // One prompt serves three answers.
    let mut cache = model.new_cache(1);
    model.forward(&[prompts[0]], &mut cache).unwrap();
    let mut one = cache.fork().unwrap();
    cache.expand(3).unwrap();
    assert_eq!(cache.batch(), 3);
    let logits = model.forward(&[[7], [8], [7]], &mut cache).unwrap().to_vec2::<f32>().unwrap();
    assert_eq!(logits[0], logits[2]);
    let want = model.forward(&[[8]], &mut one).unwrap().to_vec2::<f32>().unwrap();
    assert!(close(&logits[1], &want[0]));
}

/// The same model from plain variables: the same logits, and a gradient for every tensor that is that of a difference
/// quotient.
#[test]
fn plain_tensors_give_the_same_logits_and_gradients() {
    for name in ["gemma2-f32", "gemma3-bf16"] {
        let weights = Weights::open(checkpoint(name)).unwrap();
        let reference = reference(name);
        let mut tensors: HashMap<String, Var> = HashMap::new();
        for (tensor, info) in weights.tensors() {
            let mut values = vec![0f32; info.shape.iter().product()];
            info.format.dequantize(weights.bytes(tensor).unwrap(), &mut values);
            let var = Var::from_vec(values, info.shape.as_slice(), &Device::Cpu).unwrap();
            tensors.insert(tensor.into(), var);
        }
        let model = Gemma::from_tensors(weights.config().clone(), &Device::Cpu, DType::F32, |name, _| {
            Ok(tensors[name].as_tensor().clone())
        })
        .unwrap();
        let logits = model.forward_train(&[&reference.ids]).unwrap();
        let found = difference(&logits.squeeze(0).unwrap().to_vec2().unwrap(), &reference);
        assert!(found < TOLERANCE, "{name}: {found}");

        let ids = &reference.ids[..40];
        let loss = || model.forward_train(&[ids]).unwrap().sqr().unwrap().mean_all().unwrap();
        let gradients = loss().backward().unwrap();
        for (tensor, var) in &tensors {
            let gradient = gradients.get(var).unwrap_or_else(|| panic!("{name}: no gradient for {tensor}"));
            // Along its own direction the loss rises by the gradient's squared length.
            let norm = gradient.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
            let step = 3e-3 / norm;
            let old = var.copy().unwrap();
            let at = |factor: f32| {
                let moved = (&old + (gradient * f64::from(factor * step)).unwrap()).unwrap();
                var.set(&moved).unwrap();
                loss().to_scalar::<f32>().unwrap()
            };
            let slope = (at(1.0) - at(-1.0)) / (2.0 * step);
            var.set(&old).unwrap();
            let ratio = slope / (norm * norm);
            assert!((ratio - 1.0).abs() < 0.1, "{name} {tensor}: {ratio}");
        }
    }
}

/// A head of its own: the embedding's rows in reverse order give the logits in reverse order.
#[test]
fn an_untied_head_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let (name, device) = ("gemma2-f32", Device::Cpu);
    let mut tensors =
        candle_core::safetensors::load(checkpoint(name).join("model.safetensors"), &device).unwrap();
    let mut rows = tensors["model.embed_tokens.weight"].to_vec2::<f32>().unwrap();
    rows.reverse();
    tensors.insert("lm_head.weight".into(), Tensor::new(rows, &device).unwrap());
    candle_core::safetensors::save(&tensors, dir.path().join("model.safetensors")).unwrap();
    let config = std::fs::read_to_string(checkpoint(name).join("config.json")).unwrap();
    let config = config.replace(r#""tie_word_embeddings": true"#, r#""tie_word_embeddings": false"#);
    std::fs::write(dir.path().join("config.json"), config).unwrap();
    let model = Gemma::load(dir.path(), LoadOptions::default()).unwrap();
    let mut reference = reference(name);
    reference.logits.iter_mut().for_each(|row| row.reverse());
    let found = difference(&all_logits(&model, &reference.ids), &reference);
    assert!(found < TOLERANCE, "{found}");
}
