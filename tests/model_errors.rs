//! What a bad model, or a bad call, says. Nothing of it may panic.

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use wmgen::model::{Config, Error, Gemma, LayerKind, LoadOptions, Summary, Weights, first_non_finite};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gemma").join(name)
}

/// A copy of a checkpoint that may be spoilt.
fn copy() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture("gemma2-f32").join(file), dir.path().join(file)).unwrap();
    }
    dir
}

fn load(path: &Path) -> Result<Gemma, Error> {
    Gemma::load(path, LoadOptions::default())
}

/// The error of the checkpoint with one change to its config.json.
fn with_config(change: impl Fn(&mut serde_json::Map<String, serde_json::Value>)) -> Error {
    let text = std::fs::read_to_string(fixture("gemma2-f32").join("config.json")).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    change(json.as_object_mut().unwrap());
    Config::from_json(&json.to_string()).unwrap_err()
}

/// The error of the checkpoint with some change to its tensors.
fn with_tensors(change: impl Fn(&mut HashMap<String, Tensor>)) -> Error {
    let dir = copy();
    let file = dir.path().join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
    change(&mut tensors);
    candle_core::safetensors::save(&tensors, &file).unwrap();
    load(dir.path()).unwrap_err()
}

#[track_caller]
fn says(error: &Error, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

#[test]
fn no_model_there() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nowhere");
    let e = load(&nowhere).unwrap_err();
    assert!(matches!(e, Error::NotFound { .. }));
    says(&e, &["nowhere", "config.json", ".gguf"]);
    let e = load(dir.path()).unwrap_err();
    assert!(matches!(e, Error::NotAModel { .. }));
    says(&e, &["without config.json"]);
    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "no model at all").unwrap();
    says(&load(&text).unwrap_err(), &["notes.txt", "GGUF"]);
    std::fs::copy(fixture("gemma2-f32").join("config.json"), dir.path().join("config.json")).unwrap();
    says(&load(dir.path()).unwrap_err(), &["neither model.safetensors nor"]);
}

#[test]
fn unsupported_architectures_are_named() {
    let e = with_config(|c| c["model_type"] = "llama".into());
    assert!(matches!(e, Error::Architecture { .. }));
    says(&e, &["llama", "gemma2", "gemma3_text"]);
    says(&with_config(|c| c["model_type"] = "gemma3".into()), &["text and images"]);
    let e = with_config(|c| {
        c.remove("model_type");
    });
    says(&e, &["Gemma2ForCausalLM"]);
}

#[test]
fn unsupported_settings_are_named() {
    says(&with_config(|c| c["attention_bias"] = true.into()), &["attention_bias", "true"]);
    says(&with_config(|c| c["use_bidirectional_attention"] = true.into()), &["use_bidirectional_attention"]);
    says(&with_config(|c| c["hidden_activation"] = "relu".into()), &["hidden_activation", "relu", "gelu"]);
    says(
        &with_config(|c| c["layer_types"][1] = "chunked_attention".into()),
        &["layer_types", "chunked_attention"],
    );
    let e = with_config(|c| c["layer_types"] = serde_json::json!(["full_attention"]));
    says(&e, &["layer_types", "1 entries", "4"]);
    says(&with_config(|c| c["rope_parameters"]["rope_type"] = "yarn".into()), &["rope_type", "yarn"]);
    says(
        &with_config(|c| c["num_key_value_heads"] = 3.into()),
        &["num_key_value_heads", "3", "divisor of 4"],
    );
    says(&with_config(|c| c["head_dim"] = 7.into()), &["head_dim", "7", "even"]);
    says(&with_config(|c| c["sliding_window"] = 0.into()), &["sliding_window", "0"]);
    says(
        &with_config(|c| c["num_hidden_layers"] = 1_000_000_000.into()),
        &["num_hidden_layers", "1000000000"],
    );
    says(&with_config(|c| c["hidden_size"] = (-1).into()), &["hidden_size", "-1", "whole number"]);
    says(&with_config(|c| c["attn_logit_softcapping"] = 0.0.into()), &["attn_logit_softcapping"]);
    says(&Config::from_json("{").unwrap_err(), &["config.json", "JSON"]);
}

