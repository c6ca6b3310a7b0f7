//! Several keys at once.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::DetectError;
use crate::scheme::{Key, KeyError};

/// Several keys that are tried on each text. The p-value of the best is multiplied by their number.
#[derive(Debug)]
pub struct Keyring {
    /// Each with its label or its file's name, if it has one.
    pub(super) keys: Vec<(Key, Option<String>)>,
}

impl Keyring {
    /// A ring of `keys`; a key that is in it twice counts once.
    ///
    /// # Errors
    /// [`DetectError::EmptyKeyring`] without keys.
    pub fn new(keys: Vec<Key>) -> Result<Self, DetectError> {
        Self::named(keys.into_iter().map(|key| (key, None)), "that was given")
    }

    /// The keys that `master` derives for `labels`: tenants, or epochs. A label that comes up twice counts once.
    ///
    /// # Errors
    /// [`KeyError::DeriveCompat`](crate::scheme::KeyError::DeriveCompat) for a master of a compatible scheme, or
    /// [`DetectError::EmptyKeyring`] without labels.
    pub fn derived(master: &Key, labels: impl IntoIterator<Item = String>) -> Result<Self, DetectError> {
        let keys = labels.into_iter().map(|label| Ok((master.derive(&label)?, Some(label))));
        Self::named(
            keys.collect::<Result<Vec<_>, KeyError>>()?,
            "of derived keys, which was given no labels,",
        )
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
        let named = |file: PathBuf| {
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
            Ok((Key::read(file)?, name))
        };
        Self::named(files.into_iter().map(named).collect::<Result<Vec<_>, KeyError>>()?, &name)
    }

    fn named(keys: impl IntoIterator<Item = (Key, Option<String>)>, path: &str) -> Result<Self, DetectError> {
        let mut ids = HashSet::new();
        let keys: Vec<_> = keys.into_iter().filter(|(key, _)| ids.insert(key.id())).collect();
        if keys.is_empty() {
            return Err(DetectError::EmptyKeyring { path: path.into() });
        }
        Ok(Self { keys })
    }

    /// How many different keys it has, at least one.
    #[expect(clippy::len_without_is_empty, reason = "a ring is never empty")]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The keys.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Key> {
        self.keys.iter().map(|(key, _)| key)
    }
}
