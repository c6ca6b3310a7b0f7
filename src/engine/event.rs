//! Events that the engine reports to its caller.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use wmdetect::scheme::PositionKind;

use crate::sample::{Logprobs, SampleError};

/// Identifier of a request. Later requests have greater ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Id(pub(super) u64);

/// Event of a request. The responses to a request are counted from 0.
///
/// Each response ends with exactly one [`Finished`](Self::Finished) or [`Failed`](Self::Failed), unless it is cancelled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The model has read the prompt.
    Started {
        /// The request.
        id: Id,
        /// Time spent reading it, without the time of other requests in between.
        prefill: Duration,
        /// Number of prompt tokens that were not read again, because an earlier prompt begins alike.
        reused: usize,
    },
    /// A response has a next token.
    Token {
        /// The request.
        id: Id,
        /// Number of the response.
        sequence: usize,
        /// The token.
        token: Token,
    },
    /// A response is complete.
    Finished {
        /// The request.
        id: Id,
        /// Number of the response.
        sequence: usize,
        /// Why it ended.
        reason: FinishReason,
    },
    /// A response ends with an error. It keeps the tokens that it has.
    Failed {
        /// The request.
        id: Id,
        /// Number of the response.
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
    /// Kind of its position under the context rule; `None` without a mark.
    pub position: Option<PositionKind>,
    /// Entropy of its candidates before the mark, in nats; 0 if the position is not marked.
    pub entropy: f64,
    /// Its log-probabilities under the model, if [asked for](super::Request::logprobs).
    pub logprobs: Option<Box<Logprobs>>,
}

/// Why a response ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// A stop token was drawn, or a stop string occurred.
    Stop,
    /// The response has the requested number of tokens, or fills the context.
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
    /// The next token cannot be drawn.
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
