//! Directories of keys: which key is in force when, and which keys are not to be trusted.
//!
//! A directory may hold `keys.toml`, the list of its keys:
//!
//! ```toml
//! [[key]]
//! file = "2026-11.bin"
//! id = "7c41e2ea1e5c6796"     # optional; another key in the file is an error
//! label = "acme"              # optional; else the label that the key was derived for
//! status = "retired"          # active (the default), retired or leaked
//!
//! [[key]]
//! file = "2026-12.bin"
//! label = "acme"
//! not_before = 2026-12-01           # from midnight UTC on
//! not_after = 2026-12-31T22:00:00Z  # to this second; a date alone means to its end
//! ```
//!
//! Generators use the key in force, [`KeyDirectory::active`]. Detectors try every key, also those that are retired or
//! leaked, since the texts that they marked still exist. If a leaked key finds its mark, the report has the warning
//! [`LeakedKey`](crate::report::WarningCode::LeakedKey).
//!
//! The list fails closed. It is an error if it does not name a file of the directory, has an unknown field, gives a key
//! another id, or lists a key twice. Without a list every key file is active and has no dates.

mod error;
mod list;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

pub use error::KeyDirectoryError;

use crate::scheme::Key;
use crate::timestamp::Timestamp;

/// Largest number of keys that an error names.
const NAMED: usize = 12;

/// The keys in a directory, at least one, and what its `keys.toml` says of them.
#[derive(Debug)]
pub struct KeyDirectory {
    path: PathBuf,
    entries: Vec<KeyEntry>,
    /// State of the files before they were read.
    state: State,
}

/// A key of a [`KeyDirectory`].
#[derive(Clone, Debug)]
pub struct KeyEntry {
    key: Arc<Key>,
    id: String,
    file: String,
    /// The label in the list.
    label: Option<String>,
    status: KeyStatus,
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
}

/// Status of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStatus {
    /// Texts are marked with it while its dates hold.
    #[default]
    Active,
    /// New texts are not marked with it.
    Retired,
    /// Others have it, or may have it: its mark does not tell who made a text.
    Leaked,
}

impl KeyStatus {
    /// Returns the name in `keys.toml` and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Leaked => "leaked",
        }
    }
}

/// The regular files of the directory, with size, time of change and number.
type State = Vec<(OsString, u64, Option<SystemTime>, u64)>;

impl KeyDirectory {
    /// Reads the keys in the directory `path`: those that its `keys.toml` lists, in its order, else every file, in
    /// order of name. Names that begin with a dot are left out.
    ///
    /// Without a list, a key in two files counts once and has both names. A key of 32 raw bytes must then have a name
    /// that ends in `.bin` or `.key`, because any file can have 32 bytes.
    ///
    /// # Errors
    /// Returns an error if the directory or a file in it cannot be read, if it has no key, or if a file is not a key.
    /// Also returns an error if the list and the files do not agree. Without a list, a subdirectory or a broken link is
    /// an error. Otherwise the texts of a missing key would pass for unmarked.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, KeyDirectoryError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let unreadable = |source| KeyDirectoryError::Unreadable { path: name.clone(), source };
        // This comes before the files are read, so that the next look sees a change in between.
        let state = look(path).map_err(unreadable)?;
        let files = state.iter().map(|(file, ..)| file).filter(|file| *file != list::NAME);
        let names: Vec<String> = files.clone().map(|file| file.to_string_lossy().into_owned()).collect();
        let entries = if let Some(entries) = list::read(path, &names)? {
            entries
        } else {
            only_files(path)?;
            unlisted(path, files)?
        };
        if entries.is_empty() {
            return Err(KeyDirectoryError::Empty { path: name });
        }
        Ok(Self { path: path.to_owned(), entries, state })
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns all keys, at least one.
    pub fn entries(&self) -> &[KeyEntry] {
        &self.entries
    }

    /// Returns the key that texts are to be marked with at the moment `now`. Among the active keys whose dates hold it
    /// is the one that begins last. With a label only the keys of this label count, else all.
    ///
    /// # Errors
    /// Returns an error if there is no such key, or if several begin last, since nothing says which is meant.
    pub fn active(&self, now: SystemTime, label: Option<&str>) -> Result<&KeyEntry, KeyDirectoryError> {
        let now = Timestamp::from(now);
        let path = || self.path.display().to_string();
        let whose = || label.map_or_else(String::new, |label| format!(" for the label {label:?}"));
        let of_label: Vec<&KeyEntry> = self
            .entries
            .iter()
            .filter(|entry| label.is_none_or(|label| entry.label() == Some(label)))
            .collect();
        let in_force = || of_label.iter().copied().filter(|entry| entry.is_in_force(now));
        let Some(latest) = in_force().map(|entry| entry.not_before).max() else {
            let found = if of_label.is_empty() { &self.entries.iter().collect() } else { &of_label };
            return Err(KeyDirectoryError::NoneActive {
                path: path(),
                whose: whose(),
                now,
                found: described(found),
            });
        };
        let last: Vec<&KeyEntry> = in_force().filter(|entry| entry.not_before == latest).collect();
        match last[..] {
            [entry] => Ok(entry),
            _ => Err(KeyDirectoryError::SeveralActive {
                path: path(),
                whose: whose(),
                now,
                found: described(&last),
            }),
        }
    }

