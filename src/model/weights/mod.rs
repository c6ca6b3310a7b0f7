//! A model's files, memory-mapped. Tensors stay in the file's pages, in the file's dtype.

mod chat_template;
mod complete;
pub mod gguf;
pub mod safetensors;

pub use chat_template::ChatTemplate;

use super::config::{Config, token_ids};
use super::error::{Error, Result};
use crate::kernels::{Bytes, Format, Matrix};
use memmap2::Mmap;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Progress of a load, in bytes of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Number of bytes read so far.
    pub done: u64,
    /// Number of bytes of all tensors.
    pub total: u64,
}

/// Kind of a model's files. The two kinds name tensors differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// A Hugging Face directory.
    Safetensors,
    /// A GGUF file.
    Gguf,
}

/// Place and format of a tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Dimensions, slowest first.
    pub shape: Vec<usize>,
    /// Storage format of its numbers.
    pub format: Format,
    /// Offset of its first byte from the start of the file.
    pub start: usize,
    /// Number of bytes.
    pub len: usize,
}

/// A file's bytes.
#[derive(Clone)]
enum FileBytes {
    /// A file in the file system.
    Mapped(Arc<Mmap>),
    /// Bytes that are part of the program or in memory.
    InMemory(Arc<dyn AsRef<[u8]> + Send + Sync>),
}

impl FileBytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::InMemory(bytes) => (**bytes).as_ref(),
        }
    }

    /// Returns the owner for [`Bytes`], which keep the file open.
    fn owner(&self) -> Arc<dyn AsRef<[u8]> + Send + Sync> {
        match self {
            Self::Mapped(map) => Arc::clone(map) as _,
            Self::InMemory(bytes) => Arc::clone(bytes),
        }
    }
}

/// The tensors of a model, by their names in the file.
pub struct Weights {
    path: PathBuf,
    container: Container,
    config: Config,
    chat_template: ChatTemplate,
    files: Vec<FileBytes>,
    tensors: BTreeMap<String, (usize, TensorInfo)>,
}

impl std::fmt::Debug for Weights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Weights")
            .field("path", &self.path)
            .field("config", &self.config)
            .field("tensors", &self.tensors.len())
            .finish_non_exhaustive()
    }
}

