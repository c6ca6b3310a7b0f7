//! Measures decoding with drafts against decoding without.

mod oracle;

use std::time::Instant;

use wmdetect::scheme::{Key, Preset, Watermark};

use self::oracle::{Model, Oracle};
use super::{BenchDraft, BenchError, Spread};
use crate::engine::{Draft, Engine, Event, Options, Progress, Request};
use crate::model::{CHUNK, Gemma};
use crate::sample::Sampling;

/// Number of texts that each sequence writes before drafts are turned on or off.
const TEXTS_A_TURN: usize = 2;

/// Source of the guesses in a measurement.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for each source")]
pub enum Guesses {
    /// Source of an engine's guesses.
    Of(Draft<Gemma>),
    /// Simulated guesses. Each is right with a given probability, and costs a given share of a step without drafts.
    Simulated {
        /// Probability that a guess is right.
        acceptance: f64,
        /// Time of a guess, as a share of a step's time.
        cost: f64,
    },
}

/// Settings for measuring drafts.
#[derive(Clone, Debug)]
pub struct DraftSettings {
    /// Name of the source of guesses in the report.
    pub name: String,
    /// Prompts; each is answered once in a run.
    pub prompts: Vec<Vec<u32>>,
    /// Source of guesses.
    pub guesses: Guesses,
    /// Maximum number of guesses for a response in a step.
    pub draft_tokens: usize,
    /// Number of tokens in a response.
    pub decode: usize,
    /// Maximum number of responses that decode together.
    pub together: usize,
    /// Number of runs with and without drafts, after one that does not count.
    pub repetitions: usize,
    /// Sampling settings.
    pub sampling: Sampling,
}

/// Measures decoding with and without drafts in turn. The texts are the same in both. Measures texts with a mark and
/// texts without one.
///
/// # Errors
/// Returns an error if the list of prompts is empty, or if the model refuses a prompt or fails.
pub(super) fn run(model: &Gemma, settings: &DraftSettings) -> Result<Vec<BenchDraft>, BenchError> {
    if settings.prompts.is_empty() {
        return Err(BenchError::Zero { name: "prompts" });
    }
    let key = Key::generate(Preset::default())?;
    let marks = [None, Some(Watermark::new(key.prf()))];
    marks.into_iter().map(|mark| kind(model, settings, mark)).collect()
}

/// Measures the runs with or without the mark.
fn kind(
    model: &Gemma,
    settings: &DraftSettings,
    watermark: Option<Watermark>,
) -> Result<BenchDraft, BenchError> {
    let requests: Vec<Request> = settings
        .prompts
        .iter()
        .zip(settings.sampling.seed..)
        .map(|(prompt, seed)| Request {
            max_tokens: settings.decode,
            sampling: Sampling { seed, ..settings.sampling },
            watermark: watermark.clone(),
            ..Request::new(prompt.clone())
        })
        .collect();
    let options = Options {
        together: settings.together,
        slice: CHUNK,
        cache_bytes: usize::MAX,
        prefix_bytes: 0,
        draft_tokens: settings.draft_tokens,
    };
    let target = || Model::Gemma(model.clone());
    let mut without = Engine::new(target(), options);
    let first = answer(&mut without, &requests)?;
    let draft = match &settings.guesses {
        Guesses::Of(Draft::None) => Draft::None,
        Guesses::Of(Draft::Prompt) => Draft::Prompt,
        Guesses::Of(Draft::Model(draft)) => Draft::Model(Model::Gemma(draft.clone())),
        Guesses::Simulated { acceptance, cost } => {
            let step = first.seconds / (first.tokens as f64 / requests.len().min(settings.together) as f64);
            Draft::Model(Model::Oracle(Oracle::new(first.texts.clone(), *acceptance, cost * step, model)))
        }
    };
    let mut with = Engine::with_draft(target(), draft, options);
    answer(&mut with, &requests)?;
    let before = with.stats();
    let (mut rates, mut gains) = ([Vec::new(), Vec::new()], Vec::new());
    for repetition in 0..settings.repetitions {
        let (mut tokens, mut seconds) = ([0.0; 2], [0.0; 2]);
        // They take turns after a few texts and in coming first, so that other work on the machine disturbs both.
        let few = TEXTS_A_TURN * settings.together;
        for (batch, (requests, texts)) in requests.chunks(few).zip(first.texts.chunks(few)).enumerate() {
            for turn in 0..2 {
                let which = (repetition + batch + turn) % 2;
                let run = answer(if which == 0 { &mut without } else { &mut with }, requests)?;
                assert_eq!(run.texts, texts, "a text is the same with drafts and without");
                seconds[which] += run.seconds;
                tokens[which] += run.tokens as f64;
            }
        }
        let of = [0, 1].map(|which| ratio(tokens[which], seconds[which]));
        gains.push(ratio(of[1], of[0]));
        rates.iter_mut().zip(of).for_each(|(rates, rate)| rates.push(rate));
    }
    let after = with.stats();
    let [drafted, accepted, tokens] = [
        after.drafted_tokens - before.drafted_tokens,
        after.accepted_tokens - before.accepted_tokens,
        after.response_tokens - before.response_tokens,
    ]
    .map(|count| count as f64);
    let [without, with] = rates.map(|rates| Spread::of(&rates));
    let (stated_acceptance, stated_cost) = match settings.guesses {
        Guesses::Simulated { acceptance, cost } => (Some(acceptance), Some(cost)),
        Guesses::Of(_) => (None, None),
    };
    Ok(BenchDraft {
        draft: settings.name.clone(),
        stated_acceptance,
        stated_cost,
        marked: watermark.is_some(),
        sequences: settings.together as u64,
        texts: requests.len() as u64,
        without,
        with,
        gain: Spread::of(&gains),
        acceptance: ratio(accepted, drafted),
        tokens_per_pass: ratio(tokens, tokens - accepted),
    })
}

/// Returns a ratio, or 0 if the divisor is 0. That occurs if a text has a single token, which needs no step.
fn ratio(of: f64, to: f64) -> f64 {
    if to > 0.0 { of / to } else { 0.0 }
}

/// Answers of a run.
struct Answers {
    /// Prompts and responses.
    texts: Vec<Vec<u32>>,
    /// Number of tokens from steps that read no prompt.
    tokens: u64,
    /// Time of these steps.
    seconds: f64,
}

fn answer(engine: &mut Engine<Model>, requests: &[Request]) -> Result<Answers, BenchError> {
    let ids = requests.iter().map(|request| engine.submit(request.clone())).collect::<Result<Vec<_>, _>>()?;
    let mut texts: Vec<Vec<u32>> = requests.iter().map(|request| request.prompt.clone()).collect();
    let (mut events, mut tokens, mut seconds) = (Vec::new(), 0, 0.0);
    loop {
        let (start, read) = (Instant::now(), engine.stats().prompt_tokens);
        let progress = engine.step(&mut events);
        // A step that also read a prompt does not count.
        let counts = engine.stats().prompt_tokens == read;
        if counts {
            seconds += start.elapsed().as_secs_f64();
        }
        for event in events.drain(..) {
            match event {
                Event::Token { id, token, .. } => {
                    texts[ids.iter().position(|other| *other == id).unwrap_or(0)].push(token.id);
                    tokens += u64::from(counts);
                }
                Event::Started { .. } | Event::Finished { .. } => {}
                Event::Failed { error, .. } => return Err(BenchError::Response(error.to_string())),
            }
        }
        if progress == Progress::Idle {
            return Ok(Answers { texts, tokens, seconds });
        }
    }
}
