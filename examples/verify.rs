//! Reads a text again with the model that wrote it, which needs fewer tokens for the same certainty.
//!
//! `cargo run --release --example verify` writes a dozen marked tokens, scores them without the model, and verifies them
//! with the model and the receipt.

use std::error::Error;
use std::io::{Write, stdout};
use std::sync::Arc;

use wmdetect::{Detector, Key, Preset, Tokenizer};
use wmgen::default_model;
use wmgen::engine::{self, Engine};
use wmgen::model::LoadOptions;
use wmgen::respond::{Event, KeyMark, ModelInfo, Options, Responder};
use wmgen::text::Prompt;
use wmgen::verify::{self, Input, Origin, Verifier};

fn main() -> Result<(), Box<dyn Error>> {
    let key = Key::generate(Preset::default())?;
    let model = default_model::load(LoadOptions::default())?;
    let tokenizer = Arc::new(Tokenizer::of_default_model());
    let info = ModelInfo::new(&model, default_model::NAME, Arc::clone(&tokenizer));
    let mut responder = Responder::new(Engine::new(model.clone(), engine::Options::default()), info);

    let options = Options { max_tokens: 12, mark: Some(KeyMark::new(&key)?), ..Options::default() };
    responder.submit(&Prompt::Text("The captain looked at".into()), &options)?;
    let receipt = responder.find_map(|(_, event)| match event {
        Event::Piece(_) => None,
        Event::Finished(mut receipts) => Some(Ok(receipts.remove(0))),
        Event::Failed(error) => Some(Err(error)),
    });
    let receipt = receipt.ok_or("the prompt was not answered")??;

    let verifier =
        Verifier::new(&model, default_model::NAME, &tokenizer, [&key], verify::Options::default())?;
    // The receipt has the prompt and the settings of the draws. Without it, p is larger but just as valid.
    let origin = Origin::of_receipt(&receipt);
    let verified = verifier.verify(Input::Bytes(receipt.text.as_bytes()), &origin)?;
    let scored = Detector::new(key, Tokenizer::of_default_model())?.score(&receipt.text)?;

    let mut out = stdout().lock();
    writeln!(out, "{}\n", receipt.text.trim())?;
    let log10_p = scored.log10_p.unwrap_or_default();
    writeln!(out, "without the model: {}, log10 p {log10_p:.1}", scored.verdict.name())?;
    writeln!(out, "with the model:    {}, log10 p {:.1}", verified.verdict.name(), verified.log10_p)?;
    Ok(())
}
