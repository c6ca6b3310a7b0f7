//! `wmgen generate`.

use std::collections::{HashMap, VecDeque};
use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rand::Rng;
use serde::Deserialize;
use wmdetect::atomic_file;
use wmdetect::report::{Failure, Row, SCHEMA_VERSION};
use wmdetect::scheme::{Key, PositionKind, Scheme, Watermark};
use wmgen::engine::{Engine, Event, FinishReason, Id, LanguageModel, Options, Progress, Request};
use wmgen::model::CHUNK;
use wmgen::respond::{ModelReceipt, Receipt, Timing, WatermarkReceipt};
use wmgen::sample::Sampling;
use wmgen::text::{Chat, Role, StopMatcher, StreamDecoder, Turn, plain_prompt, stop_ids};

use super::args::GenerateArgs;
use super::model::Loaded;
use super::{keys, print, print_json, read_text, say};

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
        key.check_tokenizer(&tokenizer.binding())?;
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

    let job = Job { args, key: key.as_ref(), sampling, loaded: &loaded };
    let single = prompts.len() == 1 && args.prompts.is_none();
    let requests: Vec<Result<Request, String>> = prompts
        .into_iter()
        .enumerate()
        .map(|(index, prompt)| job.request(&prompt?, index as u64).map_err(|error| format!("{error:#}")))
        .collect();
    if single && let [Err(error)] = &requests[..] {
        bail!("{error}");
    }
    let mut output = Output {
        args,
        stream: single && args.n == 1 && !args.json,
        single,
        receipt: Vec::new(),
        failed: false,
    };
    job.generate(requests, &stop, &mut output)?;
    if let Some(path) = &args.receipt {
        write_receipt(path, &output.receipt)?;
    }
    Ok(ExitCode::from(u8::from(output.failed)))
}