#[test]
fn what_the_hub_leaves_out_is_filled_in() {
    let minimal = |kind: &str| {
        format!(
            r#"{{"model_type":"{kind}","hidden_size":2304,"num_hidden_layers":26,"num_attention_heads":8,
            "num_key_value_heads":4,"intermediate_size":9216,"vocab_size":256000}}"#
        )
    };
    let c = Config::from_json(&minimal("gemma2")).unwrap();
    assert_eq!((c.head_dim, c.query_pre_attn_scalar, c.max_position), (256, 256.0, 8192));
    assert_eq!((c.attn_softcap, c.final_softcap, c.tie), (Some(50.0), Some(30.0), true));
    assert_eq!(c.layers[..2], [LayerKind::Local { window: 4096 }, LayerKind::Global]);
    assert_eq!((c.rope_local.base, c.rope_global.base), (1e4, 1e4));
    let c = Config::from_json(&minimal("gemma3_text")).unwrap();
    assert_eq!((c.attn_softcap, c.final_softcap), (None, None));
    let global: Vec<usize> = (0..26).filter(|i| c.layers[*i] == LayerKind::Global).collect();
    assert_eq!(global, [5, 11, 17, 23]);
    assert_eq!((c.rope_local.base, c.rope_global.base), (1e4, 1e6));
}

#[test]
fn tensors_that_are_missing_or_wrong_are_named() {
    let up = "model.layers.1.mlp.up_proj.weight";
    let e = with_tensors(|t| {
        t.remove(up);
    });
    assert!(matches!(e, Error::MissingTensor { .. }));
    says(&e, &[up]);
    let e = with_tensors(|t| {
        let wrong = t[up].t().unwrap().contiguous().unwrap();
        t.insert(up.into(), wrong);
    });
    assert!(matches!(e, Error::Shape { .. }));
    says(&e, &[up, "[32, 48]", "[48, 32]"]);
    let e = with_tensors(|t| {
        let wrong = t[up].to_dtype(DType::I64).unwrap();
        t.insert(up.into(), wrong);
    });
    assert!(matches!(e, Error::Dtype { .. }));
    says(&e, &[up, "I64", "BF16"]);
}

#[test]
fn weights_that_the_model_does_not_use_are_named() {
    let dir = copy();
    let file = dir.path().join("config.json");
    let mut json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    json["num_hidden_layers"] = 3.into();
    json["layer_types"].as_array_mut().unwrap().truncate(3);
    std::fs::write(&file, json.to_string()).unwrap();
    let e = load(dir.path()).unwrap_err();
    assert!(matches!(e, Error::Unused { layers: 3, .. }));
    says(&e, &["model.layers.3.input_layernorm.weight", "and 8 more", "gemma2 model of 3 layers"]);

    let e = with_tensors(|t| {
        t.insert("model.layers.1.mlp.up_proj.bias".into(), t["model.norm.weight"].clone());
    });
    says(&e, &["model.layers.1.mlp.up_proj.bias"]);

    let path = dir.path().join("m.gguf");
    let file = std::fs::read(gguf(&path, "gemma2", true)).unwrap();
    // A block of the same length as the model's own, so that nothing else moves.
    std::fs::write(&path, replaced(&file, b"blk.0.attn_norm", b"blk.1.attn_norm")).unwrap();
    says(&load(&path).unwrap_err(), &["blk.1.attn_norm.weight", "gemma2 model of 1 layers"]);
}

/// As transformers writes it for some tied models, and what it would silently throw away.
#[test]
fn a_head_beside_a_tied_embedding_must_equal_it() {
    let with_head = |head: fn(&Tensor) -> Tensor| {
        let dir = copy();
        let file = dir.path().join("model.safetensors");
        let mut tensors = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
        let head = head(&tensors["model.embed_tokens.weight"]);
        tensors.insert("lm_head.weight".into(), head);
        candle_core::safetensors::save(&tensors, &file).unwrap();
        load(dir.path())
    };
    with_head(Clone::clone).unwrap();
    let e = with_head(|embedding| (embedding * 1.01).unwrap()).unwrap_err();
    assert!(matches!(e, Error::OtherHead { .. }));
    says(&e, &["lm_head.weight", "tie_word_embeddings to false"]);
}

