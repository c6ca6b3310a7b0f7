//! A token in its place, as the encoder and its memory of words exchange it.

/// A token and the bytes that it covers, from the start of what is being encoded.
#[derive(Clone, Copy)]
pub(super) struct Symbol {
    pub(super) id: u32,
    pub(super) start: u32,
    pub(super) end: u32,
}
