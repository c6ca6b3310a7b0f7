//! The outputs of the programs: one rule for the files and directories of all commands.
//!
//! - A file that the run reads is never overwritten, under any name: files are compared by device and inode.
//! - A page, a file of receipts or an ignore file replaces an earlier one. Replacing any other file takes `--force`. So
//!   does replacing a model, a profile or a key, which take long to make again or cannot be made again. An empty file
//!   can always be replaced.
//! - A directory is filled if it is new, empty, or holds an earlier output of the same command.
//! - If the output is not a regular file but a device or a pipe, the bytes go straight into it.
//!
//! An output is opened before the long work begins, so a place that cannot be written is an error at once. The file
//! does not appear before it is complete; see [`atomic_file`](crate::atomic_file).

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write};
use std::path::{Path, PathBuf};

use crate::atomic_file::{self, AtomicFile};
use crate::render::html;

/// The kind of an output: its name for people, and how an earlier one is recognised.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    what: &'static str,
    /// The beginning of all files of this kind; `None` if every existing file is kept.
    begins: Option<&'static str>,
}

impl Kind {
    /// A page of HTML.
    pub const PAGE: Self = Self { what: "page", begins: Some(html::OPENING) };
    /// Receipts of texts, a line each.
    pub const RECEIPTS: Self = Self { what: "receipt", begins: Some("{\"schema_version\":1,\"text\":") };
    /// The ignore file of a calibration.
    pub const IGNORE_FILE: Self =
        Self { what: "ignore file", begins: Some("{\n  \"schema_version\": 1,\n  \"ngram_len\":") };
    /// Results of an attack, a line each.
    pub const CHECKPOINT: Self = Self { what: "checkpoint", begins: None };
    /// Samples of an evaluation, a line each.
    pub const SAMPLES: Self = Self { what: "samples", begins: None };
    /// Ratings of a comparison, a line each.
    pub const RATINGS: Self = Self { what: "ratings", begins: None };
    /// A comparison in LLM Comparator's format.
    pub const COMPARISON: Self =
        Self { what: "comparison", begins: Some("{\"metadata\":{\"source_path\":\"wmgen compare") };
    /// A model.
    pub const MODEL: Self = Self { what: "model", begins: None };
    /// A teacher's targets for each token of a text.
    pub const TARGETS: Self = Self { what: "file of teacher targets", begins: None };
    /// A profile of marked texts.
    pub const PROFILE: Self = Self { what: "profile", begins: None };
    /// A key, or another file with its secret.
    pub const KEY: Self = Self { what: "key", begins: None };

    fn may_replace(self, path: &Path) -> bool {
        let expected = self.begins.unwrap_or("\0");
        let mut start = Vec::new();
        let read = File::open(path).and_then(|file| file.take(expected.len() as u64).read_to_end(&mut start));
        read.is_ok() && (start.is_empty() || start == expected.as_bytes())
    }
}

