//! Options of a prompt.

use wmdetect::scheme::{Key, KeyError, Watermark};

use super::WatermarkReceipt;
use crate::sample::Sampling;

/// Options for answering a prompt.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of texts.
    pub n: usize,
    /// Maximum number of tokens in a text.
    pub max_tokens: usize,
    /// Sampling settings. Prompts with the same seed draw alike, so each needs a different seed.
    pub sampling: Sampling,
    /// The mark, if any.
    pub mark: Option<KeyMark>,
    /// Reason why there is no mark, for the receipts, for instance `greedy`. It has no effect if there is a mark.
    pub unmarked_because: Option<String>,
    /// Strings that end a text. They are not part of the text.
    pub stop: Vec<String>,
    /// Whether to ban the tokens that end a text, so that only its length or a stop string ends it. A verifier does
    /// not know about this, which costs evidence where an end was likely.
    pub ignore_stops: bool,
    /// Number of most likely tokens whose log-probabilities are returned with each token, in addition to its own.
    pub logprobs: Option<usize>,
    /// Number of the tenant that asks. Waiting prompts of different tenants begin in turn.
    pub tenant: u32,
    /// Name of the tenant in receipts.
    pub tenant_name: Option<String>,
    /// Id of the request, for the receipts.
    pub request_id: Option<String>,
}

impl Default for Options {
    /// Returns options for one unmarked text of at most 256 tokens.
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

/// The mark of a key: what the engine needs of it, and what receipts say about it.
#[derive(Clone, Debug)]
pub struct KeyMark {
    pub(super) watermark: Watermark,
    /// The entry in receipts, without channel and counts.
    receipt: WatermarkReceipt,
    least_tokens: usize,
}

impl KeyMark {
    /// Returns the number of tokens that a text must have for one of them to be marked.
    pub fn least_tokens(&self) -> usize {
        self.least_tokens
    }

    /// Returns what the receipt of text number `number` to `prompt` under `seed` says about the key.
    pub(super) fn receipt(&self, prompt: &[u32], seed: u64, number: usize) -> WatermarkReceipt {
        let channel = self.watermark.channel(self.watermark.random(prompt, seed, number as u64));
        WatermarkReceipt { channel, ..self.receipt.clone() }
    }

    /// Derives the mark of `key`.
    ///
    /// # Errors
    /// Returns an error if the key is that of another engine's mark: [`KeyError::NotATournament`].
    pub fn new(key: &Key) -> Result<Self, KeyError> {
        let scheme = key.scheme();
        scheme.check_tournament()?;
        Ok(Self {
            watermark: Watermark::new(key.prf()),
            least_tokens: scheme.context_rule().shortest() + 1,
            receipt: WatermarkReceipt {
                scheme: Some(scheme.name().to_owned()),
                key_id: Some(key.id()),
                ngram_len: Some(scheme.ngram_len()),
                depth: Some(scheme.depth()),
                ..WatermarkReceipt::default()
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use wmdetect::scheme::Secret;
    use wmdetect::scheme::gumbel::VllmGumbel;

    use super::*;

    /// No verifier would take such a key, so a text of it must not come about.
    #[test]
    fn keys_of_other_engines_marks_do_not_mark() {
        let key = Key::new(VllmGumbel { context_width: 4 }, Secret::new(vec![1; 8].into())).unwrap();
        let error = KeyMark::new(&key).unwrap_err();
        assert!(matches!(error, KeyError::NotATournament { scheme: "vllm-gumbel" }), "{error}");
    }
}
