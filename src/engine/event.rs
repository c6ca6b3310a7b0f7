//! What the engine tells its caller.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use wmdetect::scheme::PositionKind;

use crate::sample::{Logprobs, SampleError};

/// The name of a request. Later requests have greater ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Id(pub(super) u64);

/// One step of one request. The responses to a request are counted from 0.
///
/// Each response ends with exactly one [`Finished`](Self::Finished) or [`Failed`](Self::Failed), unless it is cancelled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The model has read the prompt.
    Started {
        /// The request.
        id: Id,
        /// The time that reading took, without the time of other requests in between.
        prefill: Duration,
        /// Tokens of the prompt that need not be read, since an earlier prompt begins alike.
        reused: usize,
    },
    /// A response has a next token.
    Token {
        /// The request.
        id: Id,
        /// Which response to it.
        sequence: usize,
        /// The token.
        token: Token,
    },
    /// A response is complete.
    Finished {
        /// The request.
        id: Id,
        /// Which response to it.
        sequence: usize,
        /// Why it ended.
        reason: FinishReason,
    },
    /// A response ends with an error, and with the tokens that it has.
    Failed {
        /// The request.
        id: Id,
        /// Which response to it.
        sequence: usize,
        /// What went wrong.
        error: Failure,
    },
}

impl Event {
    /// Returns the request that the event belongs to.
    pub fn id(&self) -> Id {
        match self {
            Self::Started { id, .. }
            | Self::Token { id, .. }
            | Self::Finished { id, .. }
            | Self::Failed { id, .. } => *id,
        }
    }
}

/// A token of a response.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// The token.
    pub id: u32,
    /// What the context rule says of its position; none without a mark.
    pub position: Option<PositionKind>,
    /// The entropy of its candidates before the mark, in nats; 0 where the position is not marked.
    pub entropy: f64,
    /// What the model thinks of it, if [asked for](super::Request::logprobs).
    pub logprobs: Option<Box<Logprobs>>,
}

/// Why a response ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// A stop token was drawn, or a stop string came.
    Stop,
    /// The response has as many tokens as asked for, or fills the context.
    Length,
    /// The response was stopped before its end.
    Interrupted,
}

/// Why a response failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The model cannot read on.
    #[error(transparent)]
    Model(Arc<dyn Error + Send + Sync>),
    /// No next token can be drawn.
    #[error(transparent)]
    Sample(#[from] SampleError),
}

/// Whether there is more to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Some requests are not answered yet.
    Running,
    /// There is nothing to do until the next request.
    Idle,
}