/// Why an output is not written. Nothing has changed there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The file is an input of the run.
    #[error("cannot write the {what} {}: expected a file that this run does not read, found its input {}",
        .path.display(), .input.display())]
    Input {
        /// What was to be written.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The name under which the run reads it.
        input: PathBuf,
    },
    /// Another output of the run goes there.
    #[error("cannot write the {what} {}: expected a file for it alone, found that another output of this run goes there", .path.display())]
    Twice {
        /// What was to be written.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The file is not an earlier output.
    #[error("cannot write the {what} {}: expected a new file or an earlier {what}, found another file", .path.display())]
    Foreign {
        /// What was to be written.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The file exists, and outputs of this kind never replace a file.
    #[error("cannot write the {what} {}: expected a new file, found one that exists", .path.display())]
    Exists {
        /// What was to be written.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The directory holds something else.
    #[error(
        "cannot write the {what} into {}: expected a new or empty directory, or one that holds an earlier {what}, found \
         other files", .path.display()
    )]
    ForeignDirectory {
        /// What was to be written.
        what: &'static str,
        /// The directory.
        path: PathBuf,
    },
    /// `-`, which is standard output elsewhere.
    #[error("the {what} cannot go to standard output: expected the name of a file, found -")]
    Dash {
        /// What was to be written.
        what: &'static str,
    },
    /// The system cannot write it.
    #[error("cannot write the {what} {}", .path.display())]
    Io {
        /// What was to be written.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// The outputs of one run. It knows what the run reads.
#[derive(Debug)]
pub struct Outputs {
    force: bool,
    inputs: Vec<(PathBuf, Place)>,
    written: Vec<Place>,
}

impl Outputs {
    /// Starts with no input; `force` is the user's permission to replace files.
    pub fn new(force: bool) -> Self {
        Self { force, inputs: Vec::new(), written: Vec::new() }
    }

    /// Adds files that the run reads. `-` is standard input, and a directory stands for the files in it.
    pub fn reads(mut self, paths: impl IntoIterator<Item = impl AsRef<Path>>) -> Self {
        for path in paths {
            let path = path.as_ref();
            let path = if path == Path::new("-") { Path::new("/dev/stdin") } else { path };
            let inside = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
            for path in inside.chain([path.to_owned()]).filter(|path| path.exists()) {
                if let Some(place) = Place::of(&path) {
                    self.inputs.push((path, place));
                }
            }
        }
        self
    }

    /// Opens an output. The file of that name does not change before [`Output::finish`].
    ///
    /// # Errors
    /// Returns an error if [`check`](Self::check) would, or if the place cannot be written.
    pub fn open(&mut self, path: &Path, kind: Kind) -> Result<Output, OutputError> {
        self.check(path, kind)?;
        let what = kind.what;
        match AtomicFile::create(path) {
            Ok(file) => Ok(Output { what, path: path.to_owned(), file }),
            Err(source) => Err(OutputError::Io { what, path: path.to_owned(), source }),
        }
    }

    /// Checks a place that a function of the library writes.
    ///
    /// # Errors
    /// Returns an error if the run reads the file or writes it twice, or if it exists and may not be replaced.
    pub fn check(&mut self, path: &Path, kind: Kind) -> Result<(), OutputError> {
        self.check_input(path, kind)?;
        let what = kind.what;
        let Some(place) = Place::of(path).filter(|_| !atomic_file::is_written_through(path)) else {
            return Ok(());
        };
        if self.written.contains(&place) {
            return Err(OutputError::Twice { what, path: path.to_owned() });
        }
        if !self.force && path.exists() && !kind.may_replace(path) {
            let path = path.to_owned();
            return Err(match kind.begins {
                Some(_) => OutputError::Foreign { what, path },
                None => OutputError::Exists { what, path },
            });
        }
        self.written.push(place);
        Ok(())
    }

    /// Checks that the path names a file, and that the run does not read it. The caller decides whether it may be
    /// replaced.
    ///
    /// # Errors
    /// Returns an error if the path is `-` or the run reads the file.
    pub fn check_input(&self, path: &Path, kind: Kind) -> Result<(), OutputError> {
        if path == Path::new("-") {
            return Err(OutputError::Dash { what: kind.what });
        }
        let place = Place::of(path);
        match self.inputs.iter().find(|(_, input)| place.as_ref() == Some(input)) {
            Some((input, _)) => {
                Err(OutputError::Input { what: kind.what, path: path.to_owned(), input: input.clone() })
            }
            None => Ok(()),
        }
    }

    /// Checks a file that the run reads and then continues. The caller decides whether it is an earlier output.
    ///
    /// # Errors
    /// Returns an error if the path is `-`, if the file is another input of the run, or if the run writes it twice.
    pub fn check_resumed(&mut self, path: &Path, kind: Kind) -> Result<(), OutputError> {
        self.check_input(path, kind)?;
        if let Some(place) = Place::of(path) {
            self.written.push(place);
        }
        Ok(())
    }

    /// Checks a directory for a command to fill, and returns whether it holds an earlier output, as `is_ours` says.
    /// Nothing is made.
    ///
    /// # Errors
    /// Returns an error if the directory holds other files or an input of the run, or if it cannot be written.
    pub fn check_directory(
        &self,
        path: &Path,
        what: &'static str,
        is_ours: impl FnOnce(&Path) -> bool,
    ) -> Result<bool, OutputError> {
        let io = |source| OutputError::Io { what, path: path.to_owned(), source };
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries.collect::<io::Result<Vec<_>>>().map_err(io)?,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(io(error)),
        };
        for entry in &entries {
            self.check_input(&entry.path(), Kind { what, begins: None })?;
        }
        let ours = !entries.is_empty() && is_ours(path);
        if !entries.is_empty() && !ours {
            return Err(OutputError::ForeignDirectory { what, path: path.to_owned() });
        }
        // A file that is dropped without being finished leaves nothing behind.
        let parent = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
        AtomicFile::create(parent.join("probe")).map_err(io)?;
        Ok(ours)
    }
}

/// A file that appears when it is complete.
#[derive(Debug)]
pub struct Output {
    what: &'static str,
    path: PathBuf,
    file: AtomicFile,
}

impl Output {
    /// Writes the content and gives the file its name.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn finish(mut self, content: &[u8]) -> Result<(), OutputError> {
        let written = self.file.write_all(content).and_then(|()| self.file.commit());
        written.map_err(|source| OutputError::Io { what: self.what, path: self.path, source })
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The regular file that a path leads to through links, or would lead to once it is written.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    #[cfg(unix)]
    File {
        device: u64,
        inode: u64,
    },
    Name(PathBuf),
}

impl Place {
    /// Returns the place of a path, or `None` if it is not a regular file.
    fn of(path: &Path) -> Option<Self> {
        match fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() => None,
            #[cfg(unix)]
            Ok(metadata) => {
                use std::os::unix::fs::MetadataExt;
                Some(Self::File { device: metadata.dev(), inode: metadata.ino() })
            }
            #[cfg(not(unix))]
            Ok(_) => path.canonicalize().ok().map(Self::Name),
            Err(_) => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                let parent = parent.unwrap_or(Path::new(".")).canonicalize().ok()?;
                Some(Self::Name(parent.join(path.file_name()?)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(outputs: &mut Outputs, path: &Path, kind: Kind) -> String {
        let before = fs::read(path).ok();
        let error = outputs.open(path, kind).unwrap_err().to_string();
        assert_eq!(fs::read(path).ok(), before);
        error
    }

    #[test]
    fn an_input_is_never_replaced_by_whatever_name() {
        let dir = tempfile::tempdir().unwrap();
        let [input, link, model] = ["input", "link", "model"].map(|name| dir.path().join(name));
        fs::write(&input, html::OPENING).unwrap();
        fs::create_dir(&model).unwrap();
        fs::write(model.join("weights"), "weights").unwrap();
        let mut outputs = Outputs::new(true).reads([&input, &model]);
        let roundabout = dir.path().join("model/../input");
        assert!(
            refused(&mut outputs, &roundabout, Kind::PAGE)
                .contains("expected a file that this run does not read")
        );
        refused(&mut outputs, &model.join("weights"), Kind::MODEL);
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("input", &link).unwrap();
            refused(&mut outputs, &link, Kind::PAGE);
        }
        outputs.open(&model.join("new"), Kind::MODEL).unwrap();
    }

    #[test]
    fn only_an_earlier_output_is_replaced_without_leave() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let page = format!("{}\"><title>", html::OPENING);
        for (kind, content, replaced) in [
            (Kind::PAGE, page.as_str(), true),
            (Kind::PAGE, "", true),
            (Kind::PAGE, "<!DOCTYPE html>\n<html>", false),
            (Kind::PAGE, "WMGENKEY", false),
            (Kind::RECEIPTS, page.as_str(), false),
            (Kind::RECEIPTS, "{\"schema_version\":1,\"text\":\"a\"}", true),
            (Kind::MODEL, "GGUF", false),
        ] {
            fs::write(&path, content).unwrap();
            let opened = Outputs::new(false).open(&path, kind);
            assert_eq!(opened.is_ok(), replaced, "{kind:?} over {content:?}");
            drop(opened);
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            Outputs::new(true).open(&path, kind).unwrap().finish(b"new").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new");
        }
    }

    #[test]
    fn two_outputs_need_two_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut outputs = Outputs::new(true);
        let _first = outputs.open(&dir.path().join("a"), Kind::PAGE).unwrap();
        refused(&mut outputs, &dir.path().join("./a"), Kind::IGNORE_FILE);
        outputs.open(&dir.path().join("b"), Kind::IGNORE_FILE).unwrap();
    }

    #[test]
    fn a_directory_of_other_files_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("new/place");
        let check = |ours: bool| Outputs::new(true).check_directory(&place, "run", |_| ours);
        assert!(!check(true).unwrap());
        assert!(!place.parent().unwrap().exists());
        fs::create_dir_all(&place).unwrap();
        assert!(!check(true).unwrap());
        fs::write(place.join("tokenizer.json"), "{}").unwrap();
        assert!(check(false).unwrap_err().to_string().contains("expected a new or empty directory"));
        assert!(check(true).unwrap());
        let reads = Outputs::new(true).reads([place.join("tokenizer.json")]);
        assert!(matches!(reads.check_directory(&place, "run", |_| true), Err(OutputError::Input { .. })));
        assert_eq!(fs::read_dir(&place).unwrap().count(), 1);
    }
}
