//! Fields of a key file's body.

use super::KeyError;
use super::real::Real;

/// Takes fields off a body whose checksum is right. A field that does not fit comes from an unknown writer.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    path: &'a str,
}

impl<'a> Fields<'a> {
    /// Starts at the first field of `body`; `path` is for messages.
    pub(super) fn new(body: &'a [u8], path: &'a str) -> Self {
        Self { rest: body, path }
    }

    /// Returns whether all fields were taken.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Returns the error for a field that does not fit.
    pub(super) fn corrupted(&self, what: &'static str) -> KeyError {
        KeyError::Corrupted { path: self.path.into(), what }
    }

    /// Takes the next `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], KeyError> {
        let (field, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| self.corrupted("its body is shorter than its fields"))?;
        self.rest = rest;
        Ok(field)
    }

    /// Takes the next `N` bytes as an array.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], KeyError> {
        Ok(self.take(N)?.try_into().expect("take returns as many bytes as asked for"))
    }

    /// Takes the next 8 bytes as a real number.
    pub(super) fn real(&mut self) -> Result<Real, KeyError> {
        Ok(Real(f64::from_le_bytes(self.array()?)))
    }
}
