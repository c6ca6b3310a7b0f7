//! Whatever its files hold, a directory of keys opens or is an error, and so does an engine's configuration: keys.toml, keys, JSON.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs;
use wmdetect::scheme::Key;
use wmdetect::{KeyDirectory, Keyring};

/// What `wmgen key import --scheme` takes.
const SCHEMES: [&str; 8] = [
    "synthid-hf", "synthid-deepmind", "vllm-gumbel", "sglang-gumbel", "textseal", "kgw-hf", "kgw", "kgw-tgi",
];

fuzz_target!(|files: (&[u8], &[u8], u8)| {
    let (list, key, scheme) = files;
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("keys.toml"), list).expect("a file");
    fs::write(dir.path().join("a.bin"), key).expect("a file");
    let _ = KeyDirectory::open(dir.path());
    let _ = Keyring::open(dir.path());
    let json = dir.path().join("config.json");
    fs::write(&json, list).expect("a file");
    let _ = Key::import_json(&json, SCHEMES[usize::from(scheme) % SCHEMES.len()]);
});
