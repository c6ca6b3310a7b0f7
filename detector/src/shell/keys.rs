//! Key files, with a warning on standard error where others can read them.

use std::path::Path;

use super::say;
use crate::detect::{DetectError, Keyring};
use crate::scheme::key::permission_warning;
use crate::scheme::{Key, KeyError};

/// Reads a key.
///
/// # Errors
/// As [`Key::read`].
pub fn read_key(path: &Path) -> Result<Key, KeyError> {
    let key = Key::read(path)?;
    warn_of_permissions(path);
    Ok(key)
}

/// Reads the keys in a directory.
///
/// # Errors
/// As [`Keyring::open`].
pub fn read_keyring(dir: &Path) -> Result<Keyring, DetectError> {
    let ring = Keyring::open(dir)?;
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_file() && !entry.file_name().as_encoded_bytes().starts_with(b".") {
            warn_of_permissions(&entry.path());
        }
    }
    Ok(ring)
}

fn warn_of_permissions(key: &Path) {
    if let Some(warning) = permission_warning(key) {
        say(&format!("warning: {warning}"));
    }
}
