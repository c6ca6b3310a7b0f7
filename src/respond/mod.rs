//! Text in, pieces of text and receipts out.
//!
//! A [`Responder`] answers prompts in the caller's thread. A [`Client`] lets an engine on a separate thread answer them.
//! A caller that must not wait, such as a server, passes the engine's events to an [`Exchange`]. All three turn the
//! engine's tokens into [`Piece`]s of complete characters, end a text at a stop string, and count the marked tokens. They
//! return a [`Receipt`] for each text when all texts of its prompt are complete.
//!
//! ```no_run
//! use std::sync::Arc;
//! use wmgen::engine::{self, Engine};
//! use wmgen::respond::{Event, KeyMark, ModelInfo, Options, Responder};
//! use wmgen::text::Prompt;
//! # fn show(
//! #     model: wmgen::model::Gemma, tokenizer: wmdetect::text::Tokenizer, key: wmdetect::scheme::Key,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let info = ModelInfo::new(&model, "gemma-2-2b-it", Arc::new(tokenizer));
//! let mut responder = Responder::new(Engine::new(model, engine::Options::default()), info);
//! let options = Options { mark: Some(KeyMark::new(&key)?), ..Options::default() };
//! responder.submit(&Prompt::Text("The old lighthouse".into()), &options)?;
//! for (_, event) in &mut responder {
//!     match event {
//!         Event::Piece(piece) => print!("{}", piece.text),
//!         Event::Finished(receipts) => println!("\n{} tokens are marked", receipts[0].watermark.marked_tokens),
//!         Event::Failed(error) => eprintln!("error: {error}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod answer;
mod client;
mod draft;
mod model_info;
mod options;
mod receipt;
mod responder;
#[cfg(test)]
mod tests;

pub use client::{Client, Exchange, Responses};
pub use model_info::ModelInfo;
pub use options::{KeyMark, Options};
pub(crate) use receipt::first_difference;
pub use receipt::{ModelReceipt, Receipt, ReceiptError, Timing, WatermarkReceipt};
pub use responder::Responder;

use crate::engine::worker::SubmitError;
use crate::engine::{Failure, FinishReason, RequestError, Token};
use crate::text::PromptError;

/// Event of a prompt. The last one is [`Finished`](Self::Finished) or [`Failed`](Self::Failed).
#[derive(Debug)]
pub enum Event {
    /// A text has grown or ended.
    Piece(Piece),
    /// All texts are complete. There is one receipt for each, in order.
    Finished(Vec<Receipt>),
    /// A text failed, and with it all texts of the prompt.
    Failed(RespondError),
}

/// The next part of a text: one token, or what was held back until the end. The parts together are the text.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Number of the text within its prompt, from 0.
    pub sequence: usize,
    /// Complete characters, possibly none. They are never taken back.
    pub text: String,
    /// The token; `None` if the text ended without one.
    pub token: Option<Token>,
    /// Reason why the text ended with this piece; `None` if it continues.
    pub finished: Option<FinishReason>,
}

/// Errors from answering a prompt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RespondError {
    /// The prompt has no ids.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The engine does not take the request.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The engine failed while answering.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The engine's thread has ended.
    #[error("the engine has stopped")]
    Stopped,
}

impl From<SubmitError> for RespondError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Request(error) => Self::Request(error),
            _ => Self::Stopped,
        }
    }
}
