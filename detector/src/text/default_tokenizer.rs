//! The tokenizer of the model that ships with `wmgen`. Its texts can be scored without a tokenizer file.

use std::path::Path;

use super::Tokenizer;

/// Name of the model and of its tokenizer.
pub const DEFAULT_MODEL: &str = "wmgen-default";

impl Tokenizer {
    /// Returns the tokenizer of the default model of `wmgen`, which is part of this crate. It fits texts of that model
    /// only.
    pub fn of_default_model() -> Self {
        Self::from_json(Self::json_of_default_model().as_bytes(), Path::new(DEFAULT_MODEL), None)
            .expect("the built-in tokenizer is well-formed, as a test shows")
    }

    /// Returns the tokenizer.json of the default model of `wmgen`, for a model that is trained from it.
    pub fn json_of_default_model() -> &'static str {
        include_str!("default_tokenizer.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_whole_and_has_a_name() {
        let tokenizer = Tokenizer::of_default_model();
        assert_eq!(tokenizer.name(), DEFAULT_MODEL);
        assert_eq!(tokenizer.vocab_size(), 6144);
        let text = "The old lighthouse — naïve, 1799, 🦀\n\n  two  spaces";
        let encoded = tokenizer.encode(text).unwrap();
        assert_eq!(tokenizer.decode(&encoded.ids), text);
        assert!(encoded.ids.len() < text.len(), "words are pieces, not bytes");
    }
}
