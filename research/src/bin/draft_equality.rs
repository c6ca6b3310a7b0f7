//! Do drafts change anything?
//!
//! `cargo run --release -p wmgen-research --bin draft_equality -- TARGET DRAFT PROMPTS.jsonl PROMPTS TOKENS`
//!
//! TARGET and DRAFT are files of models with the same tokenizer, or `default`. The first prompts (field `prompt`) are answered with TOKENS tokens
//! each, marked and not, under several settings, without drafts, with those of the prompt and with those of the draft model. Tokens,
//! marked positions, entropies, log-probabilities and the reasons to end must be equal, or it fails.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{Write, stdout};

use serde::Deserialize;
use wmdetect::scheme::{Key, Preset, Watermark};
use wmdetect::text::Tokenizer;
use wmgen::default_model;
use wmgen::engine::{Draft, Engine, Event, FinishReason, Options, Progress, Request, Token};
use wmgen::model::{CHUNK, Gemma, LoadOptions};
use wmgen::sample::Sampling;
use wmgen::text::{plain_prompt, stop_ids};

#[derive(Deserialize)]
struct Prompt {
    prompt: String,
}

/// The tokens of a response, and why it ended.
type Answer = (Vec<Token>, Option<FinishReason>);

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [target, draft, prompts, count, tokens] = &args[..] else {
        return Err("expected TARGET DRAFT PROMPTS.jsonl PROMPTS TOKENS".into());
    };
    let max_tokens: usize = tokens.parse()?;
    let tokenizer =
        if target == "default" { Tokenizer::of_default_model() } else { Tokenizer::open(target)? };
    let load = |path: &String| match path.as_str() {
        "default" => default_model::load(LoadOptions::default()),
        path => Gemma::load(path, LoadOptions::default()),
    };
    let (target, draft) = (load(target)?, load(draft)?);
    let prompts: Vec<Vec<u32>> = fs::read_to_string(prompts)?
        .lines()
        .take(count.parse()?)
        .map(|line| -> Result<Vec<u32>, Box<dyn Error>> {
            let Prompt { prompt } = serde_json::from_str(line)?;
            Ok(plain_prompt(&tokenizer, &prompt)?)
        })
        .collect::<Result<_, _>>()?;
    let watermark = Watermark::new(Key::generate(Preset::default())?.prf());
    let of = |temperature| Sampling { temperature, ..Sampling::default() };
    let penalty = Sampling { repeat_penalty: 1.2, frequency_penalty: 0.3, top_p: 0.9, ..of(0.8) };
    let stops = stop_ids(&tokenizer);
    // A name, the sampling, the responses to a prompt, how many decode together, and whether stop tokens end them.
    let settings = [
        ("temperature 1", of(1.0), 1, 1, false),
        ("temperature 0.5", of(0.5), 1, 8, false),
        ("penalties", penalty, 1, 8, false),
        ("stop tokens", of(0.7), 1, 4, true),
        ("three responses", of(0.7), 3, 8, false),
        ("temperature 0", of(0.0), 1, 8, false),
    ];
    for (name, sampling, sequences, together, stop) in settings {
        for marked in [false, true] {
            if marked && sampling.temperature == 0.0 {
                continue;
            }
            let request = |(number, prompt): (usize, &Vec<u32>)| Request {
                sequences,
                max_tokens,
                sampling: Sampling { seed: number as u64, ..sampling },
                watermark: marked.then(|| watermark.clone()),
                stop_ids: if stop { stops.clone() } else { Vec::new() },
                logprobs: Some(3),
                ..Request::new(prompt.clone())
            };
            let requests: Vec<Request> = prompts.iter().enumerate().map(request).collect();
            let options = Options { together, slice: CHUNK, ..Options::default() };
            let mut first: Option<BTreeMap<_, Answer>> = None;
            let mark = if marked { "marked" } else { "unmarked" };
            write!(stdout(), "{name}, {mark}:")?;
            for (source, draft) in
                [("none", Draft::None), ("prompt", Draft::Prompt), ("model", Draft::Model(draft.clone()))]
            {
                let mut engine = Engine::with_draft(target.clone(), draft, options);
                let found = answer(&mut engine, &requests)?;
                let stats = engine.stats();
                match &first {
                    None => {
                        let tokens: usize = found.values().map(|(tokens, _)| tokens.len()).sum();
                        write!(stdout(), " {} responses of {tokens} tokens", found.len())?;
                        first = Some(found);
                    }
                    Some(first) if *first == found => {
                        let (accepted, drafted) = (stats.accepted_tokens, stats.drafted_tokens);
                        write!(stdout(), "; {source}: equal, {accepted} of {drafted} guesses right")?;
                    }
                    Some(first) => {
                        let other = first.iter().find(|(id, answer)| found.get(id) != Some(answer));
                        return Err(format!("{name}, {mark}, {source}: expected the texts without drafts, found another for {:?}", other.map(|(id, _)| id)).into());
                    }
                }
            }
            writeln!(stdout())?;
        }
    }
    Ok(())
}

/// The answers by the number of their request and of the response to it.
fn answer(
    engine: &mut Engine<Gemma>,
    requests: &[Request],
) -> Result<BTreeMap<(usize, usize), Answer>, Box<dyn Error>> {
    let ids = requests.iter().map(|request| engine.submit(request.clone())).collect::<Result<Vec<_>, _>>()?;
    let mut answers: BTreeMap<(usize, usize), Answer> = BTreeMap::new();
    let mut events = Vec::new();
    loop {
        let progress = engine.step(&mut events);
        for event in events.drain(..) {
            let number = ids.iter().position(|id| *id == event.id()).unwrap_or_default();
            match event {
                Event::Token { sequence, token, .. } => {
                    answers.entry((number, sequence)).or_default().0.push(token);
                }
                Event::Finished { sequence, reason, .. } => {
                    answers.entry((number, sequence)).or_default().1 = Some(reason);
                }
                Event::Failed { error, .. } => return Err(error.to_string().into()),
                _ => {}
            }
        }
        if progress == Progress::Idle {
            return Ok(answers);
        }
    }
}
