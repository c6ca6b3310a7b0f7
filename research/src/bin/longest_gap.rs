//! How long do running responses wait while a long prompt is read?
//!
//! `cargo run --release -p wmgen-research --bin longest_gap -- MODEL TOKENS`
//!
//! Seven responses run with a short eighth. When that ends, a request with a prompt of TOKENS random tokens takes its
//! place. Prints the longest and the median time between two tokens of one of the seven, in seconds.

use std::error::Error;
use std::io::Write;
use std::time::Instant;

use wmgen::engine::{Engine, Event, Options, Progress, Request};
use wmgen::model::{Gemma, LoadOptions};
use wmgen::sample::Sampling;

/// Responses whose tokens are timed.
const RUNNING: usize = 7;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, tokens] = &args[..] else { return Err("expected two arguments: MODEL TOKENS".into()) };
    let tokens: usize = tokens.parse()?;
    let model = Gemma::load(path, LoadOptions::default())?;
    let vocab = model.config().vocab as u32;
    let request = |seed: u32, prompt: usize, max_tokens: usize| Request {
        max_tokens,
        sampling: Sampling { seed: seed.into(), ..Sampling::default() },
        ..Request::new(
            (0..prompt as u32).map(|i| i.wrapping_mul(2_654_435_761).wrapping_add(seed) % vocab).collect(),
        )
    };
    let mut engine = Engine::new(model, Options::default());
    let mut timed = Vec::new();
    for seed in 0..RUNNING as u32 {
        timed.push((engine.submit(request(seed, 16, 60))?, None::<Instant>));
    }
    engine.submit(request(7, 16, 10))?;
    let long = engine.submit(request(8, tokens, 4))?;

    let (mut gaps, mut events, mut prefill) = (Vec::new(), Vec::new(), None);
    loop {
        let progress = engine.step(&mut events);
        let now = Instant::now();
        for event in events.drain(..) {
            match event {
                Event::Token { id, .. } => {
                    let Some((_, last)) = timed.iter_mut().find(|(timed, _)| *timed == id) else { continue };
                    gaps.extend(last.replace(now).map(|last| (now - last).as_secs_f64()));
                }
                Event::Started { id, prefill: spent, .. } if id == long => prefill = Some(spent),
                _ => {}
            }
        }
        if progress == Progress::Idle {
            break;
        }
    }
    gaps.sort_by(f64::total_cmp);
    let (Some(longest), Some(median), Some(prefill)) = (gaps.last(), gaps.get(gaps.len() / 2), prefill)
    else {
        return Err("expected tokens of the running responses and a prompt that was read, found none".into());
    };
    let line = format!("longest gap {longest:.3}, median {median:.3}, prompt {:.3}\n", prefill.as_secs_f64());
    std::io::stdout().write_all(line.as_bytes())?;
    Ok(())
}
