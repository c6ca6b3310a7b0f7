//! Whether a server can take requests.

use std::sync::atomic::{AtomicU8, Ordering};

/// State of a server between its start and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It cannot answer yet.
    Loading,
    /// It answers.
    Ready,
    /// It answers the requests that it has taken, and takes no more.
    Draining,
    /// The part that computes its answers is gone.
    Broken,
}

impl State {
    /// Returns the name of the state in `/ready`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Broken => "broken",
        }
    }
}

/// The state of a server, for all its threads.
#[derive(Debug, Default)]
pub struct Health(AtomicU8);

const STATES: [State; 4] = [State::Loading, State::Ready, State::Draining, State::Broken];

impl Health {
    /// Returns the state now.
    pub fn state(&self) -> State {
        STATES[usize::from(self.0.load(Ordering::Relaxed))]
    }

    /// Changes the state. A server that drains or is broken does not become ready again.
    pub fn set(&self, state: State) {
        let code = STATES.iter().position(|other| *other == state).unwrap_or(0) as u8;
        self.0.fetch_max(code, Ordering::Relaxed);
    }
}
