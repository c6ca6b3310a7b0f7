//! One text while it grows.

use std::sync::Arc;

use wmdetect::scheme::PositionKind;
use wmdetect::text::Tokenizer;

use super::WatermarkReceipt;
use crate::engine::{FinishReason, Token};
use crate::text::{StopMatcher, StreamDecoder};

#[derive(Debug)]
pub(super) struct Draft {
    pub(super) text: String,
    pub(super) tokens: Vec<u32>,
    marked: usize,
    repeated: usize,
    decoder: StreamDecoder,
    stops: StopMatcher,
    pub(super) finished: Option<FinishReason>,
}

impl Draft {
    pub(super) fn new(tokenizer: Arc<Tokenizer>, stop: &[String]) -> Self {
        Self {
            text: String::new(),
            tokens: Vec::new(),
            marked: 0,
            repeated: 0,
            decoder: StreamDecoder::new(tokenizer),
            stops: StopMatcher::new(stop),
            finished: None,
        }
    }

    /// Adds a token and returns the text that is now certain. A stop string finishes the draft.
    pub(super) fn push(&mut self, token: &Token) -> String {
        self.tokens.push(token.id);
        match token.position {
            Some(PositionKind::Marked) => self.marked += 1,
            Some(PositionKind::RepeatedContext) => self.repeated += 1,
            Some(PositionKind::IncompleteContext) | None => {}
        }
        let text = self.stops.push(&self.decoder.push(token.id));
        self.text.push_str(&text);
        if self.stops.stopped() {
            self.finished = Some(FinishReason::Stop);
        }
        text
    }

    /// Finishes the draft and returns the text that was held back.
    pub(super) fn finish(&mut self, reason: FinishReason) -> String {
        self.finished = Some(reason);
        let mut rest = self.stops.push(&self.decoder.finish());
        rest.push_str(&self.stops.finish());
        self.text.push_str(&rest);
        rest
    }

    /// What was counted, with what `mark` says of the key.
    pub(super) fn watermark(&self, mark: Option<&WatermarkReceipt>) -> WatermarkReceipt {
        WatermarkReceipt {
            applied: self.marked > 0,
            marked_tokens: self.marked,
            repeated_contexts: self.repeated,
            ..mark.cloned().unwrap_or_default()
        }
    }
}
