//! Key files, with a warning on standard error if others can read or change them.

use std::path::Path;

use super::say;
use crate::detect::{DetectError, Keyring};
use crate::key_directory::{KeyDirectory, KeyDirectoryError};
use crate::scheme::key::permission_warning;
use crate::scheme::{Key, KeyError};
#[cfg(feature = "sign")]
use crate::signed::{JwkError, SigningKey};

/// Reads a key.
///
/// # Errors
/// Returns an error if [`Key::read`] would.
pub fn read_key(path: &Path) -> Result<Key, KeyError> {
    let key = Key::read(path)?;
    warn_of_permissions(path);
    Ok(key)
}

/// Reads the keys in a directory.
///
/// # Errors
/// Returns an error if [`Keyring::open`] would.
pub fn read_keyring(dir: &Path) -> Result<Keyring, DetectError> {
    Ok((&read_key_directory(dir)?).into())
}

/// Reads the keys in a directory, with what its list says of them.
///
/// # Errors
/// Returns an error if [`KeyDirectory::open`] would.
pub fn read_key_directory(dir: &Path) -> Result<KeyDirectory, KeyDirectoryError> {
    let directory = KeyDirectory::open(dir)?;
    warn_of_changes(dir);
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name() == "keys.toml" {
            // It holds no secret, but says which key is used.
            warn_of_changes(&entry.path());
        } else if entry.path().is_file() && !entry.file_name().as_encoded_bytes().starts_with(b".") {
            warn_of_permissions(&entry.path());
        }
    }
    Ok(directory)
}

/// Reads a signing key.
///
/// # Errors
/// Returns an error if [`SigningKey::read`] would.
#[cfg(feature = "sign")]
pub fn read_signing_key(path: &Path) -> Result<SigningKey, JwkError> {
    let key = SigningKey::read(path)?;
    warn_of_permissions(path);
    Ok(key)
}

fn warn_of_permissions(key: &Path) {
    if let Some(warning) = permission_warning(key) {
        say(&format!("warning: {warning}"));
    }
}

/// Warns about a directory or a list in which others could replace a key.
fn warn_of_changes(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode() & 0o777);
        if mode & 0o022 != 0 {
            say(&format!(
                "warning: {0}: other users can change which keys are used (mode {mode:03o}, expected no right to write for \
                 them); run `chmod go-w {0}`",
                path.display()
            ));
        }
    }
    #[cfg(not(unix))]
    let _ = path;
}