/// The prompts; with `--prompts` a line that does not parse is an entry of its own.
fn prompts(args: &GenerateArgs) -> Result<Vec<Result<String, String>>> {
    if let Some(path) = &args.prompts {
        let text = read_text(path)?;
        return Ok(text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| {
                serde_json::from_str::<PromptLine>(line)
                    .map(|line| line.prompt)
                    .map_err(|error| format!("expected a JSON object such as {{\"prompt\": \"…\"}}: {error}"))
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
}

/// A text while it grows.
struct Draft<'a> {
    text: String,
    tokens: Vec<u32>,
    marked: usize,
    repeated: usize,
    decoder: StreamDecoder<'a>,
    stops: StopMatcher,
    finished: Option<FinishReason>,
}

/// The texts for one prompt while they grow.
struct Answer<'a> {
    prompt: Vec<u32>,
    sampling: Sampling,
    texts: Vec<Draft<'a>>,
    prefill: Duration,
    /// When the first token came and when the last one did; none before.
    decode: Option<(Instant, Instant)>,
}

impl Answer<'_> {
    /// Adds what an event says of one of the texts.
    fn take<M: LanguageModel>(
        &mut self,
        event: Event,
        engine: &mut Engine<M>,
        output: &Output<'_>,
    ) -> Result<()> {
        let now = Instant::now();
        match event {
            Event::Started { prefill, .. } => {
                self.prefill = prefill;
                self.decode = Some((now, now));
            }
            Event::Token { id, sequence, token } => {
                let text = &mut self.texts[sequence];
                let piece = text.push(token.id, token.position);
                if output.stream {
                    print(piece.as_bytes())?;
                }
                if text.stops.stopped() {
                    text.finished = Some(FinishReason::Stop);
                    engine.cancel_sequence(id, sequence);
                }
            }
            Event::Finished { sequence, reason, .. } => {
                self.texts[sequence].finished.get_or_insert(reason);
            }
            Event::Failed { error, .. } => return Err(error.into()),
            _ => {}
        }
        if let Some((_, end)) = &mut self.decode {
            *end = now;
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.texts.iter().all(|text| text.finished.is_some())
    }
}

impl<'a> Job<'a> {
    /// What to generate for a prompt.
    ///
    /// Each prompt has a seed of its own, counted up from the one asked for: with one seed for all, the draws of all
    /// texts would be correlated position by position.
    fn request(&self, prompt: &str, index: u64) -> Result<Request> {
        let Loaded { model, tokenizer, .. } = self.loaded;
        let prompt = if self.args.chat {
            Chat::new(tokenizer)?.prompt(&[Turn { role: Role::User, text: prompt.to_owned() }])?
        } else {
            plain_prompt(tokenizer, prompt)?
        };
        let mut stop_ids = stop_ids(tokenizer);
        stop_ids.extend(&model.config().eos);
        let request = Request {
            prompt,
            sequences: self.args.n,
            max_tokens: self.args.max_tokens,
            sampling: Sampling { seed: self.sampling.seed.wrapping_add(index), ..self.sampling },
            watermark: self.key.map(|key| Watermark::new(key.prf())),
            stop_ids,
            ..Request::new(Vec::new())
        };
        request.check(model, usize::MAX)?;
        Ok(request)
    }

    /// Generates the texts of all prompts and hands them to `output` in the order of the prompts, each as soon as it and
    /// those before it are complete.
    fn generate(
        &self,
        requests: Vec<Result<Request, String>>,
        stop: &AtomicBool,
        output: &mut Output<'_>,
    ) -> Result<()> {
        // Chunks of the model's own, so that a text does not depend on how its prompt is cut.
        let options = Options {
            together: self.args.batch.into(),
            slice: CHUNK,
            cache_bytes: usize::MAX,
            prefix_bytes: 0,
        };
        let mut engine = Engine::new(self.loaded.model.clone(), options);
        let mut answers: VecDeque<Result<Answer<'a>, String>> = VecDeque::new();
        // Which prompt a request belongs to.
        let mut prompt_of: HashMap<Id, usize> = HashMap::new();
        for (index, request) in requests.into_iter().enumerate() {
            let answer = match request {
                Ok(request) => {
                    let answer = self.answer(&request);
                    prompt_of.insert(engine.submit(request)?, index);
                    Ok(answer)
                }
                Err(error) => Err(error),
            };
            answers.push_back(answer);
        }
        let (mut done, mut events) = (0, Vec::new());
        let mut progress = Progress::Running;
        self.hand_over(&mut answers, &mut done, output)?;
        while progress == Progress::Running && !stop.load(Ordering::Relaxed) {
            progress = engine.step(&mut events);
            for event in events.drain(..) {
                // A text that a stop string has ended may have events to come.
                let place = prompt_of[&event.id()].checked_sub(done).and_then(|place| answers.get_mut(place));
                let Some(Ok(answer)) = place else { continue };
                answer.take(event, &mut engine, output)?;
                self.hand_over(&mut answers, &mut done, output)?;
            }
        }
        // Where Ctrl-C came: what has begun, as far as it got.
        for answer in answers.into_iter().flatten().filter(|answer| answer.decode.is_some()) {
            self.put(answer, output)?;
        }
        Ok(())
    }

    fn answer(&self, request: &Request) -> Answer<'a> {
        let text = || Draft {
            text: String::new(),
            tokens: Vec::new(),
            marked: 0,
            repeated: 0,
            decoder: StreamDecoder::new(&self.loaded.tokenizer),
            stops: StopMatcher::new(self.args.stop.iter().cloned()),
            finished: None,
        };
        Answer {
            prompt: request.prompt.clone(),
            sampling: request.sampling,
            texts: (0..request.sequences).map(|_| text()).collect(),
            prefill: Duration::ZERO,
            decode: None,
        }
    }

    /// Hands over what is complete at the front of `answers`; `done` counts all that were.
    fn hand_over(
        &self,
        answers: &mut VecDeque<Result<Answer<'a>, String>>,
        done: &mut usize,
        output: &mut Output<'_>,
    ) -> Result<()> {
        while answers.front().is_some_and(|answer| answer.as_ref().map_or(true, Answer::is_complete)) {
            match answers.pop_front() {
                Some(Ok(answer)) => self.put(answer, output)?,
                Some(Err(error)) => output.put_error(*done, error)?,
                None => {}
            }
            *done += 1;
        }
        Ok(())
    }

    /// Hands over the texts of one prompt.
    fn put(&self, mut answer: Answer<'a>, output: &mut Output<'_>) -> Result<()> {
        for text in &mut answer.texts {
            let rest = text.end();
            if output.stream {
                print(rest.as_bytes())?;
                if stdout().is_terminal() {
                    print(b"\n")?;
                }
            }
        }
        let now = Instant::now();
        let (start, end) = answer.decode.unwrap_or((now, now));
        let decode_s = (end - start).as_secs_f64();
        // The first token of each text is the prompt's.
        let steps: usize = answer.texts.iter().map(|text| text.tokens.len().saturating_sub(1)).sum();
        let timing = Timing {
            prefill_s: answer.prefill.as_secs_f64(),
            decode_s,
            tokens_per_s: (steps > 0 && decode_s > 0.0).then(|| steps as f64 / decode_s),
        };
        for text in answer.texts {
            output.put(&self.receipt(text, answer.prompt.clone(), answer.sampling, timing))?;
        }
        Ok(())
    }

    fn receipt(
        &self,
        text: Draft<'_>,
        prompt_tokens: Vec<u32>,
        sampling: Sampling,
        timing: Timing,
    ) -> Receipt {
        let scheme = self.key.map(Key::scheme);
        let model = &self.loaded.model;
        Receipt {
            schema_version: SCHEMA_VERSION,
            text: text.text,
            tokens: text.tokens,
            prompt_tokens,
            finish_reason: Some(text.finished.unwrap_or(FinishReason::Interrupted)),
            watermark: WatermarkReceipt {
                applied: text.marked > 0,
                scheme: scheme.map(|scheme| scheme.name().to_owned()),
                key_id: self.key.map(Key::id),
                ngram_len: scheme.map(Scheme::ngram_len),
                depth: scheme.map(Scheme::depth),
                marked_tokens: text.marked,
                repeated_contexts: text.repeated,
            },
            sampling,
            model: ModelReceipt {
                name: self.loaded.name.clone(),
                fingerprint: model.fingerprint().map(str::to_owned),
                dtype: model.dtype().as_str().to_owned(),
                softcap: model.config().attn_softcap.is_some() || model.config().final_softcap.is_some(),
            },
            timing,
        }
    }
}

