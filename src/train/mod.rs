//! Training: a Gemma from plain text, from examples of answers, or from a teacher.
//!
//! The data flows as follows. [`corpus`] (text), [`examples`] (answers) and [`targets`] (a teacher's answers on file) are
//! sources of [`rows`]. [`on_policy`] makes the student write the rest of a row, and a [`teacher`] says what it would write.
//! Rows become lessons of an [`objective`], whose gradients come from [`fused`] (Gemma 2 on the CPU) or [`autograd`]
//! (everything else). The [`Trainer`] takes steps of [`optimizer::AdamW`], [`checkpoint`] keeps a run, [`curve`] draws it, and
//! [`export`] writes what transformers loads. [`start`] reads the parameters of a model to continue from.

pub mod autograd;
pub mod checkpoint;
pub mod config;
pub mod corpus;
pub mod curve;
pub mod error;
pub mod examples;
pub mod export;
pub mod fused;
mod gradients;
pub mod objective;
pub mod on_policy;
pub mod optimizer;
pub mod parameters;
pub mod rows;
pub mod start;
pub mod targets;
pub mod teacher;
pub mod tokenizer;
mod trainer;

pub use config::{Distillation, Settings, Sizes};
pub use corpus::Data;
pub use error::{Error, Result};
pub use rows::Source;
pub use teacher::Teacher;
pub use trainer::{HeldOut, Lessons, Step, Trainer};
