//! Builds answers while they are written: turns the engine's events into texts, counts and receipts.

use std::sync::Arc;
use std::time::Instant;

use wmgen::engine::{self, FinishReason};
use wmgen::respond::{Event, Exchange, Receipt, RespondError};

use super::bodies::{Choice, Head, LogprobsOf, Mark, Usage};
use super::metrics::Metrics;
use super::policy::Reason;
use super::queue::Places;
use super::receipts::Receipts;
use super::tenants::Tenant;

/// An event of the engine, with the number of the request's prompt that it belongs to.
pub(super) type Numbered = (usize, engine::Event);

/// Owner of an answer, and where its results go.
pub(super) struct Owner {
    pub(super) tenant: Arc<Tenant>,
    pub(super) request_id: String,
    /// Why the answer is not marked; `None` if it is to be marked.
    pub(super) reason: Option<Reason>,
    /// Number of tokens from which on a text without a marked token is refused; `None` if it may be unmarked.
    pub(super) demanded: Option<usize>,
    pub(super) receipts: Arc<Receipts>,
    pub(super) metrics: Metrics,
}

/// An answer while it is written. Dropping it cancels what is not complete, and keeps the receipts of what was
/// written.
pub(super) struct Answer {
    pub(super) head: Head,
    pub(super) owner: Owner,
    exchanges: Vec<Exchange>,
    /// Number of texts for each prompt.
    n: usize,
    logprobs: bool,
    prompt_tokens: usize,
    cached_tokens: usize,
    began: Instant,
    texts: Vec<Text>,
    /// Number of the text that ended last.
    last: usize,
    /// Receipts of each prompt, once it has ended.
    ended: Vec<Option<Vec<Receipt>>>,
    _places: Places,
}

/// One text of an answer.
#[derive(Default)]
pub(super) struct Text {
    written: String,
    /// Number of characters that were written, sent or not.
    characters: usize,
    pub(super) finish: Option<FinishReason>,
    /// Whether a stop string has ended it. Its tokens do not belong to the text.
    cut: bool,
    logprobs: LogprobsOf,
    /// Whether a chunk of it has been sent.
    begun: bool,
    last_token: Option<Instant>,
}

/// The part of a text that a stream has not sent yet.
pub(super) struct Unsent {
    /// Whether nothing of the text has been sent.
    pub(super) first: bool,
    pub(super) piece: String,
    pub(super) logprobs: Option<LogprobsOf>,
}

impl Text {
    /// Takes the part that has not been sent.
    pub(super) fn take_unsent(&mut self) -> Unsent {
        // Tokens that may be the beginning of a stop string wait with their text.
        let certain = if self.finish.is_none() || self.cut { self.characters } else { usize::MAX };
        let logprobs = self.logprobs.take(certain);
        Unsent {
            first: !std::mem::replace(&mut self.begun, true),
            piece: std::mem::take(&mut self.written),
            logprobs: (!logprobs.is_empty()).then_some(logprobs),
        }
    }
}

/// Result of an event.
pub(super) enum Step {
    /// A text has grown or ended.
    Grown(usize),
    /// All texts are complete.
    Complete,
    /// There is nothing to report.
    Nothing,
}

