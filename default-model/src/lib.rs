//! The weights of the model that ships with `wmgen`, as bytes, in a crate of data: so that a new version of the program does not
//! upload them again. The crate's README is the model card.

/// The file is read in place, as if mapped, and tensors in a mapped file start at aligned addresses.
#[repr(C, align(64))]
struct Aligned<B: ?Sized>(B);

static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!("../default.gguf"));

/// Returns the model as a GGUF file, which llama.cpp reads too, at an address that is a multiple of 64.
pub fn gguf() -> &'static [u8] {
    &FILE.0
}
