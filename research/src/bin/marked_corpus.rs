//! Writes the marked texts behind the power tables of `research/results.md`: one text a prompt, each under another key,
//! all of one length.
//!
//! `cargo run --release -p wmgen-research --bin marked_corpus -- MODEL MASTER.bin PROMPTS.jsonl TEMPERATURE TOKENS OUT.jsonl`
//!
//! Keys of other engines cannot be derived: all texts are then written under the key itself, by the engine's rule for a draw.
//!
//! A prompt is the first [`PROMPT_TOKENS`] tokens of the field `text`; its key is derived from the master with the field
//! `id` and the temperature as the label. The model may not end a text, so that every text has every length; that
//! changes its distribution, not the key's. Texts that OUT has already are not written again.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wmdetect::scheme::{Key, Watermark};
use wmdetect::text::Tokenizer;
use wmgen::engine::{Request, Sequence};
use wmgen::logits::Logits;
use wmgen::model::{Gemma, LoadOptions};
use wmgen::sample::{Sampler, Sampling};
use wmgen::text::{plain_prompt, stop_ids};

/// Tokens of a prompt, `<bos>` included.
const PROMPT_TOKENS: usize = 24;
/// Texts that share each pass over the weights.
const BATCH: usize = 64;

#[derive(Deserialize)]
struct Prompt {
    id: String,
    text: String,
}

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    /// Absent if the text was written under the key itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_label: Option<&'a str>,
    temperature: f64,
    /// The channel of the key, if it has several.
    channel: Option<u16>,
    prompt_tokens: &'a [u32],
    tokens: &'a [u32],
    text: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, master, prompts, temperature, tokens, out] = &args[..] else {
        return Err("expected MODEL MASTER.bin PROMPTS.jsonl TEMPERATURE TOKENS OUT.jsonl".into());
    };
    let (temperature, tokens): (f64, usize) = (temperature.parse()?, tokens.parse()?);
    let tokenizer = Tokenizer::open(model)?;
    let model = Gemma::load(model, LoadOptions::default())?;
    let master = Key::read(master)?;
    let derived = master.scheme().secret_shape().derivable;
    let mut prompts: Vec<Prompt> =
        std::fs::read_to_string(prompts)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let mut out = OpenOptions::new().create(true).append(true).read(true).open(out)?;
    let done = BufReader::new(&out).lines().count();
    prompts.drain(..done.min(prompts.len()));

    let sampling = Sampling { temperature, seed: 20_26, ..Sampling::default() };
    let stops = stop_ids(&tokenizer);
    for (batch, prompts) in prompts.chunks(BATCH).enumerate() {
        let mut ids = Vec::new();
        for prompt in prompts {
            let mut prompt_ids = plain_prompt(&tokenizer, &prompt.text)?;
            if prompt_ids.len() < PROMPT_TOKENS {
                return Err(format!("prompt {} has fewer than {PROMPT_TOKENS} tokens", prompt.id).into());
            }
            prompt_ids.truncate(PROMPT_TOKENS);
            ids.push(prompt_ids);
        }
        let labels: Vec<String> =
            prompts.iter().map(|prompt| format!("{} T={temperature}", prompt.id)).collect();
        // One seed for all texts, and a stream of it for each.
        let first = (done + batch * BATCH) as u64;
        let (mut sequences, mut channels) = (Vec::new(), Vec::new());
        for (number, (label, prompt)) in (first..).zip(labels.iter().zip(&ids)) {
            let prf = if derived { master.derive(label)?.prf() } else { master.prf() };
            let watermark = Watermark::new(prf);
            channels.push(watermark.channel(watermark.random(prompt, sampling.seed, number)));
            let request = Request {
                max_tokens: tokens,
                sampling,
                watermark: Some(watermark),
                banned_ids: stops.clone(),
                ..Request::new(prompt.clone())
            };
            sequences.push(Sequence::new(Arc::new(request), number));
        }
        let mut sampler = Sampler::default();
        let mut cache = model.new_cache(ids.len());
        let mut logits = model.forward(&ids, &mut cache)?;
        for step in 0..tokens {
            for (sequence, logits) in sequences.iter_mut().zip(logits.to_vec2::<f32>()?) {
                sequence.next(&mut sampler, Logits::capped(&logits))?;
            }
            if step + 1 < tokens {
                let last: Vec<&[u32]> = sequences.iter().map(|sequence| &sequence.tokens()[step..]).collect();
                logits = model.forward(&last, &mut cache)?;
            }
        }
        for (row, prompt) in prompts.iter().enumerate() {
            let row = Row {
                id: &prompt.id,
                key_label: derived.then(|| labels[row].as_str()),
                temperature,
                channel: channels[row],
                prompt_tokens: &ids[row],
                tokens: sequences[row].tokens(),
                text: tokenizer.decode(sequences[row].tokens()),
            };
            writeln!(out, "{}", serde_json::to_string(&row)?)?;
        }
    }
    Ok(())
}
