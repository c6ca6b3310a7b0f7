//! One response: from the logits of a position to its next token.

use std::sync::Arc;

use wmdetect::scheme::PositionKind;

use super::event::Token;
use super::request::Request;
use crate::logits::{Logits, TokenSet};
use crate::sample::{Draw, History, Logprobs, Mark, SampleError, Sampler};

/// A growing response: its tokens, and what the next one depends on besides the model.
#[derive(Clone, Debug)]
pub struct Sequence {
    request: Arc<Request>,
    tokens: Vec<u32>,
    history: History,
    banned: TokenSet,
    mark: Mark,
    draw: Draw,
}

/// Result of a draw at a position.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// The response has a next token.
    Token(Token),
    /// The response has its last token: it has as many as the request allows.
    Last(Token),
    /// A stop token was drawn.
    Stop,
}

/// A part of the work on one token that has just been done, for measurements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The candidates and their probabilities are known.
    Shaped,
    /// The candidates carry the mark.
    Marked,
    /// A token is drawn.
    Drawn,
    /// The token is part of the response and of the mark's history.
    Kept,
}

impl Sequence {
    /// Starts response number `number` to `request`. The number chooses the stream of draws under the request's seed.
    pub fn new(request: Arc<Request>, number: u64) -> Self {
        Self {
            tokens: Vec::new(),
            history: History::new([&request.sampling], &request.prompt),
            banned: request.banned_ids.iter().copied().collect(),
            mark: Mark::start(request.watermark.as_ref(), &request.prompt, request.sampling.seed, number),
            draw: Draw::new(request.sampling.seed, number),
            request,
        }
    }

    /// Returns the tokens so far.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Returns how many tokens the response may still get.
    pub fn open_tokens(&self) -> usize {
        self.request.max_tokens - self.tokens.len()
    }

    /// Draws the next token from the logits after the last one.
    ///
    /// # Errors
    /// Returns an error if the logits do not define a distribution. Then the response is unchanged.
    pub fn next(&mut self, sampler: &mut Sampler, logits: Logits<'_>) -> Result<Next, SampleError> {
        self.next_in_stages(sampler, logits, |_| ())
    }

    /// Does the same as [`Self::next`], and calls `done` after each stage.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::next`].
    pub fn next_in_stages(
        &mut self,
        sampler: &mut Sampler,
        logits: Logits<'_>,
        done: impl FnMut(Stage),
    ) -> Result<Next, SampleError> {
        let drawn = self.draw(sampler, logits, done)?;
        if drawn.is_stop {
            return Ok(Next::Stop);
        }
        let Drawn { id, position, entropy, .. } = drawn;
        let logprobs = self.request.logprobs.map(|top| Box::new(Logprobs::new(logits, id, top)));
        let entropy = if position == Some(PositionKind::Marked) { entropy } else { 0.0 };
        let token = Token { id, position, entropy, logprobs };
        Ok(if self.tokens.len() < self.request.max_tokens { Next::Token(token) } else { Next::Last(token) })
    }

    /// Appends the token that another model's logits give, as a guess. Returns it, and the entropy in nats of the distribution
    /// before the mark. Returns `None` where the response would end.
    pub(super) fn guess(&mut self, sampler: &mut Sampler, logits: Logits<'_>) -> Option<(u32, f64)> {
        let drawn = self.draw(sampler, logits, |_| ()).ok()?;
        (!drawn.is_stop).then_some((drawn.id, drawn.entropy))
    }

    /// Draws a token, and appends it unless it is a stop token.
    fn draw(
        &mut self,
        sampler: &mut Sampler,
        logits: Logits<'_>,
        mut done: impl FnMut(Stage),
    ) -> Result<Drawn, SampleError> {
        let request = &*self.request;
        sampler.distribution(&request.sampling, logits.without(&self.banned), &self.history)?;
        let entropy = sampler.entropy();
        let candidates = sampler.last().expect("it was just made");
        done(Stage::Shaped);
        let position = self.mark.apply(candidates);
        done(Stage::Marked);
        let id = self.draw.token(candidates);
        done(Stage::Drawn);
        let is_stop = request.stop_ids.contains(&id);
        if !is_stop {
            self.mark.push(id);
            self.tokens.push(id);
            self.history.push(id);
            done(Stage::Kept);
        }
        Ok(Drawn { id, position, entropy, is_stop })
    }
}

/// Result of a draw.
struct Drawn {
    id: u32,
    position: Option<PositionKind>,
    /// Entropy of the distribution before the mark, in nats.
    entropy: f64,
    is_stop: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sampling;

    /// Checks against the stages as they are defined, one by one.
    #[test]
    fn a_response_is_drawn_from_the_stream_of_its_number() {
        let sampling = Sampling {
            seed: 5,
            repeat_penalty: 1.3,
            frequency_penalty: 0.2,
            min_p: 0.1,
            ..Sampling::default()
        };
        let request = Arc::new(Request { sampling, max_tokens: 40, ..Request::new(vec![3, 1]) });
        let logits: Vec<f32> = (0..20).map(|i| (i as f32).sin()).collect();
        let logits = Logits::capped(&logits);
        let mut texts = Vec::new();
        for number in 0..3 {
            let mut sequence = Sequence::new(Arc::clone(&request), number);
            let (mut sampler, mut draw) = (Sampler::default(), Draw::new(5, number));
            let mut ids = request.prompt.clone();
            for _ in 0..40 {
                let next = sequence.next(&mut Sampler::default(), logits).unwrap();
                let mut history = History::new([&sampling], &request.prompt);
                ids[2..].iter().for_each(|id| history.push(*id));
                let id = draw.token(sampler.distribution(&sampling, logits, &history).unwrap());
                ids.push(id);
                let token = Token { id, position: None, entropy: 0.0, logprobs: None };
                assert_eq!(next, if ids.len() < 42 { Next::Token(token) } else { Next::Last(token) });
            }
            assert_eq!(sequence.tokens(), &ids[2..]);
            texts.push(ids);
        }
        assert!(texts[0] != texts[1] && texts[1] != texts[2]);
    }
}
