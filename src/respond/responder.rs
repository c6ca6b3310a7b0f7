//! Answers prompts in the caller's thread.

use std::collections::VecDeque;
use std::sync::Arc;

use super::answer::{Answer, Cancel};
use super::{Event, ModelInfo, Options, RespondError};
use crate::engine::{self, Engine, Id, LanguageModel, Progress};
use crate::text::Prompt;

/// Answers prompts in the caller's thread: an iterator of [`Event`]s, each with its prompt's id. The model runs while
/// the next event is asked for.
///
/// Pieces come as the texts grow. Prompts end in the order in which they were submitted, each as soon as all before it
/// have ended. After the last event, `next` returns `None` until another prompt is submitted.
pub struct Responder<M: LanguageModel> {
    engine: Engine<M>,
    info: Arc<ModelInfo>,
    /// Answers, in ascending order of their ids.
    answers: VecDeque<(Id, Answer)>,
    /// Events that have not been returned yet.
    ready: VecDeque<(Id, Event)>,
    /// Events of a step; kept to reuse the memory.
    events: Vec<engine::Event>,
}

impl<M: LanguageModel> Responder<M> {
    /// Makes a responder without prompts. `info` describes the engine's model.
    pub fn new(engine: Engine<M>, info: ModelInfo) -> Self {
        Self {
            engine,
            info: Arc::new(info),
            answers: VecDeque::new(),
            ready: VecDeque::new(),
            events: Vec::new(),
        }
    }

    /// Takes a prompt. The model runs when the next event is asked for.
    ///
    /// # Errors
    /// Returns an error if the prompt has no ids or the engine does not take the request.
    pub fn submit(&mut self, prompt: &Prompt, options: &Options) -> Result<Id, RespondError> {
        let request = self.info.request(prompt, options)?;
        let prompt = request.prompt.clone();
        // The engine checks the number of responses before anything is allocated for each of them.
        let id = self.engine.submit(request)?;
        self.answers.push_back((id, Answer::new(Arc::clone(&self.info), prompt, options)));
        Ok(id)
    }

    /// Drops a prompt. It has no further events.
    pub fn cancel(&mut self, id: Id) {
        self.engine.cancel(id);
        self.answers.retain(|(other, _)| *other != id);
        self.ready.retain(|(other, _)| *other != id);
        self.hand_over();
    }

    /// Ends all texts where they are. Prompts that the model has read end with what they have, the others without an
    /// event. No further prompt is taken.
    pub fn stop(&mut self) {
        // A prompt that failed before it began waits here for those before it.
        self.answers.retain(|(_, answer)| answer.has_begun() || answer.is_complete());
        let mut events = std::mem::take(&mut self.events);
        self.engine.stop(&mut events);
        self.translate(&mut events);
        self.events = events;
    }

    /// Translates the events of a step.
    fn translate(&mut self, events: &mut Vec<engine::Event>) {
        for event in events.drain(..) {
            let id = event.id();
            let Ok(place) = self.answers.binary_search_by_key(&id, |(id, _)| *id) else { continue };
            let cancel =
                self.answers[place].1.take(event, |piece| self.ready.push_back((id, Event::Piece(piece))));
            match cancel {
                Cancel::Nothing => {}
                Cancel::Text(sequence) => self.engine.cancel_sequence(id, sequence),
                Cancel::All => self.engine.cancel(id),
            }
            self.hand_over();
        }
    }

    /// Passes on the answers that are complete and not preceded by an incomplete one.
    fn hand_over(&mut self) {
        while self.answers.front().is_some_and(|(_, answer)| answer.is_complete()) {
            let end = self.answers.pop_front().map(|(id, answer)| (id, answer.end()));
            self.ready.extend(end);
        }
    }
}

impl<M: LanguageModel> Iterator for Responder<M> {
    type Item = (Id, Event);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let mut events = std::mem::take(&mut self.events);
            let progress = self.engine.step(&mut events);
            self.translate(&mut events);
            self.events = events;
            if progress == Progress::Idle && self.ready.is_empty() {
                return None;
            }
        }
    }
}
