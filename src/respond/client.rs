//! Has prompts answered by an engine on a thread of its own.

use std::sync::Arc;

use super::answer::{Answer, Cancel};
use super::{Event, ModelInfo, Options, Piece, RespondError};
use crate::engine::worker::{self, Handle};
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

    /// Submits a prompt. Waits for nothing.
    ///
    /// # Errors
    /// Returns an error if the prompt has no ids or the engine does not take the request.
    pub fn submit(&self, prompt: &Prompt, options: &Options) -> Result<Responses, RespondError> {
        let request = self.info.request(prompt, options)?;
        let prompt = request.prompt.clone();
        // The engine looks at the number of responses before anything is made for each of them.
        let events = self.handle.submit(request)?;
        let answer = Answer::new(Arc::clone(&self.info), prompt, options);
        Ok(Responses { events, answer: Some(answer), ready: None })
    }
}

/// The events of one prompt as they come; each waits for the engine. To drop it cancels the prompt.
pub struct Responses {
    events: worker::Responses,
    /// None after the end.
    answer: Option<Answer>,
    /// A piece that was not given out yet.
    ready: Option<Piece>,
}

impl Iterator for Responses {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(piece) = self.ready.take() {
                return Some(Event::Piece(piece));
            }
            let answer = self.answer.as_mut()?;
            if answer.is_complete() {
                return self.answer.take().map(Answer::end);
            }
            let Some(event) = self.events.next() else {
                self.answer = None;
                return Some(Event::Failed(RespondError::Stopped));
            };
            match answer.take(event, |piece| self.ready = Some(piece)) {
                Cancel::Text(sequence) => self.events.cancel_sequence(sequence),
                // To drop the events cancels the others.
                Cancel::Nothing | Cancel::All => {}
            }
        }
    }
}
