//! Writes a file whole or not at all.
//!
//! The bytes go to a temporary file in the target's directory. [`AtomicFile::commit`] waits until they are on the disk
//! and then gives the file its name. So after a crash or with a full disk a reader finds the old content or the new
//! one, never a part. A file that is dropped without a commit is removed.
//!
//! On Linux the temporary file has no name (`O_TMPFILE`), so a process that is killed leaves nothing behind. A file
//! that replaces another has a temporary name in the same directory for the moment before the rename. On other systems,
//! and on filesystems without `O_TMPFILE`, it has that name from the start: `.NAME.PID-N.part`, which `kill -9` leaves
//! behind. On Unix the next writer of the same file removes it.
//!
//! Symbolic links are followed: a link stays a link, and the file that it names is replaced. A target that is not a
//! regular file, such as a device, a pipe or `/dev/stdout`, has no content to keep. So the bytes go straight into it.
//! [`Options::create_new`] does not change that.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("report.json");
//! use wmdetect::atomic_file;
//!
//! atomic_file::write(&path, b"{}\n")?;
//! let refused = atomic_file::Options::new().create_new(true).write(&path, b"other");
//! assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
//! assert_eq!(std::fs::read(&path)?, b"{}\n");
//! # Ok(())
//! # }
//! ```

mod parts;

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Largest number of links in a chain that are followed, as on Linux.
const MAX_LINKS: usize = 40;

/// Replaces the file `path`, or creates it, with `bytes` as its content.
///
/// # Errors
/// Returns an error if the file cannot be written. The target is then unchanged.
pub fn write(path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
    Options::new().write(path, bytes)
}

/// Options of writing a file. The default replaces an existing file and keeps its permissions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    create_new: bool,
    private: bool,
}

impl Options {
    /// Returns the default.
    pub const fn new() -> Self {
        Self { create_new: false, private: false }
    }

    /// Sets whether it is an error (`AlreadyExists`) if the name is taken, also by a link to a file or to nothing.
    pub const fn create_new(self, create_new: bool) -> Self {
        Self { create_new, ..self }
    }

    /// Sets whether only the owner may read and write the file (mode 0600 on Unix, whatever the umask).
    pub const fn private(self, private: bool) -> Self {
        Self { private, ..self }
    }

    /// Opens a file for writing. The target does not change before [`AtomicFile::commit`].
    ///
    /// # Errors
    /// Returns an error if the directory does not exist or cannot be written, if `path` is a directory, or if the name
    /// is taken and [`create_new`](Self::create_new) is set.
    pub fn open(self, path: impl AsRef<Path>) -> io::Result<AtomicFile> {
        let path = path.as_ref();
        let existing = match fs::metadata(path) {
            Ok(existing) => Some(existing),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if existing.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(ErrorKind::IsADirectory.into());
        }
        let target = match follow(path)? {
            Some(target) if existing.as_ref().is_none_or(fs::Metadata::is_file) => target,
            _ => return Ok(AtomicFile { file: OpenOptions::new().append(true).open(path)?, draft: None }),
        };
        if self.create_new && (existing.is_some() || path.is_symlink()) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let (file, temporary) = match nameless::create(directory(&target), self.mode()) {
            Some(file) => {
                // The file is locked before it has a name.
                let _ = file.try_lock();
                parts::remove_abandoned(&target, &file);
                (file, None)
            }
            None => parts::create(&target, self.mode()).map(|(file, path)| (file, Some(path)))?,
        };
        let draft = Draft { temporary, target, create_new: self.create_new };
        // From here on the draft removes the temporary file.
        let file = AtomicFile { file, draft: Some(draft) };
        if self.private {
            #[cfg(unix)]
            file.file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        } else if let Some(existing) = existing {
            file.file.set_permissions(existing.permissions())?;
        }
        Ok(file)
    }

    /// Returns the mode that a new file is created with, before the umask.
    fn mode(self) -> u32 {
        if self.private { 0o600 } else { 0o666 }
    }

    /// Writes `bytes` and commits them.
    ///
    /// # Errors
    /// Returns an error if [`open`](Self::open) or [`AtomicFile::commit`] would.
    pub fn write(self, path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.open(path)?;
        file.write_all(bytes)?;
        file.commit()
    }
}

/// A file that appears under its name when it is complete.
///
/// Writes are not buffered; wrap it in a [`std::io::BufWriter`] for many small ones.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    /// `None` if the bytes go straight into the target.
    draft: Option<Draft>,
}

/// A temporary file, removed when dropped.
#[derive(Debug)]
struct Draft {
    /// `None` while it has no name.
    temporary: Option<PathBuf>,
    target: PathBuf,
    create_new: bool,
}

