//! Whatever bytes they get, the readers of key files, GGUF files, lists of token ids and profiles give a value or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wmdetect::gguf::{Header, Metadata};
use wmdetect::scheme::Key;
use wmdetect::statistics::Profile;
use wmdetect::text::Tokenizer;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = Key::from_bytes(bytes, "input") {
        // What was read is written as something that is read the same.
        let written = Key::from_bytes(&key.to_bytes(), "written").expect("our own container");
        assert_eq!(written.id(), key.id());
    }
    let len = bytes.len() as u64;
    if let Ok(header) = Header::read(bytes, len, |_| true) {
        // What is skipped is judged as far as its lengths; the metadata alone are read alike.
        Header::read(bytes, len, |_| false).expect("a header that is read with its values");
        let metadata = Metadata::read(bytes, len, |_| true).expect("the metadata of a header");
        assert_eq!(format!("{metadata:?}"), format!("{:?}", header.metadata));
    }
    let _ = Tokenizer::from_gguf_bytes(bytes, "input");
    wmdetect::id_list::lists(bytes).for_each(drop);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Profile::from_json(text, "input");
    }
});
