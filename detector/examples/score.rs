//! A moderation pipeline: does a text carry our mark?
//!
//! `cargo run -p wmdetect --example score -- k.bin tokenizer.json essay.txt`

use wmdetect::{Detector, Key, Tokenizer, Verdict};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(key), Some(tokenizer), Some(file)) = (args.next(), args.next(), args.next()) else {
        return Err("expected three arguments: KEY TOKENIZER FILE".into());
    };
    let text = std::fs::read_to_string(file)?;

    let detector = Detector::new(Key::read(key)?, Tokenizer::open(tokenizer)?)?;
    let report = detector.score(&text)?;
    let marked = report.verdict == Verdict::Watermarked;

    let decision = if marked { "label as machine-written" } else { "leave as it is" };
    let line = format!("{decision}: {}, log10 p {:?}\n", report.verdict.name(), report.log10_p);
    std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes())?;
    Ok(())
}
