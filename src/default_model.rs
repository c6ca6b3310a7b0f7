//! The model that ships with the program: a small Gemma 2 that was trained with this toolkit. So everything can be tried on a
//! machine without weights and without a network. `default-model/README.md` says what it is and how to make it again. Its
//! tokenizer is [`Tokenizer::of_default_model`](wmdetect::text::Tokenizer::of_default_model).

use crate::model::weights::Weights;
use crate::model::{Gemma, LoadOptions, Result};

pub use wmgen_default_model::gguf;

/// Name of the model in receipts and reports.
pub const NAME: &str = wmdetect::text::DEFAULT_MODEL;

/// Returns the model's tensors.
///
/// # Errors
/// Returns an error if the file is damaged; a test ensures that the file of a release is not.
pub fn weights() -> Result<Weights> {
    Weights::from_gguf_bytes(gguf(), NAME)
}

/// Loads the model.
///
/// # Errors
/// Returns an error if `options` ask for something that the device cannot do.
pub fn load(options: LoadOptions<'_>) -> Result<Gemma> {
    let weights = weights()?;
    Gemma::new(weights.config().clone(), &weights, options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wmdetect::text::Tokenizer;

    /// The detector has a tokenizer.json, and the model's file contains another tokenizer: they must split every text alike.
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
