//! Has prompts answered by an engine on a thread of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use super::answer::{Answer, Cancel};
use super::{Event, ModelInfo, Options, Receipt, RespondError};
use crate::engine;
use crate::engine::worker::{Handle, Ticket};
use crate::text::Prompt;

/// Submits prompts to an engine on a thread of its own. Clones submit to the same one.
#[derive(Clone)]
pub struct Client {
    handle: Handle,
    info: Arc<ModelInfo>,
}

impl Client {
    /// A client of the engine behind `handle`. `info` describes its model.
    pub fn new(handle: Handle, info: ModelInfo) -> Self {
        Self { handle, info: Arc::new(info) }
    }

    /// Returns what describes the model.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Submits a prompt whose events are read one after the other. Waits for nothing.
    ///
    /// # Errors
    /// Returns an error if the prompt has no ids or the engine does not take the request.
    pub fn submit(&self, prompt: &Prompt, options: &Options) -> Result<Responses, RespondError> {
        let (sender, events) = mpsc::channel();
        // A reader that is gone has dropped the exchange.
        let exchange = self.submit_to(prompt, options, move |event| drop(sender.send(event)))?;
        Ok(Responses { events, exchange, ready: VecDeque::new() })
    }

    /// Submits a prompt whose events the engine's thread gives to `sink`, which hands them on to where the exchange is:
    /// through a channel, for instance. Waits for nothing.
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
        // The engine looks at the number of responses before anything is made for each of them.
        let ticket = self.handle.submit_to(request, sink)?;
        let answer = Answer::new(Arc::clone(&self.info), prompt, options);
        Ok(Exchange { ticket, answer: Some(answer) })
    }
}

/// A prompt that was taken: makes pieces of text and receipts of the engine's events. To drop it cancels the prompt.
pub struct Exchange {
    ticket: Ticket,
    /// None after the end.
    answer: Option<Answer>,
}

impl Exchange {
    /// Takes the next event that the sink got, and gives what comes of it: at most a piece and the end. A text that has
    /// come to a stop string is cancelled in the engine.
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

    /// Returns whether the last event was given.
    pub fn has_ended(&self) -> bool {
        self.answer.is_none()
    }

    /// Cancels the prompt, and gives the receipts of what was written, if the model has read it. A text that had not ended
    /// has no finish reason.
    pub fn interrupt(&mut self) -> Option<Vec<Receipt>> {
        self.ticket.cancel();
        match self.answer.take().filter(Answer::has_begun)?.end() {
            Event::Finished(receipts) => Some(receipts),
            _ => None,
        }
    }

    /// Ends the exchange after the sink was dropped, and gives the last event if it was not given: the engine's thread
    /// has ended, and the prompt has failed.
    pub fn close(&mut self) -> Option<Event> {
        self.answer.take().map(|_| Event::Failed(RespondError::Stopped))
    }
}

/// The events of one prompt as they come; each waits for the engine. To drop it cancels the prompt.
pub struct Responses {
    events: Receiver<engine::Event>,
    exchange: Exchange,
    /// Events that were not given out yet.
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
