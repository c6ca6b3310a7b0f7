//! The model that ships with the program: a small Gemma 2 that this toolkit trained, so that everything can be tried
//! on a machine without weights and without a network. `default-model/README.md` says what it is and how to make it again; its
//! tokenizer is [`Tokenizer::of_default_model`](wmdetect::text::Tokenizer::of_default_model).

use crate::model::weights::Weights;
use crate::model::{Gemma, LoadOptions, Result};

pub use wmgen_default_model::gguf;

/// What the model is called in receipts and reports.
pub const NAME: &str = wmdetect::text::DEFAULT_MODEL;

/// Returns its tensors.
///
/// # Errors
/// Returns an error if the file is broken, which that of a release is not: a test opens it.
pub fn weights() -> Result<Weights> {
    Weights::from_gguf_bytes(gguf(), NAME)
}

/// Loads it.
///
/// # Errors
/// Returns an error if `options` ask for what the device cannot do.
pub fn load(options: LoadOptions<'_>) -> Result<Gemma> {
    let weights = weights()?;
    Gemma::new(weights.config().clone(), &weights, options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wmdetect::text::Tokenizer;

    /// The detector has a tokenizer.json and the model's file another tokenizer inside: they must cut every text alike.
    #[test]
    fn the_detector_has_this_models_tokenizer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("default.gguf");
        std::fs::write(&path, gguf()).unwrap();
        let (inside, built_in) = (Tokenizer::open(path).unwrap(), Tokenizer::of_default_model());
        assert_eq!(inside.fingerprint(), built_in.fingerprint());
        assert_eq!(inside.binding().rules, built_in.binding().rules);
        assert_eq!(inside.name(), NAME);
        let text = include_str!("../README.md");
        assert_eq!(inside.encode(text).unwrap(), built_in.encode(text).unwrap());
    }

    #[test]
    fn local_and_global_layers_differ_within_its_context() {
        let weights = weights().unwrap();
        let config = weights.config();
        assert!(gguf().len() < 8 << 20);
        assert_eq!(config.vocab, Tokenizer::of_default_model().vocab_size());
        assert!(config.max_position >= 512 && config.window().unwrap() < config.max_position);
        assert!(config.attn_softcap.is_some() && config.final_softcap.is_some());
    }
}
