//! `wmgen generate`.

use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use rand::Rng;
use serde::{Deserialize, Serialize};
use wmdetect::scheme::{Key, PositionKind, Watermark};
use wmgen::generate::{Event, FinishReason, Generation, Request};
use wmgen::sample::Sampling;
use wmgen::text::{Chat, Role, StopMatcher, StreamDecoder, Turn, plain_prompt, stop_ids};

use super::args::GenerateArgs;
use super::model::Loaded;
use super::{keys, print, read_text, say};

/// One text: what `--json` prints, and the receipt that a verifier reads.
#[derive(Serialize)]
struct Report {
    schema_version: u32,
    text: String,
    /// Ids of the text.
    tokens: Vec<u32>,
    /// Ids of the prompt.
    prompt_tokens: Vec<u32>,
    finish_reason: FinishReason,
    watermark: WatermarkReport,
    sampling: SamplingReport,
    model: ModelReport,
    timing: Timing,
}

/// What was done, counted while it was done.
#[derive(Serialize)]
struct WatermarkReport {
    applied: bool,
    scheme: Option<&'static str>,
    key_id: Option<String>,
    ngram_len: Option<usize>,
    depth: Option<usize>,
    marked_tokens: usize,
    repeated_contexts: usize,
}

#[derive(Serialize)]
struct SamplingReport {
    temperature: f64,
    top_k: usize,
    top_p: f64,
    repeat_penalty: f32,
    seed: u64,
}

#[derive(Serialize)]
struct ModelReport {
    name: String,
    fingerprint: Option<String>,
    dtype: &'static str,
    softcap: bool,
}

/// Times of one prompt, which its texts share.
#[derive(Serialize, Clone, Copy)]
#[allow(clippy::struct_field_names)] // the unit is part of a JSON field's name
struct Timing {
    prefill_s: f64,
    decode_s: f64,
    tokens_per_s: Option<f64>,
}

/// A row for a prompt that failed.
#[derive(Serialize)]
struct ErrorReport {
    schema_version: u32,
    input: String,
    error: String,
}

#[derive(Deserialize)]
struct PromptLine {
    prompt: String,
}

pub(super) fn run(args: &GenerateArgs) -> Result<ExitCode> {
    let key = match &args.key {
        Some(path) => Some(keys::read(path)?),
        None if args.no_watermark => None,
        None => bail!(
            "no key: pass --key with a key file (make one with `wmgen keygen k.bin`), or --no-watermark"
        ),
    };
    let sampling = Sampling {
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        repeat_penalty: args.repeat_penalty,
        seed: args.seed.unwrap_or_else(|| rand::rng().random()),
    };
    sampling.check(key.is_some())?;
    let prompts = prompts(args)?;
    let tokenizer = args.model.open_tokenizer()?;
    if let Some(key) = &key {
        keys::check_binding(key, &tokenizer)?;
    }
    let loaded = args.model.load(tokenizer)?;

    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        // The first asks for an end with the text so far, the second does not wait for it.
        if asked.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
    .context("cannot listen for Ctrl-C")?;

    let job = Job { args, key: key.as_ref(), sampling, loaded: &loaded, stop: &stop };
    let mut receipt = Vec::new();
    let mut failed = false;
    let single = prompts.len() == 1 && args.prompts.is_none();
    for (index, prompt) in prompts.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let reports = match prompt.as_ref().map_err(Clone::clone).and_then(|prompt| {
            job.generate(prompt, index as u64, single && args.n == 1 && !args.json).map_err(Failure::from)
        }) {
            Ok(reports) => reports,
            Err(Failure::Fatal(error)) => return Err(error),
            Err(Failure::Input(error)) if single => bail!("{error}"),
            Err(Failure::Input(error)) => {
                failed = true;
                let row = ErrorReport { schema_version: 1, input: format!("line {}", index + 1), error };
                if args.json {
                    super::print_json(&row)?;
                } else {
                    say(&format!("error: {}: {}", row.input, row.error));
                }
                continue;
            }
        };
        for report in reports {
            let line = serde_json::to_string(&report)?;
            if args.json {
                print(format!("{line}\n").as_bytes())?;
            } else if !(single && args.n == 1) {
                print(format!("{}\n", report.text).as_bytes())?;
            }
            receipt.push(line);
        }
    }
    if let Some(path) = &args.receipt {
        write_receipt(path, &receipt)?;
    }
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// What went wrong with one prompt: its own fault, or the end of everything.
enum Failure {
    Input(String),
    Fatal(anyhow::Error),
}

