//! Compiled vocabularies in a directory.
//!
//! A file is named by SHA-256 of what it was compiled from: all of a tokenizer.json, the metadata of a GGUF file. Path,
//! size and time of the tokenizer would be had without reading it, but two tokenizers can share them (a file that was
//! replaced and got its old time back, a copy that keeps times), and the wrong one would quietly give wrong ids. The
//! hash takes some 10 ms of Gemma's 17 MB where the processor has instructions for it.
//!
//! A file is written under another name and renamed when it is complete, so that writers at the same time do no harm;
//! what is damaged, of another version or of another key is not used and is written anew. Whatever goes wrong here only
//! costs time.

use std::fs::{DirBuilder, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::{atomic_file, hex};

use super::super::mmap::Mapped;
use super::Compiled;
use super::store::{Key, Store};

/// Tokenizers in smaller files are compiled sooner than the cache is looked at.
pub(in super::super) const WORTH_IT: u64 = 64 << 10;

/// A directory of compiled vocabularies, from which [`Tokenizer::open_with_cache`](crate::text::Tokenizer::open_with_cache)
/// opens a tokenizer in milliseconds.
///
/// A file in it is used without a look at the tokenizer that it was compiled from, so the directory must be one that only
/// its owner can write to.
#[derive(Clone, Debug)]
pub struct VocabularyCache {
    dir: PathBuf,
}

impl VocabularyCache {
    /// Returns the cache in `dir`, which need not exist yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Returns the cache of the programs `wmdetect` and `wmgen`: the directory in the environment variable
    /// `WMDETECT_CACHE`, else `wmdetect` in the user's cache directory. None if the variable is empty or there is no such
    /// directory.
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

    pub(super) fn path(&self, key: &Key) -> PathBuf {
        self.dir.join(format!("vocabulary-{}", hex::encode(key)))
    }

    /// What was compiled from the source that `key` names, if it is here.
    pub(in super::super) fn load(&self, key: &Key) -> Option<Compiled> {
        let file = File::open(self.path(key)).ok()?;
        Some(Compiled::new(Store::from_file(Mapped::new(&file).ok()?, key)?))
    }

    /// Keeps `compiled` for the next time.
    pub(in super::super) fn save(&self, key: &Key, compiled: &Compiled) {
        // A cache that cannot be written is a cache that is not there.
        let _ = self.write(&self.path(key), compiled.store.bytes());
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(&self.dir)?;
        atomic_file::write(path, bytes)
    }
}
