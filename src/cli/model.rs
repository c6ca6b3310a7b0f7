//! Opens the model and the tokenizer that `--model`, `--tokenizer` and `--device` name.

use std::io::{IsTerminal, stderr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use wmdetect::shell::{self, Hinted};
use wmdetect::text::Tokenizer;
use wmgen::default_model;
use wmgen::engine::{self, Draft, Engine};
use wmgen::model::weights::ChatTemplate;
use wmgen::model::{CHUNK, DType, Gemma, LoadOptions, Summary, Weights};
use wmgen::respond::{ModelInfo, Responder};

use super::args::{DtypeArg, ModelArgs};
use crate::draft_args::{DraftArg, DraftArgs};

/// A model, its tokenizer, and the name by which it was requested.
pub(super) struct Loaded {
    pub model: Gemma,
    pub tokenizer: Arc<Tokenizer>,
    pub name: String,
}

impl Loaded {
    /// Returns a responder that answers prompts in this thread. At most `together` texts share a pass over the weights, and
    /// at most `draft_tokens` are guessed ahead.
    pub(super) fn responder(
        &self,
        together: usize,
        draft: Draft<Gemma>,
        draft_tokens: usize,
    ) -> Responder<Gemma> {
        // Prompts are read in the model's own chunks, so that a text does not depend on how its prompt is cut.
        let options = engine::Options {
            together,
            slice: CHUNK,
            cache_bytes: usize::MAX,
            prefix_bytes: 0,
            draft_tokens,
        };
        let info = ModelInfo::new(&self.model, &self.name, Arc::clone(&self.tokenizer));
        Responder::new(Engine::with_draft(self.model.clone(), draft, options), info)
    }
}

/// Source of a model.
pub(super) enum Place {
    /// The model that ships with the program.
    Default,
    /// A directory or a file.
    Path(PathBuf),
}

impl Place {
    /// Returns the place of a model's name: `default`, a path or a hub id. Without a name it is the default model.
    pub(super) fn of(model: Option<&str>) -> Result<Self> {
        match model {
            Some(model) if !shell::is_default(Path::new(model)) => locate(model).map(Self::Path),
            _ => Ok(Self::Default),
        }
    }

    /// Returns the place that a `--tokenizer` names: `default` or a path.
    pub(super) fn of_tokenizer(named: &Path) -> Self {
        if shell::is_default(named) { Self::Default } else { Self::Path(named.into()) }
    }

    /// Returns the path, unless it is the default model.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Default => None,
            Self::Path(path) => Some(path),
        }
    }

    pub(super) fn tokenizer(&self) -> Result<Tokenizer> {
        match self {
            Self::Default => Ok(Tokenizer::of_default_model()),
            Self::Path(path) => Ok(shell::open_tokenizer(path)?),
        }
    }

    /// Returns the text of the model's tokenizer.json, if it has one. A GGUF file has none.
    pub(super) fn tokenizer_json(&self) -> Result<Option<String>> {
        match self {
            Self::Default => Ok(Some(Tokenizer::json_of_default_model().to_owned())),
            Self::Path(path) if path.is_dir() => {
                let path = path.join("tokenizer.json");
                let text = std::fs::read_to_string(&path);
                Ok(Some(text.with_context(|| format!("cannot read {}", path.display()))?))
            }
            Self::Path(_) => Ok(None),
        }
    }

    /// Opens the files and reads their headers, without the tensors.
    pub(super) fn weights(&self) -> Result<Weights> {
        Ok(match self {
            Self::Default => default_model::weights()?,
            Self::Path(path) => Weights::open(path)?,
        })
    }

    pub(super) fn summary(&self) -> Result<Summary> {
        Ok(match self {
            Self::Default => Summary::of(&default_model::weights()?),
            Self::Path(path) => Summary::open(path)?,
        })
    }

    pub(super) fn load(&self, options: LoadOptions<'_>) -> Result<Gemma> {
        Ok(match self {
            Self::Default => default_model::load(options)?,
            Self::Path(path) => Gemma::load(path, options)?,
        })
    }

    /// Returns the last part of the path, which is the model's name if it was not requested by another one.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Default => default_model::NAME.into(),
            Self::Path(path) => path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into(),
        }
    }
}