impl AtomicFile {
    /// Opens `path` with the default [`Options`].
    ///
    /// # Errors
    /// Returns an error if [`Options::open`] would.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        Options::new().open(path)
    }

    /// Waits until the content is on the disk and gives the file its name.
    ///
    /// # Errors
    /// Returns an error if the disk is full, or if the name cannot be given. With [`Options::create_new`] it also does
    /// if the name has been taken meanwhile. The target is then unchanged.
    pub fn commit(mut self) -> io::Result<()> {
        self.file.flush()?;
        let Some(draft) = &mut self.draft else {
            return Ok(());
        };
        self.file.sync_all()?;
        draft.publish(&self.file)?;
        // A finished file is not a draft, so it is unlocked. Closing it is not enough if a program that was just
        // started still has it open: the next writer that locks the file would find it in use.
        let _ = self.file.unlock();
        // The name is given; if the directory cannot be synchronised, there is nothing to undo.
        #[cfg(unix)]
        let _ = File::open(directory(&draft.target)).and_then(|dir| dir.sync_all());
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Draft {
    /// Gives the file the target's name.
    fn publish(&mut self, file: &File) -> io::Result<()> {
        // A hard link, unlike a rename, never replaces a file that appeared in between.
        let link = |name: &Path| match &self.temporary {
            Some(temporary) => fs::hard_link(temporary, name),
            None => nameless::link(file, name),
        };
        if self.create_new {
            return link(&self.target);
        }
        if self.temporary.is_none() {
            match link(&self.target) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                linked => return linked,
            }
            // Only a file with a name can replace another.
            self.temporary = Some(parts::name(&self.target, link)?);
        }
        match &self.temporary {
            Some(temporary) => fs::rename(temporary, &self.target),
            None => Ok(()),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a rename it is gone already. In every other case nothing half-written may stay.
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Files without a name, which vanish with the process that has them open.
#[cfg(target_os = "linux")]
mod nameless {
    use std::fs::{File, OpenOptions};
    use std::io;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    use rustix::fs::{AtFlags, CWD, OFlags, linkat};

    /// Returns `None` if the filesystem has no such files, or if they could not be given a name later.
    pub(super) fn create(directory: &Path, mode: u32) -> Option<File> {
        let flags = OFlags::TMPFILE.bits().cast_signed();
        let file = OpenOptions::new().write(true).mode(mode).custom_flags(flags).open(directory).ok()?;
        Path::new(&handle(&file)).exists().then_some(file)
    }

    pub(super) fn link(file: &File, name: &Path) -> io::Result<()> {
        Ok(linkat(CWD, handle(file), CWD, name, AtFlags::SYMLINK_FOLLOW)?)
    }

    fn handle(file: &File) -> String {
        format!("/proc/self/fd/{}", file.as_raw_fd())
    }
}

#[cfg(not(target_os = "linux"))]
mod nameless {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    pub(super) fn create(_directory: &Path, _mode: u32) -> Option<File> {
        None
    }

    pub(super) fn link(_file: &File, _name: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Returns whether the bytes for `path` would go straight into it, since it is not a regular file.
#[cfg(feature = "shell")]
pub(crate) fn is_written_through(path: &Path) -> bool {
    let other = fs::metadata(path).is_ok_and(|existing| !existing.is_file());
    other || follow(path).is_ok_and(|target| target.is_none())
}

/// Returns the path at the end of a chain of symbolic links, which need not exist. Returns `None` if the chain leads to
/// an open file of a process (`/dev/stdout`, `/dev/fd/3`). A process that holds it open would not see a file put in its
/// place.
fn follow(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        let next = fs::read_link(&target);
        let is_open_file =
            |dir: PathBuf| dir == Path::new("/dev/fd") || next.is_ok() && dir.starts_with("/proc");
        if directory(&target).canonicalize().is_ok_and(is_open_file) {
            return Ok(None);
        }
        match next {
            Ok(next) => target = directory(&target).join(next),
            Err(_) => return Ok(Some(target)),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_changes_before_the_commit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        file.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["file"]);
    }

    #[test]
    fn a_file_that_is_dropped_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(names(dir.path()), ["file"]);
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn a_new_file_never_replaces_one_that_appeared_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let options = Options::new().create_new(true);
        let mut file = options.open(&path).unwrap();
        file.write_all(b"ours").unwrap();
        fs::write(&path, "theirs").unwrap();
        assert_eq!(file.commit().unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(options.open(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
        assert_eq!(names(dir.path()), ["file"]);
    }

    #[test]
    fn a_commit_that_fails_keeps_the_target_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("place");
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"content").unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "old").unwrap();
        assert!(file.commit().is_err());
        assert_eq!(names(dir.path()), ["place"]);
        assert_eq!(names(&path), ["inside"]);
    }

    #[test]
    fn a_directory_is_refused_and_a_missing_one_is_named_by_the_system() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(write(dir.path(), b"").unwrap_err().kind(), ErrorKind::IsADirectory);
        assert_eq!(write(dir.path().join("no/file"), b"").unwrap_err().kind(), ErrorKind::NotFound);
    }

    /// The names of another process with the same number, which holds the parts.
    #[test]
    fn a_name_that_is_taken_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("file");
        let (_, first) = parts::create(&target, 0o600).unwrap();
        let name = first.file_name().unwrap().to_str().unwrap();
        let number: u64 = name.rsplit_once('-').unwrap().1.trim_end_matches(".part").parse().unwrap();
        let take = |later: u64| {
            let taken = dir.path().join(format!(".file.{}-{}.part", std::process::id(), number + later));
            fs::write(&taken, "theirs").unwrap();
            let held = File::open(&taken).unwrap();
            held.lock().unwrap();
            (taken, held)
        };
        let taken: Vec<_> = (1..50).map(take).collect();
        // The second write replaces a file, and for that every way of writing uses a name.
        for content in ["first", "second"] {
            write(&target, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), content);
        }
        assert!(taken.iter().all(|(taken, _)| fs::read(taken).unwrap() == b"theirs"));
    }

    #[cfg(unix)]
    mod on_unix {
        use super::*;
        use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
        use std::process::Command;

        fn mode(path: &Path) -> u32 {
            fs::metadata(path).unwrap().permissions().mode() & 0o777
        }

        #[test]
        fn a_link_stays_a_link() {
            let dir = tempfile::tempdir().unwrap();
            let inner = dir.path().join("inner");
            fs::create_dir(&inner).unwrap();
            let [file, near, far] = ["file", "near", "far"].map(|name| dir.path().join(name));
            symlink("inner/file", &near).unwrap();
            symlink("near", &far).unwrap();
            // The first write creates what the links name, the second replaces it.
            for content in ["first", "second"] {
                write(&far, content.as_bytes()).unwrap();
                assert_eq!(fs::read_to_string(inner.join("file")).unwrap(), content);
                assert_eq!(names(&inner), ["file"]);
            }
            assert_eq!(fs::read_link(&far).unwrap(), Path::new("near"));
            assert!(!file.exists());
            let refused = Options::new().create_new(true).write(&far, b"third").unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
            symlink("loop", dir.path().join("loop")).unwrap();
            assert!(write(dir.path().join("loop"), b"").is_err());
        }

        /// With `create_new`, too, the target may be an existing pipe.
        #[test]
        fn a_pipe_is_written_through() {
            for options in [Options::new(), Options::new().create_new(true).private(true)] {
                let dir = tempfile::tempdir().unwrap();
                let pipe = dir.path().join("pipe");
                assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
                let reader = std::thread::spawn({
                    let pipe = pipe.clone();
                    move || fs::read(pipe).unwrap()
                });
                options.write(&pipe, b"through").unwrap();
                assert_eq!(reader.join().unwrap(), b"through");
                assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
                assert_eq!(names(dir.path()), ["pipe"]);
            }
        }

        #[test]
        fn a_device_is_written_through() {
            let dir = tempfile::tempdir().unwrap();
            let device = dir.path().join("null");
            // Only root can make a device, and the system's own must not be at risk. A pipe takes the same path.
            let made = Command::new("mknod").arg(&device).args(["c", "1", "3"]).output();
            if !made.is_ok_and(|made| made.status.success()) || File::open(&device).is_err() {
                return;
            }
            write(&device, b"content").unwrap();
            assert!(fs::metadata(&device).unwrap().file_type().is_char_device());
            assert_eq!(names(dir.path()), ["null"]);
        }

        #[cfg(target_os = "linux")]
        #[test]
        fn before_the_commit_nothing_has_a_name_that_a_killed_process_could_leave_behind() {
            let dir = tempfile::tempdir().unwrap();
            if nameless::create(dir.path(), 0o600).is_none() {
                return; // A filesystem without such files.
            }
            for (name, create_new, before) in
                [("a", true, &[][..]), ("a", false, &["a"]), ("b", false, &["a"])]
            {
                let path = dir.path().join(name);
                let mut file = Options::new().private(true).create_new(create_new).open(&path).unwrap();
                file.write_all(b"secret").unwrap();
                assert_eq!(names(dir.path()), before);
                file.commit().unwrap();
                assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"secret".to_vec(), 0o600));
            }
            assert_eq!(names(dir.path()), ["a", "b"]);
        }

        #[cfg(target_os = "linux")]
        #[test]
        fn an_open_file_is_appended_to() {
            use std::os::fd::AsRawFd;
            let dir = tempfile::tempdir().unwrap();
            let mut held = File::create(dir.path().join("file")).unwrap();
            held.write_all(b"before ").unwrap();
            write(format!("/dev/fd/{}", held.as_raw_fd()), b"after").unwrap();
            assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"before after");
            assert_eq!(names(dir.path()), ["file"]);
        }

        #[test]
        fn a_private_file_is_the_owners_alone_and_others_keep_their_permissions() {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("file");
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
            write(&path, b"new").unwrap();
            assert_eq!(mode(&path), 0o640);
            Options::new().private(true).write(&path, b"secret").unwrap();
            assert_eq!(mode(&path), 0o600);
        }
    }
}