impl Clone for Failure {
    fn clone(&self) -> Self {
        match self {
            Self::Input(text) => Self::Input(text.clone()),
            Self::Fatal(error) => Self::Input(format!("{error:#}")),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        if super::is_broken_pipe(&error) { Self::Fatal(error) } else { Self::Input(format!("{error:#}")) }
    }
}

/// The prompts; with `--prompts` a line that does not parse is an entry of its own.
fn prompts(args: &GenerateArgs) -> Result<Vec<Result<String, Failure>>> {
    if let Some(path) = &args.prompts {
        let text = read_text(path)?;
        return Ok(text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| {
                serde_json::from_str::<PromptLine>(line).map(|line| line.prompt).map_err(|error| {
                    Failure::Input(format!("expected a JSON object such as {{\"prompt\": \"…\"}}: {error}"))
                })
            })
            .collect());
    }
    let prompt = match (&args.prompt, &args.prompt_file) {
        (Some(prompt), _) => prompt.clone(),
        (None, Some(path)) => read_text(path)?,
        (None, None) if args.stdin.is_some() => read_text(Path::new("-"))?,
        (None, None) => String::new(),
    };
    Ok(vec![Ok(prompt)])
}

struct Job<'a> {
    args: &'a GenerateArgs,
    key: Option<&'a Key>,
    sampling: Sampling,
    loaded: &'a Loaded,
    stop: &'a AtomicBool,
}

/// A text while it grows.
struct Growing<'a> {
    text: String,
    tokens: Vec<u32>,
    marked: usize,
    repeated: usize,
    decoder: StreamDecoder<'a>,
    stops: StopMatcher,
    finished: Option<FinishReason>,
}