/// Returns the text of the tokenizer.json that a training command's `--tokenizer` names: a file, a directory or `default`.
pub(super) fn read_tokenizer_json(named: &Path) -> Result<String> {
    if let Some(json) = Place::of_tokenizer(named).tokenizer_json()? {
        return Ok(json);
    }
    let bytes = std::fs::read(named).with_context(|| format!("cannot read {}", named.display()))?;
    String::from_utf8(bytes).map_err(|_| {
        let found = format!("cannot read {}: expected a tokenizer.json, found a file that is not text", named.display());
        let hint = "take the tokenizer.json, or its directory, of the model that the file was made of; `default` is that of the model that ships with wmgen";
        Hinted::new(found, hint).into()
    })
}

/// Returns the path of a model: the path itself, or that of a hub id in the local cache.
pub(super) fn locate(model: &str) -> Result<PathBuf> {
    let path = Path::new(model);
    if path.exists() {
        return Ok(path.to_owned());
    }
    let is_hub_id = model.split('/').count() == 2 && !model.starts_with(['.', '/', '~']);
    if is_hub_id {
        return super::hub_cache(model).ok_or_else(|| not_cached(model).into());
    }
    Err(wmgen::model::Error::NotFound { path: path.to_owned() }.into())
}

/// Returns the error for a hub id that the local cache does not hold. Only a model that can be run is worth a download.
fn not_cached(model: &str) -> Hinted {
    Hinted::new(
        format!("{model} is neither a path nor in the local hub cache; wmgen does not download"),
        format!(
            "if model_type is gemma2 or gemma3_text in https://huggingface.co/{model}/raw/main/config.json, run `hf \
             download {model}` (Gemma needs an accepted licence and a token); other models cannot be run. A path can be \
             a directory or a GGUF file"
        ),
    )
}

/// Sets the number of threads of the process; all cores if not given. It is never more than the number of cores, because
/// further threads would wait for each other.
pub(super) fn set_threads(threads: Option<usize>) -> Result<()> {
    let wanted = match threads {
        None => return Ok(()),
        Some(0) => bail!("--threads is 0, expected at least 1"),
        Some(wanted) => wanted,
    };
    let threads = at_most_cores(wanted);
    if wanted > threads {
        let note = format!(
            "note: --threads {wanted} is more than the {threads} cores here; {threads} threads compute"
        );
        super::say(&note);
    }
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("cannot start threads")
}

/// Returns the number of threads, at most one for each core.
pub(super) fn at_most_cores(threads: usize) -> usize {
    std::thread::available_parallelism().map_or(threads, |cores| threads.min(cores.get()))
}

/// Checks that a tokenizer and a model can belong together. A model's table may be padded to a multiple of 256. Gemma 3's
/// tokenizer has an entry for images that the text models lack.
fn check_sizes(pieces: usize, rows: usize) -> Result<()> {
    if pieces.abs_diff(rows) >= 256 {
        return Err(Hinted::new(
            format!(
                "the tokenizer does not belong to the model: expected about {rows} entries, as the model has, found {pieces}"
            ),
            "--tokenizer names another tokenizer than the model's; leave it out for the one next to the model",
        )
        .into());
    }
    Ok(())
}

impl DraftArg {
    /// Returns where guesses come from. Checks that a draft model has this tokenizer and this many rows of logits.
    pub(super) fn check(&self, tokenizer: &Tokenizer, rows: usize) -> Result<Draft<Place>> {
        let name = match self {
            Self::None => return Ok(Draft::None),
            Self::Prompt => return Ok(Draft::Prompt),
            Self::Model(name) => name,
        };
        let place = Place::of(Some(name))?;
        let other = place.tokenizer()?;
        if other.fingerprint() != tokenizer.fingerprint() {
            let [expected, found] = [tokenizer, &other]
                .map(|tokenizer| format!("{} ({} entries)", tokenizer.name(), tokenizer.vocab_size()));
            return Err(other_vocabulary(name, &format!("the tokenizer {expected}"), &found));
        }
        let found = place.weights()?.config().vocab;
        if found != rows {
            return Err(other_vocabulary(name, &format!("{rows} rows of logits"), &found.to_string()));
        }
        Ok(Draft::Model(place))
    }
}

