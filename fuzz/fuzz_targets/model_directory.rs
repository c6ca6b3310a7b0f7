//! Whatever its files hold, a model's directory opens or is an error: configuration, index of the shards, safetensors.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs;
use wmgen::model::Weights;

fuzz_target!(|files: (&[u8], &[u8], Option<&[u8]>)| {
    let (config, tensors, index) = files;
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("config.json"), config).expect("a file");
    fs::write(dir.path().join("model.safetensors"), tensors).expect("a file");
    if let Some(index) = index {
        fs::write(dir.path().join("model.safetensors.index.json"), index).expect("a file");
    }
    let _ = Weights::open(dir.path());
});
