//! The user's cache: files that save work the next time.
//!
//! The content of the cache is trusted: a vocabulary from it cuts texts, and a law that it remembers decides p-values.
//! So only regular files are read, and only if nobody but the user or root owns them, or can write to them or to their
//! directory. Owners are checked only on Unix. A cache that is not trusted is treated as empty, and [`Cache::distrust`]
//! says why.
//!
//! After each new file, files that were not used for [`MAX_AGE`] are removed. Then the longest unused files are removed
//! until the rest is within [`MAX_BYTES`]. A failure in the cache costs only time.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::{atomic_file, hex};

/// Time after which an unused file is removed.
pub const MAX_AGE: Duration = Duration::from_secs(90 * DAY);

/// Largest number of bytes of all files together.
pub const MAX_BYTES: u64 = 512 << 20;

const DAY: u64 = 24 * 60 * 60;

/// A directory with compiled vocabularies and with the names of laws that were counted on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    dir: PathBuf,
}

/// The purpose of a file of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A vocabulary in compiled form.
    Vocabulary,
    /// A null law that was counted and found right; the file is empty.
    Law,
}

/// A file of the cache.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name in the directory.
    pub name: String,
    /// Its purpose.
    pub kind: Kind,
    /// Its length.
    pub bytes: u64,
    /// When it was last used, to a day.
    pub used: SystemTime,
}

/// Identifies an entry: SHA-256 of what it was made from.
pub(crate) type Key = [u8; 32];

impl Kind {
    const ALL: [Self; 2] = [Self::Vocabulary, Self::Law];

    /// Returns `vocabulary` or `law`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vocabulary => "vocabulary",
            Self::Law => "law",
        }
    }

    fn file(self, key: &Key) -> String {
        format!("{}-{}", self.name(), hex::encode(key))
    }

    /// Returns the purpose of a file with this name, if it is one of the cache's.
    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| {
            let digits = name.strip_prefix(kind.name()).and_then(|rest| rest.strip_prefix('-'));
            digits.is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
        })
    }
}

impl Cache {
    /// Returns the cache in `dir`, which need not exist yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Returns the cache of the programs `wmdetect` and `wmgen`: the directory in the environment variable
    /// `WMDETECT_CACHE`, else `wmdetect` in the user's cache directory. There is no cache if the variable is empty, or
    /// if it is not set and the user has no cache directory.
    pub fn of_user() -> Option<Self> {
        if let Some(dir) = std::env::var_os("WMDETECT_CACHE") {
            return (!dir.is_empty()).then(|| Self::new(dir));
        }
        let dir = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = dir("XDG_CACHE_HOME").or_else(|| {
            if cfg!(windows) {
                dir("LOCALAPPDATA")
            } else if cfg!(target_os = "macos") {
                dir("HOME").map(|home| home.join("Library/Caches"))
            } else {
                dir("HOME").map(|home| home.join(".cache"))
            }
        })?;
        Some(Self::new(base.join("wmdetect")))
    }

    /// Returns the directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns in words why the directory is not trusted, or `None` if it is trusted or does not exist.
    pub fn distrust(&self) -> Option<String> {
        distrust(&fs::metadata(&self.dir).ok()?)
    }

    /// Returns the files of the cache, the last used first. Other files in the directory are left out.
    ///
    /// # Errors
    /// Returns an error if the directory exists and cannot be read.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        let files = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files?,
        };
        let mut entries = Vec::new();
        for file in files {
            let file = file?;
            let Ok(name) = file.file_name().into_string() else { continue };
            // A file may disappear meanwhile.
            if let (Some(kind), Ok(metadata)) = (Kind::of(&name), file.metadata()) {
                let used = metadata.modified()?;
                entries.push(Entry { name, kind, bytes: metadata.len(), used });
            }
        }
        entries.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.name.cmp(&b.name)));
        Ok(entries)
    }

    /// Removes the files of the cache, and returns them. Other files in the directory stay.
    ///
    /// # Errors
    /// Returns an error if the directory cannot be read or a file cannot be removed.
    pub fn clear(&self) -> io::Result<Vec<Entry>> {
        let entries = self.entries()?;
        for entry in &entries {
            fs::remove_file(self.dir.join(&entry.name))?;
        }
        Ok(entries)
    }

    /// Opens a file of the cache for reading, if it exists and is trusted.
    pub(crate) fn open(&self, kind: Kind, key: &Key) -> Option<File> {
        if self.distrust().is_some() {
            return None;
        }
        let path = self.dir.join(kind.file(key));
        // Checked before it is opened, since opening a pipe would wait for its writer.
        let is_ours = |metadata: &Metadata| metadata.is_file() && distrust(metadata).is_none();
        let metadata = fs::symlink_metadata(&path).ok().filter(is_ours)?;
        let file = File::open(&path).ok()?;
        file.metadata().ok().filter(is_ours)?;
        // The use of a file is recorded once a day.
        let now = SystemTime::now();
        let used = metadata.modified().ok()?;
        if now.duration_since(used).is_ok_and(|age| age > Duration::from_secs(DAY)) {
            let _ = file.set_modified(now);
        }
        Some(file)
    }

    /// Stores a file for the next time, if that is possible, and removes files that are too old or too many.
    pub(crate) fn save(&self, kind: Kind, key: &Key, bytes: &[u8]) {
        // A cache that cannot be written is as good as none.
        if self.write(kind, key, bytes).is_ok() {
            let _ = self.prune(SystemTime::now(), MAX_BYTES);
        }
    }

    fn write(&self, kind: Kind, key: &Key, bytes: &[u8]) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(&self.dir)?;
        if self.distrust().is_some() {
            return Ok(());
        }
        // Nobody else may write to it, with any umask.
        let options = atomic_file::Options::new().private(true);
        options.write(self.dir.join(kind.file(key)), bytes)
    }

    /// Removes what was not used for [`MAX_AGE`], and the longest unused files beyond `max_bytes`.
    fn prune(&self, now: SystemTime, max_bytes: u64) -> io::Result<()> {
        let mut sum = 0;
        for entry in self.entries()? {
            sum += entry.bytes;
            let is_old = now.duration_since(entry.used).is_ok_and(|age| age > MAX_AGE);
            if is_old || sum > max_bytes {
                fs::remove_file(self.dir.join(&entry.name))?;
            }
        }
        Ok(())
    }
}

