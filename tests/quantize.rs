//! A model directory becomes a GGUF file that is the same model.

use std::path::Path;

use half::f16;
use wmdetect::text::Tokenizer;
use wmgen::model::weights::ChatTemplate;
use wmgen::model::{Config, Format, Gemma, LoadOptions, Weights};
use wmgen::quantize::{Error, quantize};
use wmgen::train::parameters::Table;
use wmgen::train::{Sizes, export, tokenizer};

const TEXT: &str =
    "The old man went down to the river. \"I shall go,\" he said, \"down to the sea in 1871.\"";

fn config(vocab: usize) -> Config {
    let sizes = Sizes {
        hidden: 64,
        layers: 4,
        heads: 4,
        kv_heads: 2,
        head_dim: 32,
        intermediate: 96,
        window: 6,
        context: 64,
    };
    sizes.gemma2(vocab).unwrap()
}

/// Writes a model whose numbers f16 holds exactly.
fn model(dir: &Path, change: impl Fn(&mut Config)) {
    let json = tokenizer::train(&[TEXT; 4], 380).unwrap();
    let vocab = serde_json::from_str::<serde_json::Value>(&json).unwrap()["model"]["vocab"]
        .as_object()
        .unwrap()
        .len();
    let mut config = config(vocab);
    change(&mut config);
    let mut params = Table::new(&config).init(&config, 0.1, 9);
    for (i, p) in params.iter_mut().enumerate() {
        *p = f16::from_f32(*p + 0.02 * (i as f32 * 0.7).sin()).to_f32();
    }
    export::write(dir, &config, &params, &json).unwrap();
}

/// Logits after each token of a text that is longer than the window.
fn logits(path: &Path) -> Vec<f32> {
    // Only then are the sums of all formats in one order.
    let options = LoadOptions { unrounded: true, ..LoadOptions::default() };
    let model = Gemma::load(path, options).unwrap();
    let ids: Vec<u32> = (0..40).map(|i| (i * i + 3) % 300).collect();
    let logits = model.forward_all(&[ids], &mut model.new_cache(1)).unwrap();
    logits.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn floats_are_the_same_model_and_fewer_bits_nearly_so() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path(), |_| {});
    let want = logits(dir.path());
    let size = (want.iter().map(|v| v * v).sum::<f32>() / want.len() as f32).sqrt();
    let out = dir.path().join("model.gguf");
    let mut sizes = Vec::new();
    for (format, tolerance) in [
        (Format::F32, 0.0),
        (Format::F16, 0.0),
        (Format::BF16, 0.03),
        (Format::Q8_0, 0.04),
        (Format::Q5_1, 0.2),
        (Format::Q4_0, 0.5),
        // 64 columns are no block of 256: f16 remains, and the embedding in q8_0.
        (Format::Q4K, 0.04),
    ] {
        let summary = quantize(dir.path(), &out, format).unwrap();
        let got = logits(&out);
        let error = got.iter().zip(&want).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        let error = (error / want.len() as f32).sqrt() / size;
        assert!(error <= tolerance, "{}: {error}", format.name());
        assert_eq!(summary.bytes, std::fs::metadata(&out).unwrap().len());
        sizes.push(summary.bytes);
    }
    assert!(sizes[0] > sizes[1] && sizes[1] > sizes[3] && sizes[3] > sizes[5], "{sizes:?}");
    // The tokenizer is inside.
    let [json, gguf] = [dir.path(), &out].map(|path| wmdetect::text::Tokenizer::open(path).unwrap());
    assert_eq!(json.fingerprint(), gguf.fingerprint());
    assert_eq!((gguf.bos(), gguf.eos()), (json.bos(), json.eos()));
    for text in [TEXT, "  na\u{ef}ve\n\n\u{1f600}"] {
        assert_eq!(json.encode(text).unwrap().ids, gguf.encode(text).unwrap().ids);
    }
    assert!(matches!(
        quantize(&out, &dir.path().join("again.gguf"), Format::Q8_0),
        Err(Error::AlreadyGguf { .. })
    ));
}

#[test]
fn the_chat_template_goes_into_the_file() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path(), |_| {});
    let out = dir.path().join("model.gguf");
    let template = || {
        quantize(dir.path(), &out, Format::Q8_0).unwrap();
        Weights::open(&out).unwrap().chat_template().clone()
    };
    assert_eq!(template(), ChatTemplate::Missing);
    std::fs::write(dir.path().join("tokenizer_config.json"), r#"{"chat_template": "{{ bos_token }}"}"#)
        .unwrap();
    assert_eq!(template(), ChatTemplate::Given("{{ bos_token }}".into()));
}

/// Gemma 3's tokenizer has a token for images, and the models of text alone have no row for it.
#[test]
fn a_control_token_without_a_row_is_left_out_and_a_word_without_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path(), |_| {});
    let path = dir.path().join("tokenizer.json");
    let out = dir.path().join("model.gguf");
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let rows = json["model"]["vocab"].as_object().unwrap().len();
    let quantized = |special: bool| {
        let mut token = json["added_tokens"][0].clone();
        (token["id"], token["content"], token["special"]) = (rows.into(), "<image>".into(), special.into());
        let mut with = json.clone();
        with["added_tokens"].as_array_mut().unwrap().push(token);
        std::fs::write(&path, with.to_string()).unwrap();
        quantize(dir.path(), &out, Format::Q8_0).map(|_| Tokenizer::open(&out).unwrap().vocab_size())
    };
    assert_eq!(quantized(true).unwrap(), rows);
    let error = quantized(false).unwrap_err().to_string();
    assert!(error.contains(&format!("\"<image>\" has id {rows}, expected one below {rows}")), "{error}");
}

#[test]
fn what_gguf_cannot_express_is_refused() {
    type Change = fn(&mut Config);
    let changes: [(&str, Change); 4] = [
        ("query_pre_attn_scalar", |c| c.query_pre_attn_scalar = 24.0),
        ("layer_types", |c| c.layers.swap(0, 1)),
        ("attn_logit_softcapping", |c| c.attn_softcap = None),
        ("tie_word_embeddings", |c| c.tie = false),
    ];
    for (setting, change) in changes {
        let dir = tempfile::tempdir().unwrap();
        model(dir.path(), change);
        let out = dir.path().join("model.gguf");
        let error = quantize(dir.path(), &out, Format::Q8_0).unwrap_err().to_string();
        assert!(error.contains(setting), "{error}");
        assert!(!out.exists());
    }
}
