//! One run at a time in a directory.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Result, bail};
use wmdetect::shell::Hinted;

/// Locks the directory of a run until the file is dropped. A system that does not lock directories gives no lock.
pub(super) fn lock_directory(dir: &Path) -> Result<Option<File>> {
    let Ok(file) = File::open(dir) else { return Ok(None) };
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        bail!(Hinted::new(
            format!(
                "cannot write the run into {}: expected a directory for this run alone, found that another run writes to it",
                dir.display()
            ),
            "wait until the other run has ended, or choose another directory",
        ));
    }
    Ok(Some(file))
}
