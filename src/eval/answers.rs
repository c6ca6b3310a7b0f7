//! Makes the model write answers, many at a time.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use wmdetect::text::Tokenizer;

use super::EvalError;
use crate::engine::{self, Engine, Id};
use crate::model::{CHUNK, Gemma};
use crate::respond::{Event, KeyMark, ModelInfo, Options, Responder, WatermarkReceipt};
use crate::sample::Sampling;
use crate::text::Prompt;

/// Number of waiting prompts for each one that is being answered, so that no place stays empty.
const WAITING: usize = 2;
/// Number of bytes for caches of beginnings that prompts share.
const PREFIX_BYTES: usize = 1 << 30;

/// Settings for drawing answers.
#[derive(Clone, Debug)]
pub struct Drawing {
    /// Sampling settings. Their seed is that of the first text.
    pub sampling: Sampling,
    /// The mark.
    pub mark: Option<KeyMark>,
    /// Maximum number of tokens in an answer.
    pub max_tokens: usize,
    /// Strings that end an answer.
    pub stop: Vec<String>,
}

/// An answer that the model wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The text, without a stop string.
    pub text: String,
    /// Its token ids.
    pub tokens: Vec<u32>,
    /// Mean of −ln p of its tokens under the model; `None` if it has no tokens.
    pub nll: Option<f64>,
    /// What the receipt says about the mark.
    pub watermark: WatermarkReceipt,
    /// Whether the beginning of the prompt was cut off.
    pub truncated: bool,
}

/// A model that writes.
pub struct Answers {
    responder: Responder<Gemma>,
    info: ModelInfo,
    together: usize,
}

/// A prompt that is being answered.
struct Open {
    id: Id,
    index: usize,
    truncated: bool,
    /// ln p of each token.
    logprobs: Vec<f64>,
}

impl Answers {
    /// Writes with a model. At most `together` answers share a pass over the weights. Without `rounded`, it computes
    /// exactly, as it does for reading.
    pub fn new(model: &Gemma, name: &str, tokenizer: Arc<Tokenizer>, together: usize, rounded: bool) -> Self {
        let info = ModelInfo::new(model, name, tokenizer);
        let options = engine::Options {
            together,
            slice: CHUNK,
            cache_bytes: usize::MAX,
            prefix_bytes: PREFIX_BYTES,
            ..engine::Options::default()
        };
        let model = if rounded { model.clone() } else { model.unrounded() };
        Self { responder: Responder::new(Engine::new(model, options), info.clone()), info, together }
    }

    /// Answers prompts in order. Each has a number, which is passed on, and the seed of its draws. `stop` is called
    /// before each step and says whether to stop.
    ///
    /// # Errors
    /// Returns an error if a prompt cannot be answered, and the errors of `take`.
    pub fn of<E: From<EvalError>>(
        &mut self,
        prompts: impl IntoIterator<Item = (usize, Prompt, u64)>,
        drawing: &Drawing,
        mut stop: impl FnMut() -> bool,
        mut take: impl FnMut(usize, Answer) -> Result<(), E>,
    ) -> Result<ControlFlow<()>, E> {
        let mut prompts = prompts.into_iter();
        let mut open: VecDeque<Open> = VecDeque::new();
        let most = self.together * (1 + WAITING);
        loop {
            while open.len() < most
                && let Some((index, prompt, seed)) = prompts.next()
            {
                open.push_back(self.submit(index, &prompt, seed, drawing)?);
            }
            if open.is_empty() {
                return Ok(ControlFlow::Continue(()));
            }
            if stop() {
                for open in open {
                    self.responder.cancel(open.id);
                }
                return Ok(ControlFlow::Break(()));
            }
            let Some((id, event)) = self.responder.next() else { return Ok(ControlFlow::Continue(())) };
            match event {
                Event::Piece(piece) => {
                    let logprob =
                        piece.token.and_then(|token| token.logprobs).map(|logprobs| logprobs.chosen);
                    if let Some(open) = open.iter_mut().find(|open| open.id == id) {
                        open.logprobs.extend(logprob);
                    }
                }
                Event::Failed(error) => return Err(EvalError::from(error).into()),
                Event::Finished(receipts) => {
                    // Prompts end in order.
                    let (Some(open), Some(receipt)) = (open.pop_front(), receipts.into_iter().next()) else {
                        continue;
                    };
                    let logprobs = &open.logprobs[..receipt.tokens.len().min(open.logprobs.len())];
                    let nll =
                        (!logprobs.is_empty()).then(|| -logprobs.iter().sum::<f64>() / logprobs.len() as f64);
                    let answer = Answer {
                        text: receipt.text,
                        tokens: receipt.tokens,
                        nll,
                        watermark: receipt.watermark,
                        truncated: open.truncated,
                    };
                    take(open.index, answer)?;
                }
            }
        }
    }

    fn submit(
        &mut self,
        index: usize,
        prompt: &Prompt,
        seed: u64,
        drawing: &Drawing,
    ) -> Result<Open, EvalError> {
        let mut ids = self.info.prompt_ids(prompt)?;
        let (max_tokens, context) = (drawing.max_tokens, self.info.context());
        let room = context.checked_sub(max_tokens).filter(|room| *room > 0);
        let room = room.ok_or(EvalError::Room { max_tokens, context })?;
        let cut = ids.len().saturating_sub(room);
        ids.drain(..cut);
        let options = Options {
            max_tokens,
            sampling: Sampling { seed, ..drawing.sampling },
            mark: drawing.mark.clone(),
            stop: drawing.stop.clone(),
            logprobs: Some(0),
            ..Options::default()
        };
        let id = self.responder.submit(&Prompt::Tokens(ids), &options)?;
        Ok(Open { id, index, truncated: cut > 0, logprobs: Vec::new() })
    }
}
