//! The files of a detector: a directory with Hugging Face's config.json and model.safetensors.
//!
//! | tensor | shape |
//! |---|---|
//! | `likelihood_model_watermarked.beta` | \[1, 1, m\] |
//! | `likelihood_model_watermarked.delta` | \[1, 1, m, m\] |
//! | `prior` | \[1\] |
//!
//! All are F32. The directory that `save_pretrained` makes can be read, and `from_pretrained` reads what
//! [`BayesianModel::write`] makes.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{BayesianModel, MAX_DEPTH};
use crate::{atomic_file, hex};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const BETA: &str = "likelihood_model_watermarked.beta";
const DELTA: &str = "likelihood_model_watermarked.delta";
const PRIOR: &str = "prior";

/// Files of a detector are small; a larger one is something else.
const MAX_FILE: u64 = 1 << 20;

/// Why a detector could not be read, written or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BayesianError {
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is too large to be part of a detector.
    #[error(
        "expected a detector's file of at most {MAX_FILE} bytes, found more in {path}; is it another model?"
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A JSON file is not what it should be.
    #[error("{path}: {source}; expected the {what}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What the file is for.
        what: &'static str,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// The weights are no safetensors file, or lack a tensor.
    #[error(
        "{path}: {source}; expected the tensors {BETA}, {DELTA} and {PRIOR} of a BayesianDetectorModel, as its \
         save_pretrained writes them"
    )]
    Weights {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: SafeTensorError,
    },
    /// A tensor is not F32.
    #[error("expected {name} as F32, found {found:?}; load the detector in float32 and save it again")]
    Dtype {
        /// The tensor.
        name: &'static str,
        /// Its type.
        found: Dtype,
    },
    /// A tensor's shape does not fit the depth.
    #[error("expected {name} of shape {expected:?}, found {found:?}")]
    Shape {
        /// The tensor.
        name: &'static str,
        /// By the config's depth.
        expected: Vec<usize>,
        /// In the file.
        found: Vec<usize>,
    },
    /// A weight is infinite or not a number.
    #[error(
        "expected finite numbers in {name}, found one that is not; was the training stopped by an error?"
    )]
    NotFinite {
        /// The tensor.
        name: &'static str,
    },
    /// The depth cannot be.
    #[error("expected a watermarking_depth from 1 to {MAX_DEPTH}, found {found}")]
    Depth {
        /// As found.
        found: usize,
    },
}

/// What is known of a detector's training. Public: it goes into config.json, and holds no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Public ids of the keys whose texts it was fitted on; empty if unknown, or more than sixteen. A p-value under one of these keys is
    /// not exact for texts that share passages with the training texts.
    pub key_ids: Vec<String>,
    /// Marked texts that it was fitted on; 0 if unknown.
    pub marked_texts: u64,
}

/// config.json: the fields that we read and write. `transformers` keeps fields that it does not know.
#[derive(Serialize, Deserialize)]
struct Config {
    #[serde(default)]
    architectures: Vec<String>,
    /// The prior that training started from; `transformers` leaves it out where it is its default.
    #[serde(default = "half")]
    base_rate: f64,
    #[serde(default = "float32")]
    dtype: String,
    watermarking_depth: usize,
    #[serde(default)]
    wmdetect: Provenance,
}

fn half() -> f64 {
    0.5
}

fn float32() -> String {
    "float32".into()
}

impl BayesianModel {
    /// Reads a detector's directory.
    ///
    /// # Errors
    /// [`BayesianError`], which names the file and what was expected in it.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, BayesianError> {
        let dir = dir.as_ref();
        Self::parse(dir, &read(&dir.join(CONFIG))?, &read(&dir.join(WEIGHTS))?)
    }

    /// From the content of config.json and model.safetensors; `dir` is for error messages.
    pub(super) fn parse(dir: &Path, config: &[u8], weights: &[u8]) -> Result<Self, BayesianError> {
        let config: Config = serde_json::from_slice(config).map_err(|source| BayesianError::Json {
            path: dir.join(CONFIG),
            what: "configuration of a BayesianDetectorModel with watermarking_depth and base_rate",
            source,
        })?;
        let m = config.watermarking_depth;
        if !(1..=MAX_DEPTH).contains(&m) {
            return Err(BayesianError::Depth { found: m });
        }
        let wrong = |source| BayesianError::Weights { path: dir.join(WEIGHTS), source };
        let file = SafeTensors::deserialize(weights).map_err(wrong)?;
        let tensor = |name, shape: &[usize]| floats(name, file.tensor(name).map_err(wrong)?, shape);
        let beta = tensor(BETA, &[1, 1, m])?;
        let delta = tensor(DELTA, &[1, 1, m, m])?;
        let prior = tensor(PRIOR, &[1])?;
        Ok(Self::new(&beta, &delta, prior[0])?.with_provenance(config.wmdetect))
    }

    /// Writes the detector into a directory, which is made if it does not exist; files of the same names are
    /// replaced.
    ///
    /// # Errors
    /// [`BayesianError::Io`].
    pub fn write(&self, dir: impl AsRef<Path>) -> Result<(), BayesianError> {
        let dir = dir.as_ref();
        std::fs::create_dir_all(dir).map_err(|source| io_error("write", dir, source))?;
        let config = Config {
            architectures: vec!["BayesianDetectorModel".into()],
            base_rate: self.prior,
            dtype: float32(),
            watermarking_depth: self.depth,
            wmdetect: self.provenance.clone(),
        };
        let mut json = serde_json::to_vec_pretty(&config).expect("a config has only strings and numbers");
        json.push(b'\n');
        write(&dir.join(CONFIG), &json)?;

        let m = self.depth;
        let (beta, delta, prior) = (bytes(&self.beta), bytes(&self.delta), bytes(&[self.prior]));
        let tensors =
            [(BETA, vec![1, 1, m], &beta), (DELTA, vec![1, 1, m, m], &delta), (PRIOR, vec![1], &prior)].map(
                |(name, shape, data)| {
                    (name, TensorView::new(Dtype::F32, shape, data).expect("the shape is that of the data"))
                },
            );
        let metadata = [("format".to_owned(), "pt".to_owned())].into();
        let file = safetensors::serialize(tensors, Some(metadata)).expect("three small tensors fit a file");
        write(&dir.join(WEIGHTS), &file)
    }

    /// SHA-256, in hexadecimal, of all that the null law depends on: m, beta, and the part of delta that is used.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"wmdetect bayesian 1\0");
        hash.update((self.depth as u64).to_le_bytes());
        hash.update(bytes(&self.beta));
        for l in 0..self.depth {
            hash.update(bytes(self.delta(l)));
        }
        hex::encode(&hash.finalize())
    }
}

