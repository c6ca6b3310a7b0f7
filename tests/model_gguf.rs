//! GGUF files: each quantisation against its dequantised twin in safetensors, and what the format leaves unsaid.

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use wmgen::model::{Gemma, LayerKind, LoadOptions, Weights};

const HIDDEN: usize = 256;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 64;
const MLP: usize = 512;
const VOCAB: usize = 96;
const WINDOW: usize = 6;

/// (name in a checkpoint, name in GGUF, rows, columns) of a layer's matrices.
const MATRICES: [(&str, &str, usize, usize); 7] = [
    ("self_attn.q_proj", "attn_q", HEADS * HEAD_DIM, HIDDEN),
    ("self_attn.k_proj", "attn_k", KV_HEADS * HEAD_DIM, HIDDEN),
    ("self_attn.v_proj", "attn_v", KV_HEADS * HEAD_DIM, HIDDEN),
    ("self_attn.o_proj", "attn_output", HIDDEN, HEADS * HEAD_DIM),
    ("mlp.gate_proj", "ffn_gate", MLP, HIDDEN),
    ("mlp.up_proj", "ffn_up", MLP, HIDDEN),
    ("mlp.down_proj", "ffn_down", HIDDEN, MLP),
];

fn norms(gemma3: bool) -> Vec<(&'static str, &'static str, usize)> {
    let mut norms = vec![
        ("input_layernorm", "attn_norm", HIDDEN),
        ("post_attention_layernorm", "post_attention_norm", HIDDEN),
        ("pre_feedforward_layernorm", "ffn_norm", HIDDEN),
        ("post_feedforward_layernorm", "post_ffw_norm", HIDDEN),
    ];
    if gemma3 {
        norms.push(("self_attn.q_norm", "attn_q_norm", HEAD_DIM));
        norms.push(("self_attn.k_norm", "attn_k_norm", HEAD_DIM));
    }
    norms
}

/// The same random model twice: quantised in `model.gguf`, and its dequantised values in a Hugging Face directory.
fn write_twins(dir: &Path, gemma3: bool, layers: usize, dtype: GgmlDType) {
    let mut rng = StdRng::seed_from_u64(11);
    let mut values =
        |n: usize, scale: f32| -> Vec<f32> { (0..n).map(|_| (rng.random::<f32>() - 0.5) * scale).collect() };
    let mut quantized = Vec::new();
    let mut plain = HashMap::new();
    let mut matrix = |hub: String, gguf: String, rows: usize, cols: usize, scale: f32| {
        let w = Tensor::from_vec(values(rows * cols, scale), (rows, cols), &Device::Cpu).unwrap();
        let q = QTensor::quantize(&w, dtype).unwrap();
        plain.insert(hub, q.dequantize(&Device::Cpu).unwrap());
        quantized.push((gguf, q));
    };
    matrix("model.embed_tokens.weight".into(), "token_embd.weight".into(), VOCAB, HIDDEN, 0.2);
    for layer in 0..layers {
        for (hub, gguf, rows, cols) in MATRICES {
            let (hub, gguf) =
                (format!("model.layers.{layer}.{hub}.weight"), format!("blk.{layer}.{gguf}.weight"));
            matrix(hub, gguf, rows, cols, 0.3);
        }
    }
    let mut norm = |hub: String, gguf: String, len: usize| {
        // Multiples of 1/64, so that adding 1 loses nothing.
        let w: Vec<f32> = values(len, 1.0).into_iter().map(|v| (v * 64.0).round() / 64.0).collect();
        let w = Tensor::from_vec(w, len, &Device::Cpu).unwrap();
        let q = QTensor::quantize(&(&w + 1.0).unwrap(), GgmlDType::F32).unwrap();
        plain.insert(hub, w);
        quantized.push((gguf, q));
    };
    norm("model.norm.weight".into(), "output_norm.weight".into(), HIDDEN);
    for layer in 0..layers {
        for (hub, gguf, len) in norms(gemma3) {
            let (hub, gguf) =
                (format!("model.layers.{layer}.{hub}.weight"), format!("blk.{layer}.{gguf}.weight"));
            norm(hub, gguf, len);
        }
    }
    candle_core::safetensors::save(&plain, dir.join("model.safetensors")).unwrap();
    let config = serde_json::json!({
        "model_type": if gemma3 { "gemma3_text" } else { "gemma2" }, "hidden_size": HIDDEN,
        "num_hidden_layers": layers, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM, "intermediate_size": MLP, "vocab_size": VOCAB, "query_pre_attn_scalar": HEAD_DIM,
        "sliding_window": WINDOW, "max_position_embeddings": 512, "rope_theta": if gemma3 { 1e6 } else { 1e4 },
        "eos_token_id": 1,
    });
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();

    let arch = if gemma3 { "gemma3" } else { "gemma2" };
    let size = |v: usize| Value::U32(v as u32);
    let mut metadata: Vec<(String, Value)> = vec![
        ("general.architecture".into(), Value::String(arch.into())),
        ("general.name".into(), Value::String("twin".into())),
        ("tokenizer.ggml.tokens".into(), Value::Array(vec![Value::String("piece".into()); 5000])),
        ("tokenizer.ggml.scores".into(), Value::Array(vec![Value::F32(-1.0); 5000])),
        ("tokenizer.ggml.eos_token_id".into(), size(1)),
    ];
    let mut own: Vec<(&str, Value)> = vec![
        ("embedding_length", size(HIDDEN)),
        ("block_count", size(layers)),
        ("feed_forward_length", size(MLP)),
        ("attention.head_count", size(HEADS)),
        ("attention.head_count_kv", size(KV_HEADS)),
        ("attention.key_length", size(HEAD_DIM)),
        ("attention.value_length", size(HEAD_DIM)),
        ("attention.sliding_window", size(WINDOW)),
        ("attention.layer_norm_rms_epsilon", Value::F32(1e-6)),
        ("context_length", size(512)),
    ];
    if gemma3 {
        own.push(("rope.freq_base", Value::F32(1e6)));
    } else {
        own.push(("attn_logit_softcapping", Value::F32(50.0)));
        own.push(("final_logit_softcapping", Value::F32(30.0)));
    }
    metadata.extend(own.into_iter().map(|(k, v)| (format!("{arch}.{k}"), v)));
    let metadata: Vec<_> = metadata.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let tensors: Vec<_> = quantized.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let mut file = File::create(dir.join("model.gguf")).unwrap();
    gguf_file::write(&mut file, &metadata, &tensors).unwrap();
}