impl Weights {
    /// Opens a GGUF file or a Hugging Face directory: config.json and model.safetensors, or the shards that
    /// model.safetensors.index.json names. Only headers are read.
    ///
    /// The files are mapped: they must not be changed or shortened as long as the value lives.
    ///
    /// # Errors
    /// Returns an error if there is no model at the path, or its architecture or a setting is unsupported. Also returns an
    /// error if a file is truncated or damaged, or a model of the configuration would not use all tensors.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        match std::fs::metadata(path) {
            Ok(meta) if meta.is_dir() => Self::open_directory(path),
            Ok(_) => Self::open_gguf(path),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Error::NotFound { path: path.into() }),
            Err(source) => Err(Error::Io { path: path.into(), source }),
        }
    }

    fn open_gguf(path: &Path) -> Result<Self> {
        Self::of_gguf(FileBytes::Mapped(map(path)?), path)
    }

    /// Opens a GGUF file that is part of the program or is in memory. `name` stands for its path in errors.
    ///
    /// # Errors
    /// Returns the errors of [`Self::open`].
    pub fn from_gguf_bytes(bytes: impl AsRef<[u8]> + Send + Sync + 'static, name: &str) -> Result<Self> {
        Self::of_gguf(FileBytes::InMemory(Arc::new(bytes)), Path::new(name))
    }

    fn of_gguf(file: FileBytes, path: &Path) -> Result<Self> {
        let header = gguf::Header::parse(file.as_slice(), path)?;
        let shape = |name: &str| header.tensors.get(name).map(|tensor| &tensor.shape[..]);
        let config = Config::from_gguf(&header.metadata, shape)?;
        let chat_template = ChatTemplate::of_gguf(&header.metadata);
        let tensors = header.tensors.into_iter().map(|(name, info)| (name, (0, info))).collect();
        let files = vec![file];
        Self { path: path.into(), container: Container::Gguf, config, chat_template, files, tensors }
            .if_all_are_used()
    }

    fn open_directory(path: &Path) -> Result<Self> {
        let file = path.join("config.json");
        let Some(text) = read_if_there(&file)? else {
            return Err(Error::NotAModel {
                path: path.into(),
                found: "a directory without config.json".into(),
            });
        };
        let mut config = Config::from_json(&text)?;
        // Further end tokens of an instruction-tuned model are only in this file.
        if let Some(text) = read_if_there(&path.join("generation_config.json"))?
            && let Ok(json) = serde_json::from_str::<serde_json::Value>(&text)
        {
            for id in token_ids("eos_token_id", json.get("eos_token_id"))? {
                if !config.eos.contains(&id) {
                    config.eos.push(id);
                }
            }
        }
        let mut files = Vec::new();
        let mut tensors = BTreeMap::new();
        for name in shard_names(path)? {
            let file = path.join(name);
            let map = map(&file)?;
            for (name, info) in safetensors::tensors(&map, &file)? {
                if tensors.insert(name.clone(), (files.len(), info)).is_some() {
                    let reason = format!("tensor {name:?} is in two files");
                    return Err(Error::Corrupt { path: path.into(), reason });
                }
            }
            files.push(FileBytes::Mapped(map));
        }
        let chat_template = ChatTemplate::of_directory(path)?;
        Self { path: path.into(), container: Container::Safetensors, config, chat_template, files, tensors }
            .if_all_are_used()
    }

    /// Returns the path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the kind of files.
    pub fn container(&self) -> Container {
        self.container
    }

    /// Returns the configuration that came with the weights.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns what the files say about a chat template.
    pub fn chat_template(&self) -> &ChatTemplate {
        &self.chat_template
    }

    /// Returns all tensors by name, with shape and format.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        self.tensors.iter().map(|(name, (_, info))| (name.as_str(), info))
    }

    /// Returns the number of bytes of the mapped files.
    pub fn file_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.as_slice().len() as u64).sum()
    }

    /// Returns the stored bytes of a tensor.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        let (file, info) = self.tensors.get(name)?;
        self.files[*file].as_slice().get(info.start..info.start + info.len)
    }

    /// Returns a two-dimensional tensor of exactly this shape, without copying it.
    ///
    /// # Errors
    /// Returns an error if there is no such tensor, or it has another shape.
    pub fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Matrix> {
        let (bytes, format) = self.find(name, &[rows, cols])?;
        let corrupt = |e| Error::Corrupt { path: self.path.clone(), reason: format!("tensor {name:?}: {e}") };
        Matrix::new(bytes, format, rows, cols).map_err(corrupt)
    }

    /// Returns a one-dimensional tensor of exactly this length, as f32.
    ///
    /// # Errors
    /// Returns an error if there is no such tensor, or it has another shape or a quantised type.
    pub fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>> {
        let (bytes, format) = self.find(name, &[len])?;
        if format.is_quantized() {
            let found = format.name().into();
            return Err(Error::Dtype { name: name.into(), found, expected: "f32, f16 or bf16" });
        }
        let mut out = vec![0f32; len];
        format.dequantize(bytes.as_slice(), &mut out);
        Ok(out)
    }

    fn find(&self, name: &str, shape: &[usize]) -> Result<(Bytes, Format)> {
        let missing = || Error::MissingTensor { name: name.into(), path: self.path.clone() };
        let (file, info) = self.tensors.get(name).ok_or_else(missing)?;
        if info.shape != shape {
            let (expected, found) = (shape.to_vec(), info.shape.clone());
            return Err(Error::Shape { name: name.into(), expected, found });
        }
        let bytes = Bytes::new(self.files[*file].owner(), info.start..info.start + info.len);
        Ok((bytes.ok_or_else(missing)?, info.format))
    }

    /// Tells the system that the bytes `part` of a tensor are not needed for the moment, so that their pages need not stay in
    /// memory. They are read from the file again when needed.
    pub(super) fn release(&self, name: &str, part: Range<usize>) {
        let Some((file, info)) = self.tensors.get(name) else { return };
        let FileBytes::Mapped(map) = &self.files[*file] else { return };
        if part.end <= info.len {
            drop_pages(map, info.start + part.start..info.start + part.end);
        }
    }

    /// Reads every tensor's pages into memory, so that the model's first step does not wait for the disk.
    pub fn prefault(&self, mut progress: impl FnMut(Progress)) {
        /// Smallest page of any supported platform.
        const PAGE: usize = 4096;
        /// Number of bytes between two reports.
        const STEP: usize = 16 << 20;
        let total = self.tensors.values().map(|(_, info)| info.len as u64).sum();
        let mut done = 0;
        progress(Progress { done, total });
        for name in self.tensors.keys() {
            for chunk in self.bytes(name).unwrap_or_default().chunks(STEP) {
                let touched = chunk.iter().step_by(PAGE).fold(0u8, |a, b| a ^ b);
                std::hint::black_box(touched);
                done += chunk.len() as u64;
                progress(Progress { done, total });
            }
        }
    }
}

