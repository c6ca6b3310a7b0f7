//! The mark as a sampling stage: a thin adapter to [`wmdetect::scheme::tournament`], which a request may leave out.

use wmdetect::scheme::{Distribution, Marking, PositionKind, Watermark};

/// The mark of one sequence, or none.
#[derive(Clone, Debug)]
pub struct Mark(Option<Marking>);

impl Mark {
    /// Starts the response to `prompt`, marked if there is a `watermark`.
    pub fn start(watermark: Option<&Watermark>, prompt: &[u32]) -> Self {
        Self(watermark.map(|watermark| watermark.start(prompt)))
    }

    /// Marks the candidates of the next position where the rule says so, and tells what it said.
    pub fn apply(&mut self, candidates: &mut Distribution) -> Option<PositionKind> {
        self.0.as_mut().map(|marking| marking.apply(candidates))
    }

    /// Appends the drawn token.
    pub fn push(&mut self, token: u32) {
        if let Some(marking) = &mut self.0 {
            marking.push(token);
        }
    }
}
