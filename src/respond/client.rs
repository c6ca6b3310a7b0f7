//! Lets an engine on a separate thread answer prompts.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use super::answer::{Answer, Cancel};
use super::{Event, ModelInfo, Options, Receipt, RespondError};
use crate::engine;
use crate::engine::worker::{Handle, Ticket};
use crate::text::Prompt;

/// Submits prompts to an engine on a separate thread. Clones submit to the same engine.
#[derive(Clone)]
pub struct Client {
    handle: Handle,
    info: Arc<ModelInfo>,
}

impl Client {
    /// Makes a client of the engine behind `handle`. `info` describes its model.
    pub fn new(handle: Handle, info: ModelInfo) -> Self {
        Self { handle, info: Arc::new(info) }
    }

    /// Returns the description of the model.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Submits a prompt whose events are read one after the other. Does not block.
    ///
    /// # Errors
    /// Returns an error if the prompt has no ids or the engine does not take the request.
    pub fn submit(&self, prompt: &Prompt, options: &Options) -> Result<Responses, RespondError> {
        let (sender, events) = mpsc::channel();
        // A reader that is gone has dropped the exchange.
        let exchange = self.submit_to(prompt, options, move |event| drop(sender.send(event)))?;
        Ok(Responses { events, exchange, ready: VecDeque::new() })
    }

    /// Submits a prompt whose events the engine's thread passes to `sink`. The sink passes them on to the owner of the
    /// exchange, for instance through a channel. Does not block.
    ///
    /// The sink [must not block](Handle::submit_to). It is dropped after the last event.
    ///
    /// # Errors
    /// Returns an error if the prompt has no ids or the engine does not take the request.
    pub fn submit_to(
        &self,
        prompt: &Prompt,
        options: &Options,
        sink: impl FnMut(engine::Event) + Send + 'static,
    ) -> Result<Exchange, RespondError> {
        let request = self.info.request(prompt, options)?;
        let prompt = request.prompt.clone();
        // The engine checks the number of responses before anything is allocated for each of them.
        let ticket = self.handle.submit_to(request, sink)?;
        let answer = Answer::new(Arc::clone(&self.info), prompt, options);
        Ok(Exchange { ticket, answer: Some(answer) })
    }
}

/// A prompt that was taken. It turns the engine's events into pieces of text and receipts. Dropping it cancels the prompt.
pub struct Exchange {
    ticket: Ticket,
    /// The answer; `None` after the end.
    answer: Option<Answer>,
}

impl Exchange {
    /// Takes the next event that the sink got, and returns what follows from it: at most a piece and the end. A text that
    /// has reached a stop string is cancelled in the engine.
    pub fn take(&mut self, event: engine::Event) -> impl Iterator<Item = Event> + use<> {
        let (mut piece, mut end) = (None, None);
        if let Some(answer) = &mut self.answer {
            match answer.take(event, |made| piece = Some(made)) {
                Cancel::Nothing => {}
                Cancel::Text(sequence) => self.ticket.cancel_sequence(sequence),
                Cancel::All => self.ticket.cancel(),
            }
            if answer.is_complete() {
                end = self.answer.take().map(Answer::end);
            }
        }
        piece.map(Event::Piece).into_iter().chain(end)
    }

    /// Returns whether the last event has been returned.
    pub fn has_ended(&self) -> bool {
        self.answer.is_none()
    }

    /// Cancels the prompt, and returns the receipts of what was written, if the model has read the prompt. Texts that had
    /// not ended have the finish reason [`Interrupted`](engine::FinishReason::Interrupted).
    pub fn interrupt(&mut self) -> Option<Vec<Receipt>> {
        self.ticket.cancel();
        let mut answer = self.answer.take().filter(Answer::has_begun)?;
        answer.interrupt();
        match answer.end() {
            Event::Finished(receipts) => Some(receipts),
            _ => None,
        }
    }

    /// Ends the exchange after the sink was dropped. Returns the last event if it has not been returned: the engine's
    /// thread has ended, so the prompt has failed.
    pub fn close(&mut self) -> Option<Event> {
        self.answer.take().map(|_| Event::Failed(RespondError::Stopped))
    }
}

/// The events of one prompt as they come; each waits for the engine. Dropping it cancels the prompt.
pub struct Responses {
    events: Receiver<engine::Event>,
    exchange: Exchange,
    /// Events that have not been returned yet.
    ready: VecDeque<Event>,
}

impl Iterator for Responses {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        while self.ready.is_empty() && !self.exchange.has_ended() {
            match self.events.recv() {
                Ok(event) => self.ready.extend(self.exchange.take(event)),
                Err(_) => self.ready.extend(self.exchange.close()),
            }
        }
        self.ready.pop_front()
    }
}