impl Job<'_> {
    /// Generates the texts for one prompt; with `stream`, the first one goes to standard output as it grows.
    ///
    /// Each prompt has a seed of its own, counted up from the one asked for: with one seed for all, the draws of all
    /// texts would be correlated position by position.
    fn generate(&self, prompt: &str, index: u64, stream: bool) -> Result<Vec<Report>> {
        let sampling = Sampling { seed: self.sampling.seed.wrapping_add(index), ..self.sampling };
        let tokenizer = &self.loaded.tokenizer;
        let prompt_tokens = if self.args.chat {
            Chat::new(tokenizer)?.prompt(&[Turn { role: Role::User, text: prompt.to_owned() }])?
        } else {
            plain_prompt(tokenizer, prompt)?
        };
        let mut stop_ids = stop_ids(tokenizer);
        stop_ids.extend(&self.loaded.model.config().eos);
        let request = Request {
            prompt: prompt_tokens.clone(),
            sequences: self.args.n,
            max_tokens: self.args.max_tokens,
            sampling,
            watermark: self.key.map(|key| Watermark::new(key.prf())),
            stop_ids,
        };
        let mut texts: Vec<Growing<'_>> = (0..self.args.n)
            .map(|_| Growing {
                text: String::new(),
                tokens: Vec::new(),
                marked: 0,
                repeated: 0,
                decoder: StreamDecoder::new(tokenizer),
                stops: StopMatcher::new(self.args.stop.iter().cloned()),
                finished: None,
            })
            .collect();

        let start = Instant::now();
        let mut first_token = None;
        let mut generation = Generation::new(&self.loaded.model, request)?;
        while let Some(event) = generation.next() {
            first_token.get_or_insert_with(Instant::now);
            match event? {
                Event::Token { sequence, id, position } => {
                    let growing = &mut texts[sequence];
                    growing.tokens.push(id);
                    match position {
                        Some(PositionKind::Marked) => growing.marked += 1,
                        Some(PositionKind::RepeatedContext) => growing.repeated += 1,
                        Some(PositionKind::IncompleteContext) | None => {}
                    }
                    let piece = growing.decoder.push(id);
                    let piece = growing.stops.push(&piece);
                    growing.text.push_str(&piece);
                    if stream {
                        print(piece.as_bytes())?;
                    }
                    if growing.stops.stopped() {
                        growing.finished = Some(FinishReason::Stop);
                        generation.finish(sequence);
                    }
                }
                Event::Finished { sequence, reason } => texts[sequence].finished = Some(reason),
            }
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        let end = Instant::now();
        for growing in &mut texts {
            if !growing.stops.stopped() {
                let mut rest = growing.decoder.finish();
                rest = growing.stops.push(&rest);
                rest.push_str(&growing.stops.finish());
                growing.text.push_str(&rest);
                if stream {
                    print(rest.as_bytes())?;
                }
            }
        }
        if stream && stdout().is_terminal() {
            print(b"\n")?;
        }
        let first_token = first_token.unwrap_or(end);
        let decode_s = (end - first_token).as_secs_f64();
        let steps: usize = texts.iter().map(|growing| growing.tokens.len().saturating_sub(1)).sum();
        let timing = Timing {
            prefill_s: (first_token - start).as_secs_f64(),
            decode_s,
            tokens_per_s: (steps > 0 && decode_s > 0.0).then(|| steps as f64 / decode_s),
        };
        Ok(texts
            .into_iter()
            .map(|growing| self.report(growing, prompt_tokens.clone(), sampling, timing))
            .collect())
    }

    fn report(
        &self,
        growing: Growing<'_>,
        prompt_tokens: Vec<u32>,
        sampling: Sampling,
        timing: Timing,
    ) -> Report {
        let scheme = self.key.map(Key::scheme);
        let model = &self.loaded.model;
        Report {
            schema_version: 1,
            text: growing.text,
            tokens: growing.tokens,
            prompt_tokens,
            finish_reason: growing.finished.unwrap_or(FinishReason::Interrupted),
            watermark: WatermarkReport {
                applied: growing.marked > 0,
                scheme: scheme.map(wmdetect::scheme::Scheme::name),
                key_id: self.key.map(Key::id),
                ngram_len: scheme.map(wmdetect::scheme::Scheme::ngram_len),
                depth: scheme.map(wmdetect::scheme::Scheme::depth),
                marked_tokens: growing.marked,
                repeated_contexts: growing.repeated,
            },
            sampling: SamplingReport {
                temperature: sampling.temperature,
                top_k: sampling.top_k,
                top_p: sampling.top_p,
                repeat_penalty: sampling.repeat_penalty,
                seed: sampling.seed,
            },
            model: ModelReport {
                name: self.loaded.name.clone(),
                fingerprint: model.fingerprint().map(str::to_owned),
                dtype: model.dtype().as_str(),
                softcap: model.config().attn_softcap.is_some() || model.config().final_softcap.is_some(),
            },
            timing,
        }
    }
}

/// Writes the JSON lines whole or not at all.
fn write_receipt(path: &Path, lines: &[String]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    let part = path.with_file_name(name);
    let mut content = lines.join("\n");
    content.push('\n');
    std::fs::write(&part, content)
        .and_then(|()| std::fs::rename(&part, path))
        .inspect_err(|_| drop(std::fs::remove_file(&part)))
        .with_context(|| format!("cannot write the receipt {}", path.display()))
}
