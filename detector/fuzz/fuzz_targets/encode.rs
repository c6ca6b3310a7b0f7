//! Whatever the text, the compiled encoder gives the ids and offsets of the `tokenizers` library, for the tokenizer of the
//! tests and for the built-in one. Normalisation gives a text that it does not change again.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokenizers::Tokenizer as Library;
use wmdetect::text::Tokenizer;
use wmdetect::text::normalise::Normaliser;

static BOTH: LazyLock<[(Tokenizer, Library); 2]> = LazyLock::new(|| {
    let detector = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let library = |path: &Path| {
        let mut library = Library::from_file(path).expect("a tokenizer");
        library.set_encode_special_tokens(true);
        // As the detector does: the tests' tokenizer asks for both.
        library.with_truncation(None).expect("no truncation");
        library.with_padding(None);
        library.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
        library
    };
    let tests = detector.join("tests/fixtures/tokenizer/tokenizer.json");
    let builtin = detector.join("src/text/default_tokenizer.json");
    [
        (Tokenizer::open(&tests).expect("a tokenizer"), library(&tests)),
        (Tokenizer::of_default_model(), library(&builtin)),
    ]
});

fuzz_target!(|text: &str| {
    for (ours, library) in BOTH.iter() {
        let found = ours.encode(text).expect("tokens");
        let expected = library.encode(text, false).expect("tokens");
        assert_eq!(found.ids, expected.get_ids());
        let offsets: Vec<_> = expected.get_offsets().iter().map(|&(start, end)| start..end).collect();
        assert_eq!(found.offsets, offsets);
    }
    let normalised = Normaliser::default().apply(text);
    let again = Normaliser::default().apply(normalised.text());
    assert_eq!(again.text(), normalised.text());
});
