//! Serves several clients at a time: one engine on a separate thread, and each client on another thread.
//!
//! `cargo run --release --example clients` asks three questions at once. The texts share the passes over the weights, and
//! each is the same as if its client were alone. The third client leaves early, which frees its place.

use std::error::Error;
use std::io::{Write, stdout};
use std::sync::Arc;
use std::thread;

use wmdetect::{Key, Preset, Tokenizer};
use wmgen::default_model;
use wmgen::engine::{self, worker};
use wmgen::model::LoadOptions;
use wmgen::respond::{Client, Event, KeyMark, ModelInfo, Options, RespondError};
use wmgen::sample::Sampling;
use wmgen::text::Prompt;

/// Returns one client's conversation: the whole text, or what arrived before it left after `patience` pieces.
fn ask(client: &Client, prompt: &str, options: &Options, patience: usize) -> Result<String, RespondError> {
    let mut text = String::new();
    let mut pieces = 0;
    for event in client.submit(&Prompt::Text(prompt.into()), options)? {
        match event {
            Event::Piece(piece) => {
                text.push_str(&piece.text);
                pieces += 1;
                if pieces == patience {
                    // Dropping the events cancels the request: no more tokens are computed for this client.
                    return Ok(text + " [left]");
                }
            }
            Event::Finished(receipts) => return Ok(receipts[0].text.clone()),
            Event::Failed(error) => return Err(error),
        }
    }
    Ok(text)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mark = KeyMark::new(&Key::generate(Preset::default())?)?;
    let model = default_model::load(LoadOptions::default())?;
    let info = ModelInfo::new(&model, default_model::NAME, Arc::new(Tokenizer::of_default_model()));
    let (handle, worker) = worker::spawn(model, engine::Options::default(), None)?;
    let client = Client::new(handle.clone(), info);

    let questions = [("The doctor said", usize::MAX), ("In the garden", usize::MAX), ("A storm", 10)];
    let threads: Vec<_> = (0..)
        .zip(questions)
        .map(|(seed, (prompt, patience))| {
            let client = client.clone();
            // With the same seed for all, their draws would be alike.
            let sampling = Sampling { seed, ..Sampling::default() };
            let options =
                Options { max_tokens: 40, sampling, mark: Some(mark.clone()), ..Options::default() };
            thread::spawn(move || (prompt, ask(&client, prompt, &options, patience)))
        })
        .collect();
    let mut out = stdout().lock();
    for thread in threads {
        let (prompt, text) = thread.join().map_err(|_| "a client panicked")?;
        writeln!(out, "{prompt}{}\n", text?)?;
    }

    // Requests that were taken are answered, no others are taken, and the thread ends.
    handle.drain();
    worker.join().map_err(|_| "the engine panicked")?;
    Ok(())
}
