//! What all prompts to one model share.

use std::sync::Arc;

use wmdetect::text::Tokenizer;

use super::{ModelReceipt, Options, RespondError};
use crate::engine::Request;
use crate::model::Gemma;
use crate::text::{Prompt, SpecialTokens};

/// A model as texts see it: its tokenizer, the tokens that are no text, and what receipts say of it.
#[derive(Clone, Debug)]
pub struct ModelInfo {
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) special: SpecialTokens,
    pub(super) receipt: ModelReceipt,
}

impl ModelInfo {
    /// Describes `model`, which receipts call `name`.
    pub fn new(model: &Gemma, name: &str, tokenizer: Arc<Tokenizer>) -> Self {
        let config = model.config();
        let special = SpecialTokens::new(&tokenizer, config.vocab, &config.eos);
        let receipt = ModelReceipt {
            name: name.to_owned(),
            fingerprint: model.fingerprint().map(str::to_owned),
            dtype: model.dtype().as_str().to_owned(),
            softcap: config.attn_softcap.is_some() || config.final_softcap.is_some(),
        };
        Self { tokenizer, special, receipt }
    }

    /// Makes the engine's request of a prompt.
    pub(super) fn request(&self, prompt: &Prompt, options: &Options) -> Result<Request, RespondError> {
        Ok(Request {
            sequences: options.n,
            max_tokens: options.max_tokens,
            sampling: options.sampling,
            watermark: options.mark.as_ref().map(|mark| mark.watermark.clone()),
            stop_ids: self.special.stops.clone(),
            banned_ids: self.special.never.clone(),
            logprobs: options.logprobs,
            ..Request::new(prompt.ids(&self.tokenizer)?)
        })
    }
}
