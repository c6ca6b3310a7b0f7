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
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::BayesianError;
use super::limits::{BETA, DELTA, MAX_DEPTH, MAX_FILE, PRIOR};
use super::model::{BayesianModel, Provenance};
use crate::{atomic_file, hex};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";

/// The fields of config.json that this crate reads and writes. `transformers` keeps fields that it does not know.
#[derive(Serialize, Deserialize)]
struct Config {
    #[serde(default)]
    architectures: Vec<String>,
    /// The prior that training started from. `transformers` leaves it out if it is the default.
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
    /// Returns an error if a file cannot be read or is not what it should be.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, BayesianError> {
        let dir = dir.as_ref();
        Self::parse(dir, &read(&dir.join(CONFIG))?, &read(&dir.join(WEIGHTS))?)
    }

    /// Parses the content of config.json and model.safetensors; `dir` is for error messages.
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

    /// Writes the detector into a directory, which is made if it does not exist. Replaces files of the same names.
    ///
    /// # Errors
    /// Returns an error if a file cannot be written.
    pub fn write(&self, dir: impl AsRef<Path>) -> Result<(), BayesianError> {
        let dir = dir.as_ref();
        std::fs::create_dir_all(dir).map_err(|source| io_error("write", dir, source))?;
        let config = Config {
            architectures: vec!["BayesianDetectorModel".into()],
            base_rate: self.prior(),
            dtype: float32(),
            watermarking_depth: self.depth(),
            wmdetect: self.provenance().clone(),
        };
        let mut json = serde_json::to_vec_pretty(&config).expect("a config has only strings and numbers");
        json.push(b'\n');
        write(&dir.join(CONFIG), &json)?;

        let m = self.depth();
        let (beta, delta, prior) = (bytes(self.beta()), bytes(self.all_delta()), bytes(&[self.prior()]));
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

    /// Returns SHA-256, in hexadecimal, of everything that the null law depends on: m, beta, and the used part of
    /// delta.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"wmdetect bayesian 1\0");
        hash.update((self.depth() as u64).to_le_bytes());
        hash.update(bytes(self.beta()));
        for l in 0..self.depth() {
            hash.update(bytes(self.delta(l)));
        }
        hex::encode(&hash.finalize())
    }
}

/// Returns a tensor's numbers, if it is F32 and of this shape.
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

/// Returns the numbers as little-endian f32, which they were before they were widened.
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
    use super::super::model::tests::small;
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
