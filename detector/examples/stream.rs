//! Scores a text of any length while it is read, in bounded memory.
//!
//! `cargo run -p wmdetect --example stream -- k.bin tokenizer.json < book.txt`

use std::io::Write;

use wmdetect::{Detector, Input, Key, Tokenizer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(key), Some(tokenizer)) = (args.next(), args.next()) else {
        return Err("expected two arguments: KEY TOKENIZER".into());
    };
    let detector = Detector::new(Key::read(key)?, Tokenizer::open(tokenizer)?)?;
    let report = detector.score(Input::reader(std::io::stdin().lock()))?;

    let mut out = std::io::stdout().lock();
    writeln!(out, "{}: {} of {} tokens scored", report.verdict.name(), report.scored_tokens, report.tokens)?;
    match report.log10_p {
        Some(log10_p) => writeln!(out, "log10 p {log10_p:.2}")?,
        None => writeln!(out, "no token could be scored")?,
    }
    for warning in &report.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(())
}