#[test]
fn tensors_that_are_named_twice_or_overlap_are_refused() {
    let dir = copy();
    let file = dir.path().join("model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    let (of, with) = (b"model.layers.0.mlp.up_proj.weight", b"model.layers.1.mlp.up_proj.weight");
    std::fs::write(&file, replaced(&bytes, of, with)).unwrap();
    says(&load(dir.path()).unwrap_err(), &["model.layers.1.mlp.up_proj.weight", "named twice"]);

    let path = dir.path().join("m.gguf");
    let mut bytes = std::fs::read(gguf(&path, "gemma2", true)).unwrap();
    // The offset stands behind the name, the number of dimensions, two of them, and the type.
    let offset = |name: &[u8]| position(&bytes, name) + name.len() + 4 + 2 * 8 + 4;
    let (of_q, of_k) = (offset(b"blk.0.attn_q.weight"), offset(b"blk.0.attn_k.weight"));
    bytes.copy_within(of_q..of_q + 8, of_k);
    std::fs::write(&path, bytes).unwrap();
    says(&load(&path).unwrap_err(), &["blk.0.attn_q.weight", "blk.0.attn_k.weight", "overlap"]);
}

#[test]
fn a_part_of_a_split_gguf_file_is_called_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m-00002-of-00003.gguf");
    let metadata = [
        ("split.no", Value::U16(1)),
        ("split.tensors.count", Value::I32(13)),
        ("split.count", Value::U16(3)),
    ];
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    gguf_file::write(&mut std::fs::File::create(&path).unwrap(), &metadata, &[]).unwrap();
    let e = load(&path).unwrap_err();
    assert!(matches!(e, Error::Shard { part: 2, parts: 3, .. }));
    says(&e, &["part 2 of 3", "llama-gguf-split --merge"]);
}

/// As transformers does: an index that an earlier download has left beside the whole file says nothing.
#[test]
fn a_whole_file_comes_before_an_index() {
    let dir = copy();
    let index = dir.path().join("model.safetensors.index.json");
    std::fs::write(&index, r#"{"weight_map":{"model.norm.weight":"model-00001-of-00002.safetensors"}}"#)
        .unwrap();
    load(dir.path()).unwrap();
}

#[test]
fn a_shard_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors.index.json", "model-00001-of-00004.safetensors"] {
        std::fs::copy(fixture("gemma2-sharded-f16").join(file), dir.path().join(file)).unwrap();
    }
    says(&load(dir.path()).unwrap_err(), &["model-00002-of-00004.safetensors"]);
    let index = dir.path().join("model.safetensors.index.json");
    std::fs::write(&index, r#"{"weight_map":{"a":"../../secret"}}"#).unwrap();
    says(&load(dir.path()).unwrap_err(), &["../../secret", "not a file name"]);
}

/// Where `part` first stands.
fn position(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).position(|window| window == part).unwrap()
}

/// The bytes with another part of the same length in place of one.
fn replaced(bytes: &[u8], part: &[u8], by: &[u8]) -> Vec<u8> {
    let (at, mut bytes) = (position(bytes, part), bytes.to_vec());
    bytes[at..at + by.len()].copy_from_slice(by);
    bytes
}

