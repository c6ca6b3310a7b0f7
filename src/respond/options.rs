//! What a caller chooses for a prompt.

use wmdetect::scheme::{Key, Watermark};

use super::WatermarkReceipt;
use crate::sample::Sampling;

/// How to answer a prompt.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of texts.
    pub n: usize,
    /// The most tokens of a text.
    pub max_tokens: usize,
    /// How to sample. Prompts with the same seed draw alike, so each needs another one.
    pub sampling: Sampling,
    /// The mark, if any.
    pub mark: Option<KeyMark>,
    /// Strings that end a text. They are not part of it.
    pub stop: Vec<String>,
    /// Gives each token's log-probability, and those of so many most likely tokens.
    pub logprobs: Option<usize>,
    /// Who asks. Waiting prompts of different tenants begin in turn.
    pub tenant: u32,
}

impl Default for Options {
    /// One unmarked text of at most 256 tokens.
    fn default() -> Self {
        Self {
            n: 1,
            max_tokens: 256,
            sampling: Sampling::default(),
            mark: None,
            stop: Vec::new(),
            logprobs: None,
            tenant: 0,
        }
    }
}

/// The mark of a key: what the engine needs of it, and what receipts say of it.
#[derive(Clone, Debug)]
pub struct KeyMark {
    pub(super) watermark: Watermark,
    /// Without counts.
    pub(super) receipt: WatermarkReceipt,
}

impl KeyMark {
    /// Derives the mark of `key`.
    pub fn new(key: &Key) -> Self {
        let scheme = key.scheme();
        Self {
            watermark: Watermark::new(key.prf()),
            receipt: WatermarkReceipt {
                scheme: Some(scheme.name().to_owned()),
                key_id: Some(key.id()),
                ngram_len: Some(scheme.ngram_len()),
                depth: Some(scheme.depth()),
                ..WatermarkReceipt::default()
            },
        }
    }
}
