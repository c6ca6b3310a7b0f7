//! From `--model`, `--tokenizer` and `--device` to a model and its tokenizer.

use std::io::{IsTerminal, stderr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::DType;
use indicatif::{ProgressBar, ProgressStyle};
use wmdetect::text::Tokenizer;
use wmgen::model::{Gemma, LoadOptions};

use super::args::{DtypeArg, ModelArgs};

/// A model, its tokenizer, and the name that it was asked for by.
pub(super) struct Loaded {
    pub model: Gemma,
    pub tokenizer: Tokenizer,
    pub name: String,
}

/// The place of a model: a path, or a hub id in the local cache.
pub(super) fn locate(model: &str) -> Result<PathBuf> {
    let path = Path::new(model);
    if path.exists() {
        return Ok(path.to_owned());
    }
    let is_hub_id = model.split('/').count() == 2 && !model.starts_with(['.', '/', '~']);
    if is_hub_id {
        return super::hub_cache(model).with_context(|| {
            format!(
                "{model} is neither a path nor in the local hub cache; wmgen does not download: run \
                 `hf download {model}` (Gemma needs an accepted licence and a token), or pass a directory or GGUF file"
            )
        });
    }
    Err(wmgen::model::Error::NotFound { path: path.to_owned() }.into())
}

/// Sets the number of threads of the process; all cores where not given.
pub(super) fn set_threads(threads: Option<usize>) -> Result<()> {
    match threads {
        None => Ok(()),
        Some(0) => bail!("--threads is 0, expected at least 1"),
        Some(n) => {
            rayon::ThreadPoolBuilder::new().num_threads(n).build_global().context("cannot start threads")
        }
    }
}

impl ModelArgs {
    /// Where the model lies.
    fn path(&self) -> Result<PathBuf> {
        match &self.model {
            Some(model) => locate(model),
            None => bail!(
                "no model: this release ships none, so pass --model with a Hugging Face directory, a GGUF file or a \
                 hub id; docs/real-models.md shows where to get one"
            ),
        }
    }

    /// The tokenizer alone: the cheap part, so mistakes show before gigabytes are read.
    pub(super) fn open_tokenizer(&self) -> Result<Tokenizer> {
        let path = match &self.tokenizer {
            Some(path) => path.clone(),
            None => self.path()?,
        };
        Ok(Tokenizer::open(path)?)
    }

    /// Loads the model, with a progress bar on a terminal.
    pub(super) fn load(&self, tokenizer: Tokenizer) -> Result<Loaded> {
        set_threads(self.threads)?;
        let path = self.path()?;
        let device = self.device.open()?;
        let dtype = self.dtype.map(|dtype| match dtype {
            DtypeArg::F32 => DType::F32,
            DtypeArg::Bf16 => DType::BF16,
            DtypeArg::F16 => DType::F16,
        });
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("loading {bar:40} {bytes}/{total_bytes}");
            ProgressBar::no_length().with_style(style.expect("the template is fixed and well-formed"))
        });
        let progress = bar.clone().map(|bar| {
            Box::new(move |p: wmgen::model::weights::Progress| {
                bar.set_length(p.total);
                bar.set_position(p.done);
            }) as Box<dyn FnMut(_)>
        });
        let options = LoadOptions { device, dtype, softcap: !self.no_softcap, exact: false, progress };
        let model = Gemma::load(&path, options)?;
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        let name =
            path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into());
        Ok(Loaded {
            model,
            tokenizer,
            name: self.model.clone().filter(|m| !Path::new(m).exists()).unwrap_or(name),
        })
    }
}
