//! What a caller chooses for a prompt.

use wmdetect::scheme::{Key, Watermark};

use super::WatermarkReceipt;
use crate::sample::Sampling;
use crate::sample::draw::channel_number;

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
    /// Why there is no mark, for the receipts: `greedy`, for instance. Without effect if there is a mark.
    pub unmarked_because: Option<String>,
    /// Strings that end a text. They are not part of it.
    pub stop: Vec<String>,
    /// Bans the tokens that end a text, so that only its length or a stop string does. A verifier does not know of it,
    /// which costs evidence where an end was likely.
    pub ignore_stops: bool,
    /// Gives each token's log-probability, and those of so many most likely tokens.
    pub logprobs: Option<usize>,
    /// Who asks. Waiting prompts of different tenants begin in turn.
    pub tenant: u32,
    /// What receipts call who asks.
    pub tenant_name: Option<String>,
    /// The request's id, for the receipts.
    pub request_id: Option<String>,
}

impl Default for Options {
    /// One unmarked text of at most 256 tokens.
    fn default() -> Self {
        Self {
            n: 1,
            max_tokens: 256,
            sampling: Sampling::default(),
            mark: None,
            unmarked_because: None,
            stop: Vec::new(),
            ignore_stops: false,
            logprobs: None,
            tenant: 0,
            tenant_name: None,
            request_id: None,
        }
    }
}

/// The mark of a key: what the engine needs of it, and what receipts say of it.
#[derive(Clone, Debug)]
pub struct KeyMark {
    pub(super) watermark: Watermark,
    /// Without channel and counts.
    receipt: WatermarkReceipt,
    least_tokens: usize,
}

impl KeyMark {
    /// Returns how many tokens a text must have for one of them to be marked.
    pub fn least_tokens(&self) -> usize {
        self.least_tokens
    }

    /// What the receipt of text number `number` of a request under `seed` says of the key.
    pub(super) fn receipt(&self, seed: u64, number: usize) -> WatermarkReceipt {
        let channel = self.watermark.channel(channel_number(seed, number as u64));
        WatermarkReceipt { channel, ..self.receipt.clone() }
    }

    /// Derives the mark of `key`.
    pub fn new(key: &Key) -> Self {
        let scheme = key.scheme();
        Self {
            watermark: Watermark::new(key.prf()),
            least_tokens: scheme.context_rule().shortest() + 1,
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
