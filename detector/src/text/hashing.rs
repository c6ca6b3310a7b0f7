//! Names for what is in the cache: SHA-256 of what a vocabulary was compiled from.

use std::cell::{Cell, RefCell};
use std::io::{self, BufRead, Read};

use sha2::{Digest, Sha256};

use super::vocabulary::is_rule;
use crate::cache::Key;
use crate::gguf::names::GENERAL_NAME;
use crate::gguf::{GgufError, Metadata};

/// Returns SHA-256 of everything that `reader` gives.
pub(super) fn key_of_all(mut reader: impl Read) -> io::Result<Key> {
    let watch = Watch::default();
    watch.on.set(true);
    io::copy(&mut Hashing { inner: &mut reader, watch: &watch }, &mut io::sink())?;
    Ok(watch.key())
}

/// Returns SHA-256 of the keys of a GGUF file that decide how texts are cut, with their values, and the file's name for
/// people. Files of one model in many formats have one vocabulary.
pub(super) fn key_of_gguf(reader: impl BufRead, len: u64) -> Result<(Key, Metadata), GgufError> {
    let watch = Watch::default();
    watch.hash.borrow_mut().update(b"gguf\0");
    let entry = |entry: Option<(&str, u32)>| {
        let rule = entry.filter(|(key, _)| is_rule(key));
        if let Some((key, value_type)) = rule {
            let mut hash = watch.hash.borrow_mut();
            hash.update((key.len() as u64).to_le_bytes());
            hash.update(key.as_bytes());
            hash.update(value_type.to_le_bytes());
        }
        watch.on.set(rule.is_some());
    };
    let hashing = Hashing { inner: reader, watch: &watch };
    let metadata = Metadata::read_entries(hashing, len, |key| key == GENERAL_NAME, entry)?;
    Ok((watch.key(), metadata))
}

/// The hash so far, and whether the next bytes belong to it.
#[derive(Default)]
struct Watch {
    hash: RefCell<Sha256>,
    on: Cell<bool>,
}

impl Watch {
    fn see(&self, bytes: &[u8]) {
        if self.on.get() {
            self.hash.borrow_mut().update(bytes);
        }
    }

    fn key(self) -> Key {
        self.hash.into_inner().finalize().into()
    }
}

/// A reader that shows a [`Watch`] what goes through it.
struct Hashing<'a, R> {
    inner: R,
    watch: &'a Watch,
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.watch.see(&buffer[..read]);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Hashing<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        // The bytes to consume are in the buffer, so this reads nothing and cannot fail.
        if let Ok(buffer) = self.inner.fill_buf() {
            self.watch.see(&buffer[..amount]);
        }
        self.inner.consume(amount);
    }
}
