//! The Bayesian detector against `transformers` (tests/oracle/bayesian.py).

use std::path::{Path, PathBuf};

use serde::Deserialize;
use wmdetect::scheme::GBits;
use wmdetect::statistics::bayesian::BayesianModel;

#[derive(Deserialize)]
struct Documents {
    random: Vec<Document>,
    trained: Vec<Document>,
}

#[derive(Deserialize)]
struct Document {
    g: Vec<u64>,
    mask: String,
    posterior_f32: f64,
    posterior_f64: f64,
}

impl Document {
    fn scored(&self) -> impl Iterator<Item = GBits> + '_ {
        let scored = self.g.iter().zip(self.mask.bytes()).filter(|(_, keep)| *keep == b'1');
        scored.map(|(&g, _)| GBits(g))
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bayesian")
}

/// In float64 the posteriors agree to rounding. `transformers` computes in float32, whose own rounding reaches 1.1e-6
/// on these documents; where it stays below 2e-7 it cannot hide a difference of 1e-6.
#[test]
fn posteriors_are_those_of_transformers() {
    let json = std::fs::read(fixtures().join("documents.json")).unwrap();
    let documents: Documents = serde_json::from_slice(&json).unwrap();
    let mut within = 0;
    for (name, documents) in [("random", documents.random), ("trained", documents.trained)] {
        let model = BayesianModel::open(fixtures().join(name)).unwrap();
        for document in &documents {
            let posterior = model.posterior(document.scored());
            let error = (posterior - document.posterior_f64).abs();
            assert!(error < 1e-12, "{name}: {posterior} for {}", document.posterior_f64);
            let error = (posterior - document.posterior_f32).abs();
            assert!(error < 2e-6, "{name}: {posterior} for {}", document.posterior_f32);
            within += usize::from(error < 1e-6);
        }
    }
    assert!(within >= 155, "{within} of 160 within 1e-6 of the float32 posterior");
}

/// What we write is, byte for byte, what `save_pretrained` writes of the same weights; `from_pretrained` therefore reads
/// it. (`bayesian.py check` does that with a detector of ours.)
#[test]
fn weights_are_written_as_transformers_writes_them() {
    for name in ["random", "trained"] {
        let theirs = fixtures().join(name);
        let ours = tempfile::tempdir().unwrap();
        let model = BayesianModel::open(&theirs).unwrap();
        model.write(ours.path()).unwrap();
        let weights = |dir: &Path| std::fs::read(dir.join("model.safetensors")).unwrap();
        assert!(weights(ours.path()) == weights(&theirs), "{name}");
        let config = |dir: &Path| -> serde_json::Value {
            serde_json::from_slice(&std::fs::read(dir.join("config.json")).unwrap()).unwrap()
        };
        let (ours, theirs) = (config(ours.path()), config(&theirs));
        for field in ["architectures", "dtype", "watermarking_depth"] {
            assert_eq!(ours[field], theirs[field], "{name}: {field}");
        }
    }
}