    /// Reads the directory again.
    ///
    /// # Errors
    /// Returns an error if [`open`](Self::open) would. The keys that were read before stay.
    pub fn reload(&mut self) -> Result<(), KeyDirectoryError> {
        *self = Self::open(&self.path)?;
        Ok(())
    }

    /// Reads the directory again if a file in it was added, removed or changed, and returns whether one was. It looks
    /// at names, sizes and times, which takes some microseconds a file.
    ///
    /// # Errors
    /// Returns an error if [`open`](Self::open) would, at each call until the directory is in order. The keys that were
    /// read before stay.
    pub fn reload_if_changed(&mut self) -> Result<bool, KeyDirectoryError> {
        let unreadable =
            |source| KeyDirectoryError::Unreadable { path: self.path.display().to_string(), source };
        if look(&self.path).map_err(unreadable)? == self.state {
            return Ok(false);
        }
        self.reload()?;
        Ok(true)
    }
}

impl KeyEntry {
    /// Returns the key.
    pub fn key(&self) -> &Arc<Key> {
        &self.key
    }

    /// Returns the key's public id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the name of the key's file, or all names, with commas, if the key is in several files.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Returns the label in `keys.toml`, else the label that the key was derived for, if there is one.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref().or(self.key.label())
    }

    /// Returns the name for reports: the label in `keys.toml`, else the file's name.
    pub fn name(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.file)
    }

    /// Returns the key's status.
    pub fn status(&self) -> KeyStatus {
        self.status
    }

    /// Returns the first second in which texts may be marked with the key; `None` if it has no beginning.
    pub fn not_before(&self) -> Option<Timestamp> {
        self.not_before
    }

    /// Returns the last second in which texts may be marked with the key; `None` if it has no end.
    pub fn not_after(&self) -> Option<Timestamp> {
        self.not_after
    }

    /// Returns whether the key is active and its dates hold at the moment `now`.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.status == KeyStatus::Active
            && self.not_before.is_none_or(|from| from <= now)
            && self.not_after.is_none_or(|to| now <= to)
    }
}

/// Returns the regular files of a directory whose names do not begin with a dot, in order of name.
fn look(path: &Path) -> io::Result<State> {
    let mut state = State::new();
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // A broken link is left out, as a directory is; a list that names it finds it missing.
        let Ok(metadata) = fs::metadata(path.join(&name)) else { continue };
        if metadata.is_file() {
            #[cfg(unix)]
            let number = std::os::unix::fs::MetadataExt::ino(&metadata);
            #[cfg(not(unix))]
            let number = 0;
            state.push((name, metadata.len(), metadata.modified().ok(), number));
        }
    }
    state.sort();
    Ok(state)
}

/// Checks that everything in a directory is a file, except what has a name with a dot in front.
fn only_files(path: &Path) -> Result<(), KeyDirectoryError> {
    let name = path.display().to_string();
    let unreadable = |source| KeyDirectoryError::Unreadable { path: name.clone(), source };
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let file = entry.file_name();
        if file.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let what = match fs::metadata(entry.path()) {
            Ok(metadata) if metadata.is_file() => continue,
            Ok(metadata) if metadata.is_dir() => "the directory",
            Ok(_) => "the special file",
            Err(_) => "the broken link",
        };
        return Err(KeyDirectoryError::NotAFile { path: name, found: format!("{what} {}", file.display()) });
    }
    Ok(())
}

/// Returns the keys of a directory without a list.
fn unlisted<'f>(
    path: &Path,
    files: impl Iterator<Item = &'f OsString>,
) -> Result<Vec<KeyEntry>, KeyDirectoryError> {
    let mut entries: Vec<KeyEntry> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for file in files {
        let place = path.join(file);
        let may_be_raw = place.extension().is_some_and(|end| end == "bin" || end == "key");
        let key = if may_be_raw { Key::read(place) } else { Key::read_container(place) }?;
        let (id, file) = (key.id(), file.to_string_lossy().into_owned());
        if let Some(&known) = places.get(&id) {
            let known: &mut KeyEntry = &mut entries[known];
            known.file = format!("{}, {file}", known.file);
            continue;
        }
        places.insert(id.clone(), entries.len());
        let (status, not_before, not_after) = (KeyStatus::Active, None, None);
        entries.push(KeyEntry { key: Arc::new(key), id, file, label: None, status, not_before, not_after });
    }
    Ok(entries)
}

/// Returns which keys these are, and until when, for an error.
fn described(entries: &[&KeyEntry]) -> String {
    let one = |entry: &&KeyEntry| {
        let label = entry.label().map(|label| format!(", label {label:?}")).unwrap_or_default();
        let from = entry.not_before.map(|from| format!(", from {from}")).unwrap_or_default();
        let to = entry.not_after.map(|to| format!(", until {to}")).unwrap_or_default();
        format!("{} ({}{label}{from}{to})", entry.file, entry.status.name())
    };
    let mut keys: Vec<String> = entries.iter().take(NAMED).map(one).collect();
    if entries.len() > NAMED {
        keys.push(format!("{} more", entries.len() - NAMED));
    }
    keys.join(", ")
}

#[cfg(test)]
mod tests;
