//! Several keys at once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

use super::DetectError;
use crate::scheme::{Key, KeyError};

/// The keys that are tried on each text, at least one. The least of their p-values is multiplied by their number.
///
/// ```
/// use wmdetect::{Detector, Key, Keyring};
///
/// # fn main() -> Result<(), wmdetect::DetectError> {
/// let master = Key::from_bytes(&[7; 32], "an example")?;
/// let tenants = Keyring::derived(&master, ["acme", "globex"].map(str::to_owned))?;
/// let detector = Detector::builder(tenants).build()?;
/// assert_eq!(detector.key_ids().map(|(_, name)| name.unwrap()).collect::<Vec<_>>(), ["acme", "globex"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Keyring {
    /// Each with its label or its file's name, if it has one; a key in several files has all their names.
    pub(super) keys: Vec<(Key, Option<String>)>,
    /// False for a key that was given alone: its reports do not count keys.
    pub(super) ring: bool,
}

/// One key alone.
impl From<Key> for Keyring {
    fn from(key: Key) -> Self {
        Self { keys: vec![(key, None)], ring: false }
    }
}

impl Keyring {
    /// Returns a ring of `keys`. A key that is given twice counts once.
    ///
    /// # Errors
    /// Returns an error if there are no keys.
    pub fn new(keys: Vec<Key>) -> Result<Self, DetectError> {
        Self::named(keys.into_iter().map(|key| (key, None)), "that was given")
    }

    /// Returns the keys that `master` derives for `labels`, such as tenants or epochs. A label that is given twice counts
    /// once.
    ///
    /// # Errors
    /// Returns an error if no keys can be derived from `master`, if a label is empty or too long for a key file
    /// ([`KeyError::Label`]), or if there are no labels.
    pub fn derived(master: &Key, labels: impl IntoIterator<Item = String>) -> Result<Self, DetectError> {
        // The label once, since there may be millions.
        let keys = labels.into_iter().map(|label| Ok((master.derive(&label)?.with_label(None), Some(label))));
        Self::named(
            keys.collect::<Result<Vec<_>, KeyError>>()?,
            "of derived keys, which was given no labels,",
        )
    }

    /// Reads every file in the directory `path`, in order of name. A key in two files counts once and has both names. Directories
    /// and names that begin with a dot are left out. A key of 32 raw bytes must have a name that ends in `.bin` or `.key`, because anything else can have 32 bytes.
    ///
    /// # Errors
    /// Returns an error if the directory cannot be read or has no file that is read, or if a file in it is not a key: without an error, the
    /// texts of a missing key would pass for unmarked.
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
            let may_be_raw = file.extension().is_some_and(|end| end == "bin" || end == "key");
            let key = if may_be_raw { Key::read(file) } else { Key::read_container(file) };
            Ok((key?, name))
        };
        Self::named(files.into_iter().map(named).collect::<Result<Vec<_>, KeyError>>()?, &name)
    }

    fn named(keys: impl IntoIterator<Item = (Key, Option<String>)>, path: &str) -> Result<Self, DetectError> {
        let mut places = HashMap::new();
        let mut ring: Vec<(Key, Option<String>)> = Vec::new();
        for (key, name) in keys {
            match places.entry(key.id()) {
                Entry::Vacant(place) => {
                    place.insert(ring.len());
                    ring.push((key, name));
                }
                Entry::Occupied(place) => also_called(&mut ring[*place.get()].1, name),
            }
        }
        if ring.is_empty() {
            return Err(DetectError::EmptyKeyring { path: path.into() });
        }
        Ok(Self { keys: ring, ring: true })
    }

    /// Returns the number of different keys, at least one.
    #[expect(clippy::len_without_is_empty, reason = "a ring is never empty")]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns the keys.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Key> {
        self.keys.iter().map(|(key, _)| key)
    }
}

/// Adds another name of the same key, so that a report does not name one of two that could be meant.
fn also_called(name: &mut Option<String>, other: Option<String>) {
    match (name, other) {
        (Some(name), Some(other)) if *name != other => *name = format!("{name}, {other}"),
        (name @ None, other) => *name = other,
        _ => {}
    }
}
