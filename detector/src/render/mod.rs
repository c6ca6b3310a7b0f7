//! Reports for people: pages, a coloured terminal, plain lines.

pub mod html;
pub mod people;
pub mod terminal;
mod words;
