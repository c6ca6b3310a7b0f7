//! Keys as the JSON of other libraries.

use std::io::{self, ErrorKind};
use std::path::Path;

use zeroize::Zeroizing;

use super::Key;
use super::file::read_limited;
use crate::scheme::KeyError;
use crate::scheme::family::{ImportOptions, Imported};
use crate::scheme::schemes::Scheme;

impl Key {
    /// Reads a key of `scheme` (`synthid-hf`, `vllm-gumbel`, …) from the JSON that its own library or engine reads. Returns it
    /// with notes on the fields that play no part here.
    ///
    /// An additional field `sampling_table`, a list of 0 and 1, gives the table of `synthid-hf` explicitly. Values that
    /// a file lacks come from the [options](Self::import_json_with).
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is not such JSON, or if the key cannot work. Returns
    /// [`KeyError::NoJson`] if there is no scheme of this name, or if it is one of our own.
    pub fn import_json(path: impl AsRef<Path>, scheme: &str) -> Result<(Self, Vec<String>), KeyError> {
        Self::import_json_with(path, scheme, ImportOptions::default())
    }

    /// Reads a key as [`import_json`](Self::import_json) does, and takes what the file lacks from `options`.
    ///
    /// # Errors
    /// Returns an error if [`import_json`](Self::import_json) would.
    pub fn import_json_with(
        path: impl AsRef<Path>,
        scheme: &str,
        options: ImportOptions,
    ) -> Result<(Self, Vec<String>), KeyError> {
        let path = path.as_ref();
        // These errors speak of key files.
        let bytes = read_limited(path).map_err(|error| match error {
            KeyError::Missing { path } => unreadable(path, ErrorKind::NotFound, "there is no such file"),
            KeyError::Directory { path } => unreadable(path, ErrorKind::IsADirectory, "it is a directory"),
            error => error,
        })?;
        let Imported { parameters, secret, notes } =
            Scheme::from_json(scheme, &bytes, &path.display().to_string(), options)
                .ok_or_else(|| KeyError::NoJson { scheme: scheme.into() })??;
        Ok((Self::new(parameters, secret)?, notes))
    }

    /// Returns the JSON that the scheme's own library reads. It holds the secret: write it where only its owner reads.
    ///
    /// # Errors
    /// Returns an error if the scheme is one of our own, which no other library reads: [`KeyError::NoJson`].
    pub fn export_json(&self) -> Result<Zeroizing<String>, KeyError> {
        let json = self.scheme().to_json(self.secret());
        json.ok_or_else(|| KeyError::NoJson { scheme: self.scheme().name().into() })
    }
}

/// Returns the error about a configuration that cannot be read.
fn unreadable(path: String, kind: ErrorKind, why: &str) -> KeyError {
    KeyError::Read { path, source: io::Error::new(kind, why) }
}