/// Maps a file for reading.
#[expect(unsafe_code, reason = "maps a file")]
fn map(path: &Path) -> Result<Arc<Mmap>> {
    let io = |source| Error::Io { path: path.into(), source };
    let file = File::open(path).map_err(io)?;
    if file.metadata().map_err(io)?.len() == 0 {
        return Err(Error::Truncated { path: path.into(), what: "the header".into(), needed: 8, found: 0 });
    }
    // SAFETY: the map is read-only. `Weights::open` requires of its caller that nobody changes or shortens the file while it
    // is mapped.
    let map = unsafe { Mmap::map(&file) }.map_err(io)?;
    Ok(Arc::new(map))
}

/// Gives the memory of a part of a map back. If the system cannot do that, the pages stay.
#[cfg(unix)]
#[expect(unsafe_code, reason = "advises the system on a map")]
fn drop_pages(map: &Mmap, range: Range<usize>) {
    let advice = memmap2::UncheckedAdvice::DontNeed;
    // SAFETY: the map is read-only, so every page equals the file. A page that is dropped is read from the file again, and
    // slices of the map stay valid and keep their content.
    let _ = unsafe { map.unchecked_advise_range(advice, range.start, range.len()) };
}

#[cfg(not(unix))]
fn drop_pages(_: &Mmap, _: Range<usize>) {}

/// Returns a file's text, or `None` if the file does not exist.
fn read_if_there(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { path: path.into(), source }),
    }
}

/// Returns the names of a directory's weight files. As in transformers, model.safetensors takes precedence over an index.
fn shard_names(path: &Path) -> Result<BTreeSet<String>> {
    const INDEX: &str = "model.safetensors.index.json";
    const SINGLE: &str = "model.safetensors";
    if path.join(SINGLE).exists() {
        return Ok(BTreeSet::from([SINGLE.into()]));
    }
    let Some(text) = read_if_there(&path.join(INDEX))? else {
        let found = format!("a directory with neither {SINGLE} nor {INDEX}");
        return Err(Error::NotAModel { path: path.into(), found });
    };
    let corrupt = |reason: String| Error::Corrupt { path: path.join(INDEX), reason };
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|e| corrupt(e.to_string()))?;
    let Some(index) = json.get("weight_map").and_then(|m| m.as_object()) else {
        return Err(corrupt("it has no weight_map".into()));
    };
    let mut names = BTreeSet::new();
    for name in index.values() {
        // A name with a directory in it could point anywhere.
        match name.as_str() {
            Some(name) if Path::new(name).file_name().is_some_and(|f| f == name) => {
                names.insert(name.to_owned());
            }
            _ => return Err(corrupt(format!("{name} is not a file name"))),
        }
    }
    Ok(names)
}
