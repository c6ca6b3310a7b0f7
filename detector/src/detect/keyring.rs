//! Several keys at once.

use std::collections::HashSet;
use std::path::Path;

use super::DetectError;
use crate::scheme::Key;

/// Several keys that are tried on each text. The p-value of the best is multiplied by their number.
#[derive(Debug)]
pub struct Keyring {
    pub(super) keys: Vec<Key>,
}

impl Keyring {
    /// A ring of `keys`; a key that is in it twice counts once.
    ///
    /// # Errors
    /// [`DetectError::EmptyKeyring`] without keys.
    pub fn new(keys: Vec<Key>) -> Result<Self, DetectError> {
        Self::named(keys, "that was given")
    }

    /// Every file in the directory `path`, in order of name; names that begin with a dot are left out.
    ///
    /// # Errors
    /// The directory cannot be read or is empty, or a file in it is not a key: a key that is silently missing would
    /// turn its texts into unmarked ones.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DetectError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let list = || -> std::io::Result<Vec<_>> {
            let mut files = Vec::new();
            for entry in std::fs::read_dir(path)? {
                let file = entry?.path();
                let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
                if !hidden && file.is_file() {
                    files.push(file);
                }
            }
            files.sort();
            Ok(files)
        };
        let files = list().map_err(|source| DetectError::Keyring { path: name.clone(), source })?;
        Self::named(files.into_iter().map(Key::read).collect::<Result<_, _>>()?, &name)
    }

    fn named(mut keys: Vec<Key>, path: &str) -> Result<Self, DetectError> {
        let mut ids = HashSet::new();
        keys.retain(|key| ids.insert(key.id()));
        if keys.is_empty() {
            return Err(DetectError::EmptyKeyring { path: path.into() });
        }
        Ok(Self { keys })
    }

    /// The keys.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }
}
