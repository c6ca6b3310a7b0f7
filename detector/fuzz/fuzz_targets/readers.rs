//! Whatever bytes they get, the readers of key files, GGUF metadata and tokenizer.json give a value or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wmdetect::scheme::Key;
use wmdetect::statistics::Profile;
use wmdetect::text::gguf::Metadata;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = Key::from_bytes(bytes, "input") {
        // What was read is written as something that is read the same.
        let written = Key::from_bytes(&key.to_bytes(), "written").expect("our own container");
        assert_eq!(written.id(), key.id());
    }
    let _ = Metadata::read(bytes, bytes.len() as u64, |_| true);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Profile::from_json(text, "input");
    }
});