/// Writes a Gemma 2 of one layer with zeros for weights, and returns its path.
fn gguf<'a>(path: &'a Path, arch: &str, tensors: bool) -> &'a Path {
    let size = |v: u32| Value::U32(v);
    let own = [
        ("embedding_length", size(32)),
        ("block_count", size(1)),
        ("feed_forward_length", size(32)),
        ("attention.head_count", size(1)),
        ("attention.key_length", size(32)),
        ("context_length", size(64)),
    ];
    let mut metadata = vec![
        ("general.architecture".to_owned(), Value::String(arch.into())),
        ("tokenizer.ggml.tokens".to_owned(), Value::Array(vec![Value::String("piece".into()); 9])),
    ];
    metadata.extend(own.into_iter().map(|(k, v)| (format!("{arch}.{k}"), v)));
    let zeros = |shape: &[usize], dtype| {
        QTensor::quantize(&Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap(), dtype).unwrap()
    };
    let mut all = vec![
        ("token_embd.weight".to_owned(), zeros(&[16, 32], GgmlDType::Q8_0)),
        ("output_norm.weight".to_owned(), zeros(&[32], GgmlDType::F32)),
    ];
    if tensors {
        for name in ["attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"] {
            all.push((format!("blk.0.{name}.weight"), zeros(&[32], GgmlDType::F32)));
        }
        for name in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"] {
            all.push((format!("blk.0.{name}.weight"), zeros(&[32, 32], GgmlDType::Q4_0)));
        }
    }
    let metadata: Vec<_> = metadata.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let tensors: Vec<_> = all.iter().map(|(k, v)| (k.as_str(), v)).collect();
    gguf_file::write(&mut std::fs::File::create(path).unwrap(), &metadata, &tensors).unwrap();
    path
}

#[test]
fn gguf_files_say_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    gguf(&path, "gemma2", true);
    load(&path).unwrap();
    gguf(&path, "llama", true);
    says(&load(&path).unwrap_err(), &["llama", "gemma2"]);
    gguf(&path, "gemma2", false);
    says(&load(&path).unwrap_err(), &["blk.0.attn_norm.weight"]);

    gguf(&path, "gemma2", true);
    let whole = std::fs::read(&path).unwrap();
    // The number of a type that is not read, in place of q8_0 in the embedding's entry.
    let name = b"token_embd.weight";
    let at = position(&whole, name) + name.len() + 4 + 16;
    let mut spoilt = whole.clone();
    spoilt[at] = 16;
    std::fs::write(&path, &spoilt).unwrap();
    says(&load(&path).unwrap_err(), &["token_embd.weight", "type 16", "q4_0"]);
    let mut spoilt = whole;
    spoilt[4] = 9;
    std::fs::write(&path, &spoilt).unwrap();
    says(&load(&path).unwrap_err(), &["version 9"]);
}

/// Every length that a download could have stopped at.
#[test]
fn truncated_files_are_called_truncated() {
    let dir = copy();
    gguf(&dir.path().join("m.gguf"), "gemma2", true);
    for (file, model) in [("m.gguf", "m.gguf"), ("model.safetensors", "")] {
        let path = dir.path().join(file);
        let whole = std::fs::read(&path).unwrap();
        // The last tensor of a GGUF file is padded.
        let end = whole.len() - if file == "m.gguf" { 32 } else { 1 };
        for len in (0..end).step_by(97).chain([0, 1, 7, 8, 9, 24, end]) {
            std::fs::write(&path, &whole[..len]).unwrap();
            let e = load(&dir.path().join(model)).unwrap_err();
            assert!(matches!(e, Error::Truncated { .. }), "{file} of {len} bytes: {e}");
            says(&e, &[file, &format!("the file has {len}")]);
        }
    }
}

/// Damage anywhere in the header is an error or harmless, never a panic and never a huge allocation.
#[test]
fn damaged_headers_do_not_panic() {
    let dir = copy();
    gguf(&dir.path().join("m.gguf"), "gemma2", true);
    let mut rng = StdRng::seed_from_u64(3);
    for (file, model) in [("m.gguf", "m.gguf"), ("model.safetensors", "")] {
        let path = dir.path().join(file);
        let whole = std::fs::read(&path).unwrap();
        for _ in 0..1500 {
            let mut spoilt = whole.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..whole.len().min(1600));
                spoilt[at] = [0, 1, 0x7f, 0xff, rng.random()][rng.random_range(0..5)];
            }
            std::fs::write(&path, &spoilt).unwrap();
            let _ = load(&dir.path().join(model));
        }
    }
}

