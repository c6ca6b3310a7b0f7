//! Read-only memory maps.
#![allow(unsafe_code, reason = "a file that is mapped can be changed by others; see `Mapped::new`")]

use std::fs::File;
use std::io;

/// A file's content as memory, aligned to a page.
#[derive(Debug)]
pub(super) struct Mapped(memmap2::Mmap);

impl Mapped {
    /// Maps all of `file`, which must be one that nobody writes to while it is mapped.
    ///
    /// # Errors
    /// Returns an error if the system cannot map the file.
    pub(super) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: the map is read-only and private to this process. It is sound as long as the file does not change
        // under it. The only files mapped are those of the cache. They are written under another name, renamed when
        // complete, and never opened for writing again. `Cache::open` has seen that the file and its directory belong
        // to this user or to root and that nobody else can write to them. A process of the same user that overwrites
        // one in place could do anything else to us as well.
        let map = unsafe { memmap2::Mmap::map(file) }?;
        Ok(Self(map))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}