/// A tensor's numbers, if it is F32 and of this shape.
fn floats(name: &'static str, view: TensorView, shape: &[usize]) -> Result<Vec<f32>, BayesianError> {
    if view.dtype() != Dtype::F32 {
        return Err(BayesianError::Dtype { name, found: view.dtype() });
    }
    if view.shape() != shape {
        return Err(BayesianError::Shape { name, expected: shape.to_vec(), found: view.shape().to_vec() });
    }
    let (numbers, _) = view.data().as_chunks::<4>();
    Ok(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect())
}

/// The numbers as little-endian f32, which they were before they were widened.
fn bytes(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect()
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, BayesianError> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|source| io_error("read", path, source))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(BayesianError::TooLarge { path: path.into() });
    }
    Ok(bytes)
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), BayesianError> {
    atomic_file::write(path, bytes).map_err(|source| io_error("write", path, source))
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> BayesianError {
    BayesianError::Io { action, path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::super::tests::small;
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let provenance = Provenance { key_ids: vec!["3f9a0c".into()], marked_texts: 12 };
        let model = small(9).with_provenance(provenance);
        model.write(dir.path().join("new")).unwrap();
        let again = BayesianModel::open(dir.path().join("new")).unwrap();
        assert_eq!(again, model);
        assert_eq!(again.fingerprint(), model.fingerprint());
        assert_ne!(small(8).fingerprint(), model.fingerprint());
    }

    /// Every way in which a file can be wrong is an error that says which file and what was expected.
    #[test]
    fn wrong_files() {
        let dir = tempfile::tempdir().unwrap();
        let open = || BayesianModel::open(dir.path()).unwrap_err();
        assert!(matches!(open(), BayesianError::Io { action: "read", .. }));
        small(3).write(dir.path()).unwrap();
        let (config, weights) = (dir.path().join(CONFIG), dir.path().join(WEIGHTS));
        let good = std::fs::read(&weights).unwrap();

        for (text, message) in [
            ("{}", "watermarking_depth"),
            (r#"{"base_rate":0.5,"watermarking_depth":0}"#, "from 1 to 64, found 0"),
            (r#"{"base_rate":0.5,"watermarking_depth":100000000000}"#, "found 100000000000"),
            (r#"{"base_rate":0.5,"watermarking_depth":4}"#, "[1, 1, 4], found [1, 1, 3]"),
        ] {
            std::fs::write(&config, text).unwrap();
            assert!(open().to_string().contains(message), "{}", open());
        }
        std::fs::write(&config, r#"{"base_rate":0.5,"watermarking_depth":3}"#).unwrap();
        BayesianModel::open(dir.path()).unwrap();

        for bytes in [&good[..good.len() - 1], &good[..7], &[]] {
            std::fs::write(&weights, bytes).unwrap();
            assert!(matches!(open(), BayesianError::Weights { .. }));
        }
        std::fs::write(&weights, String::from_utf8_lossy(&good).replace("prior", "other").as_bytes())
            .unwrap();
        assert!(matches!(open(), BayesianError::Weights { .. }));
        std::fs::write(&weights, vec![0; MAX_FILE as usize + 1]).unwrap();
        assert!(matches!(open(), BayesianError::TooLarge { .. }));

        let half = vec![0; 2];
        let tensors = [(PRIOR, TensorView::new(Dtype::F16, vec![1], &half).unwrap())];
        let file = safetensors::serialize(tensors, None).unwrap();
        let view = SafeTensors::deserialize(&file).unwrap();
        let error = floats(PRIOR, view.tensor(PRIOR).unwrap(), &[1]).unwrap_err();
        assert!(error.to_string().contains("F32, found F16"), "{error}");
    }
}
