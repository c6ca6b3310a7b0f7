//! One growing text.

use std::f64::consts::LN_2;
use std::sync::Arc;

use wmdetect::scheme::PositionKind;
use wmdetect::text::Tokenizer;

use super::WatermarkReceipt;
use crate::engine::{FinishReason, Token};
use crate::text::{StopMatcher, StreamDecoder};

/// How a token was drawn.
#[derive(Debug)]
struct Drawn {
    /// Offset in the text at which its first character begins.
    start: usize,
    position: Option<PositionKind>,
    /// Entropy of its candidates, in nats; 0 if the position is not marked.
    entropy: f64,
}

#[derive(Debug)]
pub(super) struct Draft {
    pub(super) text: String,
    pub(super) tokens: Vec<u32>,
    /// How each token was drawn.
    drawn: Vec<Drawn>,
    /// Number of bytes that the decoder has returned.
    decoded: usize,
    decoder: StreamDecoder,
    stops: StopMatcher,
    pub(super) finished: Option<FinishReason>,
}

impl Draft {
    pub(super) fn new(tokenizer: Arc<Tokenizer>, stop: &[String]) -> Self {
        Self {
            text: String::new(),
            tokens: Vec::new(),
            drawn: Vec::new(),
            decoded: 0,
            decoder: StreamDecoder::new(tokenizer),
            stops: StopMatcher::new(stop),
            finished: None,
        }
    }

    /// Adds a token, and returns the text that is certain as a result. A stop string finishes the
    /// draft.
    pub(super) fn push(&mut self, token: &Token) -> String {
        self.tokens.push(token.id);
        let Token { position, entropy, .. } = *token;
        self.drawn.push(Drawn { start: self.decoded, position, entropy });
        let decoded = self.decoder.push(token.id);
        self.decoded += decoded.len();
        let text = self.stops.push(&decoded);
        self.text.push_str(&text);
        if self.stops.stopped() {
            self.finished = Some(FinishReason::Stop);
            // The tokens of the stop string do not belong to the text.
            let keep = self.drawn.partition_point(|drawn| drawn.start < self.text.len());
            self.drawn.truncate(keep);
            self.tokens.truncate(keep);
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

    /// Returns the counts, together with what `mark` says about the key.
    pub(super) fn watermark(&self, mark: WatermarkReceipt) -> WatermarkReceipt {
        let count = |kind| self.drawn.iter().filter(|drawn| drawn.position == Some(kind)).count();
        let marked_tokens = count(PositionKind::Marked);
        let entropy: f64 = self.drawn.iter().map(|drawn| drawn.entropy).sum();
        // A layer of the tournament can at most double a probability.
        let most = mark.depth.map_or(f64::INFINITY, |depth| depth as f64 * LN_2);
        let evidence: f64 = self.drawn.iter().map(|drawn| drawn.entropy.min(most)).sum();
        // The empty sum is -0.
        let rounded = |x: f64| (x * 1000.0).round() / 1000.0 + 0.0;
        WatermarkReceipt {
            applied: marked_tokens > 0 && entropy > 0.0,
            marked_tokens,
            repeated_contexts: count(PositionKind::RepeatedContext),
            entropy_bits: rounded(entropy / LN_2),
            expected_evidence: rounded(evidence),
            ..mark
        }
    }
}