/// Returns why a file or directory is not trusted, if it is not: somebody else owns it or can write to it.
#[cfg(unix)]
fn distrust(metadata: &Metadata) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    let mode = metadata.mode() & 0o777;
    if owner != user && owner != 0 {
        return Some(format!("expected it to belong to user {user} or to root, found the owner {owner}"));
    }
    (mode & 0o022 != 0)
        .then(|| format!("expected that only its owner can write to it, found the mode {mode:03o}"))
}

#[cfg(not(unix))]
fn distrust(_: &Metadata) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn read(cache: &Cache, key: &Key) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        cache.open(Kind::Vocabulary, key)?.read_to_end(&mut bytes).unwrap();
        Some(bytes)
    }

    #[test]
    fn what_is_kept_is_found_and_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().join("a/b"));
        assert_eq!((read(&cache, &[1; 32]), cache.entries().unwrap().len()), (None, 0));
        cache.save(Kind::Vocabulary, &[1; 32], b"table");
        cache.save(Kind::Law, &[2; 32], b"");
        fs::write(cache.dir().join("notes.txt"), "the user's").unwrap();
        assert_eq!(read(&cache, &[1; 32]).unwrap(), b"table");
        assert_eq!(read(&cache, &[2; 32]), None, "another kind");
        let mut removed: Vec<_> = cache.clear().unwrap().iter().map(|entry| entry.kind.name()).collect();
        removed.sort_unstable();
        assert_eq!(removed, ["law", "vocabulary"]);
        assert_eq!(fs::read_dir(cache.dir()).unwrap().count(), 1, "what is not ours stays");
    }

    #[test]
    fn the_old_and_the_longest_unused_go() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().join("cache"));
        let now = SystemTime::now();
        for (key, days) in [(1, 100), (2, 80), (3, 50), (4, 2)] {
            cache.write(Kind::Vocabulary, &[key; 32], &[0; 100]).unwrap();
            let path = cache.dir().join(Kind::Vocabulary.file(&[key; 32]));
            let file = File::options().append(true).open(path).unwrap();
            file.set_modified(now - Duration::from_secs(days * DAY)).unwrap();
        }
        let here = || (1..=4).filter(|&key| read(&cache, &[key; 32]).is_some()).collect::<Vec<u8>>();
        cache.prune(now, 1000).unwrap();
        assert_eq!(cache.entries().unwrap().len(), 3);
        // Reading makes a file young.
        assert_eq!(read(&cache, &[2; 32]).unwrap().len(), 100);
        cache.prune(now, 200).unwrap();
        assert_eq!(here(), [2, 4]);
    }

    #[cfg(unix)]
    #[test]
    fn only_regular_files_that_nobody_else_can_write_are_believed() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().join("cache"));
        let key = [1; 32];
        cache.save(Kind::Vocabulary, &key, b"table");
        let path = cache.dir().join(Kind::Vocabulary.file(&key));
        let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(read(&cache, &key).is_some());
        for (path, mode, good) in [(cache.dir(), 0o770, 0o700), (&path, 0o620, 0o600), (&path, 0o602, 0o600)]
        {
            chmod(path, mode);
            assert_eq!(read(&cache, &key), None, "{mode:o}");
            chmod(path, good);
            assert!(read(&cache, &key).is_some());
        }
        chmod(cache.dir(), 0o777);
        let why = cache.distrust().unwrap();
        assert_eq!(why, "expected that only its owner can write to it, found the mode 777");
        cache.save(Kind::Vocabulary, &[2; 32], b"table");
        assert_eq!(fs::read_dir(cache.dir()).unwrap().count(), 1, "nothing is kept there");
        chmod(cache.dir(), 0o700);

        // A pipe in its place must not be waited for, and a link must not be followed.
        fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        symlink(dir.path().join("elsewhere"), &path).unwrap();
        assert_eq!(read(&cache, &key), None);
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert_eq!(read(&cache, &key), None);
    }

    /// Only root can give a file to another user.
    #[cfg(unix)]
    #[test]
    fn a_file_of_another_user_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().join("cache"));
        cache.save(Kind::Vocabulary, &[1; 32], b"table");
        if std::os::unix::fs::chown(cache.dir(), Some(12_345), None).is_err() {
            return;
        }
        assert_eq!(read(&cache, &[1; 32]), None);
        let why = cache.distrust().unwrap();
        assert!(why.ends_with("found the owner 12345"), "{why}");
    }
}
