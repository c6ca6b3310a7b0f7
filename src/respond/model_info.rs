//! Properties that all prompts to one model share.

use std::sync::Arc;

use wmdetect::text::Tokenizer;

use super::{ModelReceipt, Options, RespondError};
use crate::engine::Request;
use crate::model::Gemma;
use crate::text::{Prompt, SpecialTokens};

/// A model from the viewpoint of texts: its tokenizer, the tokens that are not text, and its entry in
/// receipts.
#[derive(Clone, Debug)]
pub struct ModelInfo {
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) special: SpecialTokens,
    pub(super) context: usize,
    pub(super) receipt: ModelReceipt,
}

impl ModelInfo {
    /// Describes `model`, under the name that receipts use.
    pub fn new(model: &Gemma, name: &str, tokenizer: Arc<Tokenizer>) -> Self {
        let config = model.config();
        let special = SpecialTokens::new(&tokenizer, config.vocab, &config.eos);
        let receipt = ModelReceipt {
            name: name.to_owned(),
            fingerprint: model.fingerprint().map(str::to_owned),
            dtype: model.dtype().as_str().to_owned(),
            softcap: config.attn_softcap.is_some() || config.final_softcap.is_some(),
        };
        Self { tokenizer, special, context: config.max_position, receipt }
    }

    /// Returns the tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// Returns the number of positions of the model. Prompt and text together have at most one token more.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Returns the model's entry in receipts.
    pub fn receipt(&self) -> &ModelReceipt {
        &self.receipt
    }

    /// Encodes a prompt, for instance to count its tokens. [`Prompt::Tokens`] with these ids is the same
    /// prompt.
    ///
    /// # Errors
    /// Returns an error if the prompt has no ids.
    pub fn prompt_ids(&self, prompt: &Prompt) -> Result<Vec<u32>, RespondError> {
        Ok(prompt.ids(&self.tokenizer)?)
    }

    /// Makes the engine's request for a prompt.
    pub(super) fn request(&self, prompt: &Prompt, options: &Options) -> Result<Request, RespondError> {
        let (mut stop_ids, mut banned_ids) = (self.special.stops.clone(), self.special.never.clone());
        if options.ignore_stops {
            banned_ids.append(&mut stop_ids);
        }
        Ok(Request {
            sequences: options.n,
            max_tokens: options.max_tokens,
            sampling: options.sampling,
            watermark: options.mark.as_ref().map(|mark| mark.watermark.clone()),
            stop_ids,
            banned_ids,
            logprobs: options.logprobs,
            tenant: options.tenant,
            ..Request::new(self.prompt_ids(prompt)?)
        })
    }
}