impl Answer {
    pub(super) fn new(
        head: Head,
        owner: Owner,
        exchanges: Vec<Exchange>,
        n: usize,
        logprobs: bool,
        prompt_tokens: usize,
        places: Places,
    ) -> Self {
        let prompts = exchanges.len();
        Self {
            texts: (0..prompts * n).map(|_| Text::default()).collect(),
            ended: (0..prompts).map(|_| None).collect(),
            head,
            owner,
            exchanges,
            n,
            logprobs,
            prompt_tokens,
            cached_tokens: 0,
            began: Instant::now(),
            last: 0,
            _places: places,
        }
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// Returns an error if a text has failed; then the whole answer has failed.
    pub(super) fn take(&mut self, (prompt, event): Numbered) -> Result<Step, RespondError> {
        match event {
            engine::Event::Started { reused, .. } => self.cached_tokens += reused,
            engine::Event::Token { sequence, .. } => self.count_token(prompt * self.n + sequence),
            _ => {}
        }
        let mut step = Step::Nothing;
        let mut stopped = false;
        for event in self.exchanges[prompt].take(event) {
            match event {
                // The server stops before the text has ended. The partial text must not look complete, but it has a receipt.
                Event::Piece(piece) if piece.finished == Some(FinishReason::Interrupted) => stopped = true,
                Event::Piece(piece) => {
                    let index = prompt * self.n + piece.sequence;
                    let text = &mut self.texts[index];
                    text.written.push_str(&piece.text);
                    text.characters += piece.text.chars().count();
                    text.finish = piece.finished;
                    // Of all ends only a stop string comes with a token.
                    text.cut = piece.finished.is_some() && piece.token.is_some();
                    if piece.finished.is_some() {
                        self.last = index;
                    }
                    if let Some(token) = piece.token.filter(|_| self.logprobs) {
                        text.logprobs.push(&self.head, &token);
                    }
                    step = Step::Grown(index);
                }
                Event::Finished(mut receipts) => {
                    self.keep(&mut receipts);
                    self.ended[prompt] = Some(receipts);
                    if self.ended.iter().all(Option::is_some) {
                        step = Step::Complete;
                    }
                }
                Event::Failed(error) => return Err(error),
            }
        }
        if stopped { Err(RespondError::Stopped) } else { Ok(step) }
    }

    fn count_token(&mut self, index: usize) {
        let now = Instant::now();
        match self.texts[index].last_token.replace(now) {
            None => self.owner.metrics.first_token.observe((now - self.began).as_secs_f64()),
            Some(last) => self.owner.metrics.between_tokens.observe((now - last).as_secs_f64()),
        }
    }

    /// Writes receipts and counts their tokens. A receipt says so if no token could carry the mark.
    fn keep(&self, receipts: &mut [Receipt]) {
        let Owner { tenant, reason, receipts: file, metrics, .. } = &self.owner;
        for receipt in receipts {
            let reason = reason.or((!receipt.watermark.applied).then_some(Reason::NoDraw));
            receipt.watermark.reason = reason.map(|reason| reason.name().to_owned());
            metrics.count_text(&tenant.name, receipt, reason);
            file.write(receipt);
        }
    }

    /// Returns text number `index`.
    pub(super) fn text(&mut self, index: usize) -> &mut Text {
        &mut self.texts[index]
    }

    /// Returns the number of the text that ended last.
    pub(super) fn last_to_end(&self) -> usize {
        self.last
    }

    /// Returns the number of texts that have not ended.
    pub(super) fn open(&self) -> usize {
        self.texts.iter().filter(|text| text.finish.is_none()).count()
    }

    /// Returns the counts and the mark of a complete answer.
    pub(super) fn sum_up(&self) -> (Usage, Mark) {
        let receipts: Vec<Receipt> = self.ended.iter().flatten().flatten().cloned().collect();
        let mark = Mark::of(&receipts, self.owner.reason);
        let tokens = receipts.iter().map(|receipt| receipt.tokens.len()).sum();
        (Usage::new(self.prompt_tokens, self.cached_tokens, tokens), mark)
    }

    /// Returns whether a complete answer was to be marked or refused, and has a text that is long enough for the mark
    /// without a marked token.
    pub(super) fn breaks_promise(&self) -> bool {
        let Some(least) = self.owner.demanded else { return false };
        let unmarked = |receipt: &Receipt| receipt.tokens.len() >= least && !receipt.watermark.applied;
        self.ended.iter().flatten().flatten().any(unmarked)
    }

    /// Returns the texts of a complete answer.
    pub(super) fn choices(&mut self) -> Vec<Choice> {
        let tokens: Vec<usize> =
            self.ended.iter().flatten().flatten().map(|receipt| receipt.tokens.len()).collect();
        let texts = std::mem::take(&mut self.texts);
        let choice = |(mut text, tokens): (Text, usize)| {
            // The tokens of a stop string do not belong to the text.
            text.logprobs.truncate(tokens);
            let logprobs = self.logprobs.then_some(text.logprobs);
            Choice { text: text.written, finish: text.finish, logprobs }
        };
        texts.into_iter().zip(tokens).map(choice).collect()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // Text that a client read before it left was written too.
        for prompt in 0..self.exchanges.len() {
            if self.ended[prompt].is_none()
                && let Some(mut receipts) = self.exchanges[prompt].interrupt()
            {
                self.keep(&mut receipts);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wmdetect::text::Tokenizer;
    use wmgen::engine::Token;
    use wmgen::sample::Logprobs;

    use super::super::asked::Interface;
    use super::*;

    #[test]
    fn a_last_token_without_text_waits_for_the_end_and_is_sent_with_it() {
        let tokenizer = Arc::new(Tokenizer::of_default_model());
        let head = Head::new(Interface::Completions, "r", "m".into(), Arc::clone(&tokenizer));
        let word = tokenizer.encode("sea").unwrap().ids[0];
        let spelled = str::from_utf8(tokenizer.token_bytes(word).unwrap()).unwrap();
        let control = tokenizer.bos().unwrap();
        assert_eq!(tokenizer.token_bytes(control), None);
        for (finish, cut, all) in [
            (None, false, false),
            (Some(FinishReason::Stop), false, true),
            (Some(FinishReason::Length), false, true),
            // After a stop string it does not belong to the text.
            (Some(FinishReason::Stop), true, false),
        ] {
            let mut text = Text { characters: spelled.chars().count(), finish, cut, ..Text::default() };
            for id in [word, control] {
                let logprobs = Some(Box::new(Logprobs { chosen: -1.0, top: Vec::new() }));
                text.logprobs.push(&head, &Token { id, position: None, entropy: 0.0, logprobs });
            }
            assert!(text.take_unsent().logprobs.is_some());
            assert_eq!(text.logprobs.is_empty(), all, "{finish:?} {cut}");
        }
    }
}
