//! Makes a detector from the arguments.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use wmdetect::counted::counted;
use wmdetect::detect::{DetectError, DetectorBuilder};
use wmdetect::ignore::IgnoreList;
use wmdetect::shell::{self, Hinted, say};
use wmdetect::statistics::{Bayesian, Decider, Method, Profile};
use wmdetect::{Cache, Detector, Key, Keyring, Tokenizer};

use super::args::{DetectorArgs, InputArgs, KeyArgs, KeysArgs, MethodArgs, TokenizerArgs};

/// Arguments that name the keys to try.
pub(crate) trait Keys: Args {
    fn keyring(&self) -> Result<Keyring>;

    /// Returns the files and directories that are read.
    fn paths(&self) -> Vec<PathBuf>;
}

impl<K: Keys> DetectorArgs<K> {
    /// Returns the detector for the texts of the command. `options` sets what only this command has.
    pub(super) fn detector(
        &self,
        options: impl FnOnce(DetectorBuilder) -> DetectorBuilder,
    ) -> Result<Detector> {
        self.detector_for(self.keys.keyring()?, options)
    }

    /// Does what [`detector`](Self::detector) does, for keys that were read before.
    pub(super) fn detector_for(
        &self,
        keys: impl Into<Keyring>,
        options: impl FnOnce(DetectorBuilder) -> DetectorBuilder,
    ) -> Result<Detector> {
        let mut builder = options(self.input.builder(keys)?);
        if let Some(path) = &self.ignore {
            builder = builder.ignore_file(path);
        }
        let detector = builder.build().map_err(|error| match error {
            DetectError::Statistic(_) => {
                Hinted::new(error.to_string(), "without --detector the usual one of the key's scheme decides")
                    .into()
            }
            error => anyhow::Error::from(error),
        })?;
        let short = detector.ignore_list().map_or(0, IgnoreList::short_passages);
        if let Some(path) = self.ignore.as_ref().filter(|_| short > 0) {
            say(&format!(
                "warning: {} has {} too short to hold an n-gram, which changes nothing",
                path.display(),
                counted(short as u64, "passage")
            ));
        }
        Ok(detector)
    }

    /// Returns the files and directories that are read.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let mut paths = self.keys.paths();
        paths.extend(self.input.files.iter().chain(&self.ignore).cloned());
        paths.extend(self.input.tokenizer.path());
        paths
    }
}

impl InputArgs {
    /// Returns a builder of a detector for these texts, with their tokenizer and normaliser. Token ids need no
    /// tokenizer, but a given one must belong to the key.
    pub(super) fn builder(&self, keys: impl Into<Keyring>) -> Result<DetectorBuilder> {
        let builder = Detector::builder(keys);
        if self.tokens && self.tokenizer.tokenizer.is_none() {
            return Ok(builder);
        }
        Ok(builder.tokenizer(self.tokenizer.open()?).normaliser(self.text.normaliser()))
    }
}

impl TokenizerArgs {
    /// Returns the tokenizer of `--tokenizer`, of `WMDETECT_TOKENIZER` or in `./tokenizer.json`, else the default
    /// model's.
    pub(crate) fn open(&self) -> Result<Tokenizer> {
        match self.path() {
            Some(path) => Ok(shell::open_tokenizer(path)?),
            None => Ok(Tokenizer::of_default_model()),
        }
    }

    /// Returns the file or directory of the tokenizer, or `None` for the default model's.
    pub(super) fn path(&self) -> Option<PathBuf> {
        let path = given_or_default(self.tokenizer.as_ref(), "WMDETECT_TOKENIZER", "tokenizer.json");
        path.filter(|path| !shell::is_default(path))
    }
}

impl KeyArgs {
    /// Returns the key of `--key`, of `WMDETECT_KEY` or in `./k.bin`, with a warning if others can read it.
    pub(super) fn read(&self) -> Result<Key> {
        let path = self.path().context(
            "no key: pass --key FILE with the key that marked the text, set WMDETECT_KEY to its path, or run in a \
             directory with a k.bin",
        )?;
        Ok(shell::read_key(&path)?)
    }

    /// Returns the key file, if there is one.
    pub(super) fn path(&self) -> Option<PathBuf> {
        given_or_default(self.key.as_ref(), "WMDETECT_KEY", "k.bin")
    }
}

impl Keys for KeyArgs {
    fn keyring(&self) -> Result<Keyring> {
        Ok(self.read()?.into())
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.path().into_iter().collect()
    }
}

impl Keys for KeysArgs {
    fn keyring(&self) -> Result<Keyring> {
        self.keyring.as_ref().map_or_else(|| self.one.keyring(), |dir| Ok(shell::read_keyring(dir)?))
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.keyring.as_ref().map_or_else(|| self.one.paths(), |dir| vec![dir.clone()])
    }
}

impl MethodArgs {
    /// Returns the file or directory that is read; the name of a built-in profile is a file that does not exist.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.profile.iter().map(Path::new).chain(self.bayesian.as_deref())
    }

    /// Returns the decider: the profile or the Bayesian detector that was named, else the method with those of the
    /// crate.
    pub(crate) fn decider(&self) -> Result<Decider> {
        let chooses = |flag: &str, chosen: Method| match self.detector.filter(|&asked| asked != chosen) {
            Some(_) => {
                bail!("{flag} chooses --detector {chosen}, but another --detector was given; leave one out")
            }
            None => Ok(()),
        };
        Ok(match (&self.profile, &self.bayesian) {
            (Some(profile), _) => {
                chooses("--profile", Method::Llr)?;
                open_profile(profile)?.into()
            }
            (None, Some(dir)) => {
                chooses("--bayesian", Method::Bayesian)?;
                Bayesian::open_with_cache(dir, Cache::of_user().as_ref(), note)?.into()
            }
            (None, None) => self.detector.map_or_else(Decider::default, Into::into),
        })
    }
}

/// Opens a built-in profile by its name, or a file.
pub(super) fn open_profile(name: &str) -> Result<Profile> {
    match Profile::named(name) {
        Some(profile) => Ok(profile.clone()),
        None => Ok(Profile::read_with_cache(name, Cache::of_user().as_ref(), note)?),
    }
}

fn note(text: &str) {
    say(&format!("note: {text}"));
}

/// Returns the path that was given, else the one in `variable`, else `default` if there is such a file.
fn given_or_default(given: Option<&PathBuf>, variable: &str, default: &str) -> Option<PathBuf> {
    let from_variable = || std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let from_directory = || Some(PathBuf::from(default)).filter(|path| path.exists());
    given.cloned().or_else(from_variable).or_else(from_directory)
}
