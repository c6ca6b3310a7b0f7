//! Several keys at once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::sync::Arc;

use super::DetectError;
use crate::key_directory::{KeyDirectory, KeyEntry, KeyStatus};
use crate::report::{Warning, WarningCode};
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
///
/// A clone shares the keys.
#[derive(Clone, Debug)]
pub struct Keyring {
    pub(super) keys: Vec<RingKey>,
    /// False for a key that was given alone: its reports do not count keys.
    pub(super) ring: bool,
}

/// A key of a ring.
#[derive(Clone, Debug)]
pub(super) struct RingKey {
    pub key: Arc<Key>,
    /// Its label or its file's name, if it has one; a key in several files has all their names.
    pub name: Option<String>,
    /// Whether its owner says that others have it.
    pub leaked: bool,
}

/// Makes a keyring of one key.
impl From<Key> for Keyring {
    fn from(key: Key) -> Self {
        Arc::new(key).into()
    }
}

/// Makes a keyring of one key that others hold too. The secret is not copied.
impl From<Arc<Key>> for Keyring {
    fn from(key: Arc<Key>) -> Self {
        Self { keys: vec![RingKey { key, name: None, leaked: false }], ring: false }
    }
}

/// Makes a keyring of all keys of a directory, whatever their status and dates.
impl From<&KeyDirectory> for Keyring {
    fn from(directory: &KeyDirectory) -> Self {
        let key = |entry: &KeyEntry| RingKey {
            key: Arc::clone(entry.key()),
            name: Some(entry.name().to_owned()),
            leaked: entry.status() == KeyStatus::Leaked,
        };
        Self { keys: directory.entries().iter().map(key).collect(), ring: true }
    }
}

impl Keyring {
    /// Returns a ring of `keys`. A key that is given twice counts once.
    ///
    /// # Errors
    /// Returns an error if `keys` is empty.
    pub fn new(keys: Vec<Key>) -> Result<Self, DetectError> {
        Self::of_shared(keys.into_iter().map(Arc::new))
    }

    /// Returns a ring of keys that others hold too, as [`new`](Self::new) does. No secret is copied.
    ///
    /// # Errors
    /// Returns an error if `keys` is empty.
    pub fn of_shared(keys: impl IntoIterator<Item = Arc<Key>>) -> Result<Self, DetectError> {
        Self::named(keys.into_iter().map(|key| (key, None)), "that was given")
    }

    /// Returns the keys that `master` derives for `labels`, such as tenants or epochs. A label that is given twice counts
    /// once.
    ///
    /// # Errors
    /// Returns an error if no keys can be derived from `master`, if a label is empty or too long for a key file
    /// ([`KeyError::Label`]), or if there are no labels.
    pub fn derived(master: &Key, labels: impl IntoIterator<Item = String>) -> Result<Self, DetectError> {
        // Each label is stored once, since there may be millions.
        let derive = |label: String| Ok((Arc::new(master.derive(&label)?.with_label(None)), Some(label)));
        let keys = labels.into_iter().map(derive);
        Self::named(
            keys.collect::<Result<Vec<_>, KeyError>>()?,
            "of derived keys, which was given no labels,",
        )
    }

    /// Reads the keys in the directory `path`, as [`KeyDirectory::open`] does. All of them are tried, also those that
    /// its `keys.toml` calls retired or leaked. If a leaked key finds its mark, the report has the warning
    /// [`LeakedKey`](crate::report::WarningCode::LeakedKey).
    ///
    /// # Errors
    /// Returns an error if [`KeyDirectory::open`] would.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DetectError> {
        Ok((&KeyDirectory::open(path)?).into())
    }

    fn named(
        keys: impl IntoIterator<Item = (Arc<Key>, Option<String>)>,
        path: &str,
    ) -> Result<Self, DetectError> {
        let mut places = HashMap::new();
        let mut ring: Vec<RingKey> = Vec::new();
        for (key, name) in keys {
            match places.entry(key.id()) {
                Entry::Vacant(place) => {
                    place.insert(ring.len());
                    ring.push(RingKey { key, name, leaked: false });
                }
                Entry::Occupied(place) => also_called(&mut ring[*place.get()].name, name),
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
        self.keys.iter().map(|entry| &*entry.key)
    }

    /// Returns the warning for a mark of the key with this id, if its owner says that the key has leaked.
    pub fn leak_warning(&self, key_id: &str) -> Option<Warning> {
        let leaked = self.keys.iter().any(|entry| entry.leaked && entry.key.id() == key_id);
        leaked.then(|| leak_warning(key_id))
    }
}

/// Returns the warning about a mark of a leaked key.
pub(super) fn leak_warning(key_id: &str) -> Warning {
    let message = format!("the key {key_id} was marked as leaked: others may have written the mark");
    Warning::new(WarningCode::LeakedKey, message)
}

/// Adds another name of the same key, so that a report does not name only one of two files.
fn also_called(name: &mut Option<String>, other: Option<String>) {
    match (name, other) {
        (Some(name), Some(other)) if *name != other => *name = format!("{name}, {other}"),
        (name @ None, other) => *name = other,
        _ => {}
    }
}
