//! Writes a marked text, piece by piece as it grows, and finds the mark again.
//!
//! `cargo run --release --example generate -- "The old lighthouse"` uses the model that ships with wmgen. For your own
//! Gemma model, use `Gemma::load` and `Tokenizer::open` with its directory or GGUF file.

use std::error::Error;
use std::io::{Write, stdout};
use std::sync::Arc;

use wmdetect::{Detector, Key, Preset, Tokenizer};
use wmgen::default_model;
use wmgen::engine::{self, Engine};
use wmgen::model::LoadOptions;
use wmgen::respond::{Event, KeyMark, ModelInfo, Options, Responder};
use wmgen::text::Prompt;

fn main() -> Result<(), Box<dyn Error>> {
    let prompt = std::env::args().nth(1).unwrap_or_else(|| "The old lighthouse".into());
    let mut out = stdout().lock();

    // A server reads its key from a file: `Key::read("k.bin")`.
    let key = Key::generate(Preset::default())?;
    let model = default_model::load(LoadOptions::default())?;
    let tokenizer = Arc::new(Tokenizer::of_default_model());
    let info = ModelInfo::new(&model, default_model::NAME, tokenizer);
    let mut responder = Responder::new(Engine::new(model, engine::Options::default()), info);

    let options = Options { max_tokens: 120, mark: Some(KeyMark::new(&key)?), ..Options::default() };
    responder.submit(&Prompt::Text(prompt), &options)?;
    let mut text = String::new();
    for (_, event) in &mut responder {
        match event {
            Event::Piece(piece) => {
                out.write_all(piece.text.as_bytes())?;
                out.flush()?;
            }
            Event::Finished(mut receipts) => text = receipts.remove(0).text,
            Event::Failed(error) => return Err(error.into()),
        }
    }

    // The detector needs the text, the key and the tokenizer. It needs neither the model nor the prompt.
    let report = Detector::new(key, Tokenizer::of_default_model())?.score(&text)?;
    let (verdict, log10_p) = (report.verdict.name(), report.log10_p.unwrap_or_default());
    writeln!(out, "\n\n{verdict}: log10 p {log10_p:.1} from {} tokens", report.scored_tokens)?;
    Ok(())
}
