//! `wmgen generate`.

use std::collections::VecDeque;
use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, anyhow, bail};
use rand::Rng;
use serde::Deserialize;
use wmdetect::report::{Failure, Row};
use wmdetect::shell::message;
use wmdetect::shell::outputs::{Kind, Outputs};
use wmgen::respond::{Event, KeyMark, Options, Piece, Receipt};
use wmgen::sample::Sampling;
use wmgen::text::{Prompt, Role, Turn};

use super::args::GenerateArgs;
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
        tokenizer.check_key(key)?;
    }
    let mut outputs = Outputs::new(args.force)
        .reads([&args.key, &args.prompt_file, &args.prompts].into_iter().flatten())
        .reads(&args.stdin)
        .reads(args.model.paths());
    let receipt_file = args.receipt.as_deref().map(|path| outputs.open(path, Kind::RECEIPTS)).transpose()?;
    let loaded = args.model.load(tokenizer)?;
    let stop = stop_at_ctrl_c()?;

    let single = prompts.len() == 1 && args.prompts.is_none();
    let options = Options {
        n: args.n,
        max_tokens: args.max_tokens,
        mark: key.as_ref().map(KeyMark::new),
        stop: args.stop.clone(),
        ..Options::default()
    };
    let mut responder = loaded.responder(args.batch.into());
    // For each prompt that has not ended: what is wrong with it, or nothing.
    let mut open = VecDeque::new();
    for (index, prompt) in prompts.into_iter().enumerate() {
        // With one seed for all, the draws of all prompts would be correlated position by position.
        let seed = sampling.seed.wrapping_add(index as u64);
        let options = Options { sampling: Sampling { seed, ..sampling }, ..options.clone() };
        let submitted = prompt.and_then(|prompt| {
            let submitted = responder.submit(&prompt, &options);
            submitted.map_err(|error| message(&anyhow!(error)))
        });
        open.push_back(submitted.err());
    }
    if single && let Some(Some(error)) = open.front() {
        bail!("{error}");
    }
    let mut output = Output {
        args,
        stream: single && args.n == 1 && !args.json,
        single,
        ended: 0,
        receipt: Vec::new(),
        warned: 0,
        failed: false,
    };
    output.put_refused(&mut open)?;
    while let Some((_, event)) = responder.next() {
        match event {
            Event::Piece(piece) => output.put_piece(&piece)?,
            // Prompts end in their order, so it is the first of those that are open.
            Event::Finished(receipts) => {
                receipts.iter().try_for_each(|receipt| output.put(receipt))?;
                output.pass(&mut open)?;
            }
            Event::Failed(error) if single => return Err(error.into()),
            Event::Failed(error) => {
                output.put_error(message(&anyhow!(error)))?;
                output.pass(&mut open)?;
            }
        }
        if stop.load(Ordering::Relaxed) {
            responder.stop();
        }
    }
    output.sum_up();
    if let Some(file) = receipt_file {
        let ends = if output.receipt.is_empty() { "" } else { "\n" };
        file.finish((output.receipt.join("\n") + ends).as_bytes())?;
    }
    Ok(ExitCode::from(u8::from(output.failed)))
}

/// A flag that Ctrl-C sets, to end with the text so far. A second Ctrl-C does not wait for it.
fn stop_at_ctrl_c() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}

/// The prompts; with `--prompts` a line that does not parse is an entry of its own.
fn prompts(args: &GenerateArgs) -> Result<Vec<Result<Prompt, String>>> {
    let prompt = |text| {
        if args.chat { Prompt::Chat(vec![Turn { role: Role::User, text }]) } else { Prompt::Text(text) }
    };
    if let Some(path) = &args.prompts {
        let text = read_text(path)?;
        return Ok(text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| {
                serde_json::from_str::<PromptLine>(line)
                    .map(|line| prompt(line.prompt))
                    .map_err(|error| format!("expected a JSON object such as {{\"prompt\": \"…\"}}: {error}"))
            })
            .collect());
    }
    let text = match (&args.prompt, &args.prompt_file) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => read_text(path)?,
        (None, None) if args.stdin.is_some() => read_text(Path::new("-"))?,
        (None, None) => String::new(),
    };
    Ok(vec![Ok(prompt(text))])
}

/// Where texts go.
struct Output<'a> {
    args: &'a GenerateArgs,
    /// The one text goes out as it grows.
    stream: bool,
    /// There is one prompt, and no `--prompts`.
    single: bool,
    /// Prompts that have ended.
    ended: usize,
    receipt: Vec<String>,
    /// Texts whose receipts have a warning.
    warned: usize,
    failed: bool,
}

impl Output<'_> {
    fn put_piece(&self, piece: &Piece) -> Result<()> {
        if self.stream {
            print(piece.text.as_bytes())?;
            if piece.finished.is_some() && stdout().is_terminal() {
                print(b"\n")?;
            }
        }
        Ok(())
    }

    fn put(&mut self, receipt: &Receipt) -> Result<()> {
        let line = serde_json::to_string(receipt)?;
        if self.args.json {
            print(format!("{line}\n").as_bytes())?;
        } else if !(self.single && self.args.n == 1) {
            print(format!("{}\n", receipt.text).as_bytes())?;
        }
        if self.single && self.args.n == 1 {
            for warning in &receipt.warnings {
                say(&format!("warning: {warning}"));
            }
        }
        self.warned += usize::from(!receipt.warnings.is_empty());
        self.receipt.push(line);
        Ok(())
    }

    /// Says of several texts how many can hardly be found.
    fn sum_up(&self) {
        if self.warned > 0 && !(self.single && self.args.n == 1) {
            say(&format!(
                "warning: {} of {} texts had too little choice to carry the mark; their receipts say how much",
                self.warned,
                self.receipt.len()
            ));
        }
    }

    fn put_error(&mut self, error: String) -> Result<()> {
        self.failed = true;
        let row = Row::new(format!("line {}", self.ended + 1), Failure::new(error));
        if self.args.json {
            return print_json(&row);
        }
        say(&format!("error: {}: {}", row.input, row.report.error));
        Ok(())
    }

    /// Goes on to the next prompt that was submitted.
    fn pass(&mut self, open: &mut VecDeque<Option<String>>) -> Result<()> {
        open.pop_front();
        self.ended += 1;
        self.put_refused(open)
    }

    /// Says what is wrong with the first prompts, up to one that was submitted.
    fn put_refused(&mut self, open: &mut VecDeque<Option<String>>) -> Result<()> {
        while let Some(Some(error)) = open.front_mut().map(Option::take) {
            self.put_error(error)?;
            open.pop_front();
            self.ended += 1;
        }
        Ok(())
    }
}
