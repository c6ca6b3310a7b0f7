//! Several tenants, each with its own key: whose mark does a text carry?
//!
//! `cargo run -p wmdetect --example keyring -- KEYS_DIRECTORY tokenizer.json essay.txt`

use std::io::Write;

use wmdetect::{Detector, Input, Keyring, Tokenizer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(keys), Some(tokenizer), Some(file)) = (args.next(), args.next(), args.next()) else {
        return Err("expected three arguments: KEYS_DIRECTORY TOKENIZER FILE".into());
    };
    let bytes = std::fs::read(file)?;

    // Make the detector once and share it between threads; a clone shares the keys and the tokenizer.
    let detector = Detector::builder(Keyring::open(keys)?).tokenizer(Tokenizer::open(tokenizer)?).build()?;
    let found = detector.attribute(Input::bytes(&bytes))?;

    let mut out = std::io::stdout().lock();
    writeln!(out, "{} ({} keys tried)", found.verdict.name(), found.keys_tried)?;
    for key in &found.keys {
        let name = key.name.as_deref().unwrap_or(&key.key_id);
        writeln!(out, "{name}: log10 p {:.1}, corrected for the number of keys", key.log10_p)?;
    }

    // A stricter rate for one call: no key is derived again.
    let strict = detector.with_fpr(1e-9)?;
    writeln!(out, "at a rate of 1e-9: {}", strict.score(Input::bytes(&bytes))?.verdict.name())?;
    Ok(())
}
