//! Temporary files with a name: `.NAME.PID-N.part` in the directory of the file NAME.
//!
//! A writer holds the lock of its part. The system releases the lock with the process, however it ends. So a part that
//! can be locked has no living writer, even in another container. The next writer of the same file removes it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::directory;

/// The longest file name that leaves room for the rest of a part's name.
const LONGEST_NAME: usize = 200;

/// Creates a part for `target`, and holds its lock if the filesystem has locks.
pub(super) fn create(target: &Path, mode: u32) -> io::Result<(File, PathBuf)> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    loop {
        let (file, part) = with_new_name(target, |part| options.open(part))?;
        // Another writer may have thought it abandoned before it was locked.
        let lost = matches!(file.try_lock(), Err(TryLockError::WouldBlock)) || !part.exists();
        if !lost {
            remove_abandoned(target, &file);
            return Ok((file, part));
        }
        let _ = fs::remove_file(part);
    }
}

/// Gives a file, which is locked, a part's name by `link`.
pub(super) fn name(target: &Path, link: impl Fn(&Path) -> io::Result<()>) -> io::Result<PathBuf> {
    with_new_name(target, link).map(|((), part)| part)
}

/// Calls `make` with names in the directory of `target` until one is free. A name begins with a dot, so that a keyring
/// does not take the file of a killed process for a key.
fn with_new_name<T>(target: &Path, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(T, PathBuf)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut name = prefix(target).unwrap_or_else(|| ".".into());
        name.push(format!("{}-{number}.part", std::process::id()));
        let part = directory(target).join(name);
        match make(&part) {
            // The part of another process with the same number.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => return made.map(|made| (made, part)),
        }
    }
}

/// Returns the beginning of the names of a file's parts, or `None` if the file's own name is too long.
fn prefix(target: &Path) -> Option<OsString> {
    let name = target.file_name().filter(|name| name.len() <= LONGEST_NAME)?;
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    Some(prefix)
}

/// Removes the parts of `target` that killed processes left behind: unlocked regular files with the same owner as
/// `own`, which is a part itself.
#[cfg(unix)]
pub(super) fn remove_abandoned(target: &Path, own: &File) {
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

    let Some(prefix) = prefix(target) else { return };
    let Ok(own) = own.metadata() else { return };
    let is_part = |name: &[u8]| {
        let numbers =
            name.strip_prefix(prefix.as_encoded_bytes()).and_then(|rest| rest.strip_suffix(b".part"));
        let mut numbers = numbers.into_iter().flat_map(|numbers| numbers.split(|&byte| byte == b'-'));
        let mut number = || numbers.next().is_some_and(|n| !n.is_empty() && n.iter().all(u8::is_ascii_digit));
        number() && number() && numbers.next().is_none()
    };
    // With these flags a link is not followed, and a pipe does not wait for its other end.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    for entry in fs::read_dir(directory(target)).into_iter().flatten().flatten() {
        if !is_part(entry.file_name().as_encoded_bytes()) {
            continue;
        }
        let open = OpenOptions::new().write(true).custom_flags(flags.bits().cast_signed()).open(entry.path());
        let Ok((part, metadata)) = open.and_then(|part| part.metadata().map(|metadata| (part, metadata)))
        else {
            continue;
        };
        let ours = metadata.is_file() && metadata.uid() == own.uid();
        if ours && part.try_lock().is_ok() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(not(unix))]
pub(super) fn remove_abandoned(_target: &Path, _own: &File) {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts whose writer lives, parts of other files, and files that only look like parts.
    #[cfg(unix)]
    #[test]
    fn the_next_writer_removes_what_a_killed_one_left_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("k.bin");
        let place = |name: &str| dir.path().join(name);
        let kept =
            [".k.bin.7-2.part", ".other.7-1.part", ".k.bin.7.part", ".k.bin.7-1-1.part", ".k.bin.7-x.part"];
        for name in kept.iter().chain(&[".k.bin.7-1.part", ".k.bin.7-3.part"]) {
            fs::write(place(name), "secret").unwrap();
        }
        let held = File::open(place(".k.bin.7-2.part")).unwrap();
        held.lock().unwrap();
        std::os::unix::fs::symlink(place(".other.7-1.part"), place(".k.bin.7-4.part")).unwrap();
        // The first write makes the file and the second replaces it.
        for content in ["first", "second"] {
            fs::write(place(".k.bin.7-1.part"), "secret").unwrap();
            super::super::write(&target, content.as_bytes()).unwrap();
            assert!(!place(".k.bin.7-1.part").exists(), "{content}");
        }
        let names = fs::read_dir(dir.path()).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let mut expected = [&kept[..], &[".k.bin.7-4.part", "k.bin"]].concat();
        expected.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!(fs::read_to_string(target).unwrap(), "second");
    }

    #[test]
    fn a_part_of_a_living_writer_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("file");
        let (_first, part) = create(&target, 0o600).unwrap();
        let (_second, other) = create(&target, 0o600).unwrap();
        assert!(part.exists() && other.exists() && part != other);
    }

    #[test]
    fn a_long_name_can_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("n".repeat(250));
        for content in ["first", "second"] {
            super::super::write(&target, content.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