fn logits(model: &Gemma, ids: &[u32]) -> Vec<f32> {
    let all = model.forward_all(&[ids], &mut model.new_cache(1)).unwrap();
    all.flatten_all().unwrap().to_vec1().unwrap()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Prompt and exact steps equal the dequantised twin; a step with activations of 8 bits stays near it.
#[test]
fn each_quantisation_equals_its_dequantised_twin() {
    let ids: Vec<u32> = (0..40).map(|i| (i * 37 + 5) % VOCAB as u32).collect();
    for dtype in [
        GgmlDType::F32,
        GgmlDType::F16,
        GgmlDType::BF16,
        GgmlDType::Q4_0,
        GgmlDType::Q4_1,
        GgmlDType::Q5_0,
        GgmlDType::Q5_1,
        GgmlDType::Q8_0,
        GgmlDType::Q2K,
        GgmlDType::Q3K,
        GgmlDType::Q4K,
        GgmlDType::Q5K,
        GgmlDType::Q6K,
        GgmlDType::Q8K,
    ] {
        let dir = tempfile::tempdir().unwrap();
        write_twins(dir.path(), false, 3, dtype);
        let twin = Gemma::load(dir.path(), LoadOptions::default()).unwrap();
        let model = Gemma::load(dir.path().join("model.gguf"), LoadOptions::default()).unwrap();
        let want = logits(&twin, &ids);
        let largest = want.iter().fold(0f32, |a, b| a.max(b.abs()));
        assert!(largest > 1.0, "the logits are too small to tell anything: {largest}");
        let found = largest_difference(&logits(&model, &ids), &want);
        assert!(found < 1e-4, "{dtype:?}: {found}");
        for unrounded in [true, false] {
            let model = if unrounded { model.unrounded() } else { model.clone() };
            let mut cache = model.new_cache(1);
            for (id, want) in ids.iter().zip(want.chunks_exact(VOCAB)) {
                let step = model.forward(&[[*id]], &mut cache).unwrap().squeeze(0).unwrap();
                let found = largest_difference(&step.to_vec1().unwrap(), want);
                let allowed = if unrounded { 1e-4 } else { 0.1 * largest };
                assert!(found < allowed, "{dtype:?} step, unrounded {unrounded}: {found} of {largest}");
            }
        }
    }
}

/// Seven layers, so that the pattern that the file does not mention shows; no local base either.
#[test]
fn gemma_3_is_completed_as_llama_cpp_does() {
    let dir = tempfile::tempdir().unwrap();
    write_twins(dir.path(), true, 7, GgmlDType::Q8_0);
    let twin = Gemma::load(dir.path(), LoadOptions::default()).unwrap();
    let weights = Weights::open(dir.path().join("model.gguf")).unwrap();
    let config = weights.config();
    assert_eq!(config.layers[5], LayerKind::Global);
    assert_eq!(config.layers, twin.config().layers);
    assert_eq!((config.rope_local.base, config.rope_global.base), (1e4, 1e6));
    assert_eq!((config.name.as_deref(), config.eos.as_slice()), (Some("twin"), [1].as_slice()));
    let model = Gemma::new(config.clone(), &weights, LoadOptions::default()).unwrap();
    let ids: Vec<u32> = (0..40).map(|i| (i * 37 + 5) % VOCAB as u32).collect();
    let found = largest_difference(&logits(&model, &ids), &logits(&twin, &ids));
    assert!(found < 1e-4, "{found}");
}

/// Our reader of the header against candle's.
#[test]
fn tensors_lie_where_candle_finds_them() {
    let dir = tempfile::tempdir().unwrap();
    write_twins(dir.path(), true, 1, GgmlDType::Q4K);
    let path = dir.path().join("model.gguf");
    let weights = Weights::open(&path).unwrap();
    let mut file = File::open(&path).unwrap();
    let content = gguf_file::Content::read(&mut file).unwrap();
    assert_eq!(weights.tensors().count(), content.tensor_infos.len());
    for (name, info) in weights.tensors() {
        let tensor = content.tensor(&mut file, name, &Device::Cpu).unwrap();
        assert_eq!(info.shape, tensor.shape().dims());
        assert_eq!(info.format.ggml(), tensor.dtype());
        assert_eq!(weights.bytes(name).unwrap(), &*tensor.data().unwrap(), "{name}");
    }
}

/// GGUF has no key for query_pre_attn_scalar: 27B takes hidden / heads = 144, the others the head's width. A pattern
/// that is spelled out counts.
#[test]
fn what_gguf_does_not_say_follows_from_the_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("header.gguf");
    let open = |layers: u32, pattern: Option<Value>| {
        let mut metadata = vec![("general.architecture", Value::String("gemma2".into()))];
        for (key, value) in [
            ("gemma2.embedding_length", 4608),
            ("gemma2.block_count", layers),
            ("gemma2.feed_forward_length", 36864),
            ("gemma2.attention.head_count", 32),
            ("gemma2.attention.head_count_kv", 16),
            ("gemma2.attention.key_length", 128),
            ("gemma2.context_length", 8192),
        ] {
            metadata.push((key, Value::U32(value)));
        }
        metadata.extend(pattern.map(|p| ("gemma2.attention.sliding_window_pattern", p)));
        let metadata: Vec<_> = metadata.iter().map(|(k, v)| (*k, v)).collect();
        let table = Tensor::zeros((8, 4608), candle_core::DType::F32, &Device::Cpu).unwrap();
        let table = QTensor::quantize(&table, GgmlDType::Q4_0).unwrap();
        let mut file = File::create(&path).unwrap();
        gguf_file::write(&mut file, &metadata, &[("token_embd.weight", &table)]).unwrap();
        Weights::open(&path).map(|w| w.config().clone())
    };
    let config = open(46, None).unwrap();
    assert_eq!((config.query_pre_attn_scalar, config.vocab), (144.0, 8));
    assert_eq!(config.layers[..2], [LayerKind::Local { window: 4096 }, LayerKind::Global]);
    assert_eq!((config.attn_softcap, config.final_softcap), (Some(50.0), Some(30.0)));
    assert_eq!(open(42, None).unwrap().query_pre_attn_scalar, 128.0);
    let flags = Value::Array([false, true, true].map(Value::Bool).into());
    let kinds: Vec<bool> =
        open(3, Some(flags)).unwrap().layers.iter().map(|k| *k == LayerKind::Global).collect();
    assert_eq!(kinds, [true, false, false]);
    let e = open(3, Some(Value::String("?".into()))).unwrap_err().to_string();
    assert!(e.contains("sliding_window_pattern"), "{e}");
}