/// Returns the error that a draft model and the model use different tokens.
fn other_vocabulary(draft: &str, expected: &str, found: &str) -> anyhow::Error {
    Hinted::new(
        format!("{draft} cannot guess for the model: expected {expected}, found {found}"),
        "a draft model is a smaller one of the same family, or one that was distilled from the model (wmgen distill)",
    )
    .into()
}

impl ModelArgs {
    /// Returns the files and directories that are read.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let tokenizer = self.tokenizer.as_deref().map(Place::of_tokenizer);
        let places = [Place::of(self.model.as_deref()).ok(), tokenizer];
        places.iter().flatten().filter_map(Place::path).map(Path::to_owned).collect()
    }

    /// Opens only the tokenizer. This is cheap, so mistakes show before gigabytes are read. A model that cannot be run at all
    /// shows first.
    pub(super) fn open_tokenizer(&self) -> Result<Tokenizer> {
        let place = Place::of(self.model.as_deref())?;
        let rows = place.weights()?.config().vocab;
        let tokenizer = match &self.tokenizer {
            Some(path) => shell::open_tokenizer(path)?,
            None => place.tokenizer()?,
        };
        check_sizes(tokenizer.vocab_size(), rows)?;
        Ok(tokenizer)
    }

    /// Warns if the model is a base model, which does not know turns.
    pub(super) fn check_chat(&self) -> Result<()> {
        if *Place::of(self.model.as_deref())?.weights()?.chat_template() == ChatTemplate::Missing {
            super::say(
                "warning: the model's files have no chat template, so it is probably a base model, which continues texts and was not \
                 trained to answer; use an instruction-tuned model (-it) for chat",
            );
        }
        Ok(())
    }

    /// Loads the model, with a progress bar on a terminal.
    pub(super) fn load(&self, tokenizer: impl Into<Arc<Tokenizer>>) -> Result<Loaded> {
        set_threads(self.compute.threads)?;
        let place = Place::of(self.model.as_deref())?;
        let model = self.load_from(&place)?;
        let name = match (&place, &self.model) {
            // A hub id is a better name than its commit's directory.
            (Place::Path(_), Some(hub_id)) if !Path::new(hub_id).exists() => hub_id.clone(),
            _ => place.name(),
        };
        Ok(Loaded { model, tokenizer: tokenizer.into(), name })
    }

    /// Checks that the draft model can guess for the model; this needs neither's weights.
    pub(super) fn check_draft(&self, drafts: &DraftArgs, tokenizer: &Tokenizer) -> Result<Draft<Place>> {
        let rows = Place::of(self.model.as_deref())?.weights()?.config().vocab;
        drafts.draft.check(tokenizer, rows)
    }

    /// Loads the draft model, if there is one, onto the model's device. Returns no draft where drafts would have no effect.
    pub(super) fn load_draft(&self, draft: &Draft<Place>, model: &Gemma) -> Result<Draft<Gemma>> {
        if !matches!(draft, Draft::None) && !model.takes_several() {
            super::say(
                "warning: --draft has no effect: expected weights in 16 bits or quantised, on a processor with AVX2, found others; they \
                 are read again for each token of a text",
            );
            return Ok(Draft::None);
        }
        Ok(match draft {
            Draft::None => Draft::None,
            Draft::Prompt => Draft::Prompt,
            Draft::Model(place) => Draft::Model(self.load_from(place)?),
        })
    }

    fn load_from(&self, place: &Place) -> Result<Gemma> {
        let device = self.compute.device.open()?;
        let dtype = self.compute.dtype.map(|dtype| match dtype {
            DtypeArg::F32 => DType::F32,
            DtypeArg::Bf16 => DType::BF16,
            DtypeArg::F16 => DType::F16,
        });
        if dtype == Some(DType::F16) {
            super::say(
                "warning: Gemma's activations leave the range of f16, and its texts become wrong; use --dtype bf16",
            );
        }
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
        let options = LoadOptions { device, dtype, softcap: !self.no_softcap, unrounded: false, progress };
        let model = place.load(options)?;
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        Ok(model)
    }
}