impl Draft<'_> {
    /// Adds a token and returns the text that is now certain.
    fn push(&mut self, id: u32, position: Option<PositionKind>) -> String {
        self.tokens.push(id);
        match position {
            Some(PositionKind::Marked) => self.marked += 1,
            Some(PositionKind::RepeatedContext) => self.repeated += 1,
            Some(PositionKind::IncompleteContext) | None => {}
        }
        let piece = self.decoder.push(id);
        let piece = self.stops.push(&piece);
        self.text.push_str(&piece);
        piece
    }

    /// Adds what was held back, and returns it.
    fn end(&mut self) -> String {
        if self.stops.stopped() {
            return String::new();
        }
        let mut rest = self.decoder.finish();
        rest = self.stops.push(&rest);
        rest.push_str(&self.stops.finish());
        self.text.push_str(&rest);
        rest
    }
}

/// Where texts go.
struct Output<'a> {
    args: &'a GenerateArgs,
    /// The one text goes out as it grows.
    stream: bool,
    /// There is one prompt, and no `--prompts`.
    single: bool,
    receipt: Vec<String>,
    failed: bool,
}

impl Output<'_> {
    fn put(&mut self, report: &Receipt) -> Result<()> {
        let line = serde_json::to_string(report)?;
        if self.args.json {
            print(format!("{line}\n").as_bytes())?;
        } else if !(self.single && self.args.n == 1) {
            print(format!("{}\n", report.text).as_bytes())?;
        }
        self.receipt.push(line);
        Ok(())
    }

    fn put_error(&mut self, prompt: usize, error: String) -> Result<()> {
        self.failed = true;
        let row = Row::new(format!("line {}", prompt + 1), Failure::new(error));
        if self.args.json {
            return print_json(&row);
        }
        say(&format!("error: {}: {}", row.input, row.report.error));
        Ok(())
    }
}

/// Writes the JSON lines whole or not at all.
fn write_receipt(path: &Path, lines: &[String]) -> Result<()> {
    let mut content = lines.join("\n");
    content.push('\n');
    atomic_file::write(path, content.as_bytes())
        .with_context(|| format!("cannot write the receipt {}", path.display()))
}
