//! Training: a Gemma 2 of any size from plain text.
//!
//! [`corpus`] turns a text into windows of tokens (with a tokenizer of [`tokenizer`]'s making or any other),
//! [`Trainer`] takes steps of [`optimizer::AdamW`] with gradients of [`fused`] (Gemma 2 on the CPU) or of [`autograd`]
//! (everything else), [`checkpoint`] keeps a run, [`curve`] draws it and [`export`] writes what transformers loads.

pub mod autograd;
pub mod checkpoint;
pub mod config;
pub mod corpus;
pub mod curve;
pub mod error;
pub mod export;
pub mod fused;
pub mod objective;
pub mod optimizer;
pub mod parameters;
pub mod tokenizer;
mod trainer;

pub use config::{Settings, Sizes};
pub use corpus::Data;
pub use error::{Error, Result};
pub use trainer::{Step, Trainer};