#[test]
fn calls_that_do_not_fit_are_refused_and_harm_nothing() {
    let model = load(&fixture("gemma2-hub")).unwrap();
    let (context, vocab) = (model.config().max_position, model.config().vocab);
    let mut cache = model.new_cache(1);
    let e = model.forward(&[vec![1; context + 1]], &mut cache).unwrap_err();
    assert!(matches!(e, Error::Context { needed, limit } if needed == context + 1 && limit == context));
    says(&e, &["513", "512", "shorten"]);
    let e = model.forward(&[[3, vocab as u32]], &mut cache).unwrap_err();
    says(&e, &["130", "tokenizer"]);
    for rows in [vec![], vec![vec![]], vec![vec![1], vec![2]]] {
        assert!(matches!(model.forward(&rows, &mut cache), Err(Error::Batch { .. })), "{rows:?}");
    }
    assert!(matches!(
        model.forward(&[vec![1], vec![1, 2]], &mut model.new_cache(2)),
        Err(Error::Batch { .. })
    ));
    assert!(cache.keep_rows(&[]).is_err() && cache.keep_rows(&[1]).is_err() && cache.expand(0).is_err());
    // The cache is as good as new, up to the last position and no further.
    model.forward(&[vec![1; context - 1]], &mut cache).unwrap();
    model.forward(&[[1]], &mut cache).unwrap();
    assert!(matches!(model.forward(&[[1]], &mut cache), Err(Error::Context { .. })));
}

#[test]
fn nan_in_the_weights_is_found_in_the_logits() {
    let dir = copy();
    let file = dir.path().join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
    let name = "model.layers.2.mlp.down_proj.weight";
    let nan = (&tensors[name] * f64::NAN).unwrap();
    tensors.insert(name.into(), nan);
    candle_core::safetensors::save(&tensors, &file).unwrap();
    let model = load(dir.path()).unwrap();
    let logits = model.forward(&[[1, 2, 3]], &mut model.new_cache(1)).unwrap();
    assert_eq!(first_non_finite(&logits.flatten_all().unwrap().to_vec1().unwrap()), Some(0));
    assert_eq!(first_non_finite(&[0.0, f32::NEG_INFINITY]), Some(1));
    assert_eq!(first_non_finite(&[0.0, 1e30]), None);
}

#[test]
fn the_cpu_computes_in_f32_only() {
    let options = LoadOptions { dtype: Some(DType::BF16), ..LoadOptions::default() };
    says(&Gemma::load(fixture("gemma2-bf16"), options).unwrap_err(), &["bf16", "f32"]);
}

#[test]
fn a_summary_tells_the_files_apart() {
    let summary = Summary::open(fixture("gemma2-bf16")).unwrap();
    assert_eq!((summary.local_layers, summary.global_layers), (3, 2));
    assert_eq!(summary.formats.keys().copied().collect::<Vec<_>>(), ["bf16"]);
    assert_eq!(summary.formats["bf16"].1, summary.parameters);
    let model = load(&fixture("gemma2-bf16")).unwrap();
    assert_eq!(model.fingerprint(), Some(summary.fingerprint.as_str()));

    // One bit of one weight, or one setting, is another model; a further end token is not.
    let dir = copy();
    let of = |dir: &TempDir| Summary::open(dir.path()).unwrap().fingerprint;
    let original = of(&dir);
    std::fs::write(dir.path().join("generation_config.json"), r#"{"eos_token_id":[1,107]}"#).unwrap();
    assert_eq!(Weights::open(dir.path()).unwrap().config().eos, [1, 107]);
    assert_eq!(of(&dir), original);
    let file = dir.path().join("config.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(r#""query_pre_attn_scalar": 20"#, r#""query_pre_attn_scalar": 21"#))
        .unwrap();
    assert_ne!(of(&dir), original);
    let dir = copy();
    let file = dir.path().join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert_ne!(of(&dir), original);
}

#[test]
fn loading_reports_every_byte() {
    let mut reports = Vec::new();
    let options = LoadOptions { progress: Some(Box::new(|p| reports.push(p))), ..LoadOptions::default() };
    Gemma::load(fixture("gemma2-f32"), options).unwrap();
    let (first, last) = (reports[0], reports[reports.len() - 1]);
    assert_eq!((first.done, last.done), (0, last.total));
    assert!(reports.is_sorted_by_key(|p| p.done));
}
