//! `wmgen generate`.

use std::collections::VecDeque;
use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, anyhow, bail};
use schemars::JsonSchema;
use serde::Serialize;
use wmdetect::counted::counted;
use wmdetect::report::{Failure, Row};
use wmdetect::shell::outputs::{Kind, Outputs};
use wmdetect::shell::{Batch, INTERRUPTED, Label, OneLine, message, stop_when_asked};
use wmgen::model::Gemma;
use wmgen::respond::{Event, KeyMark, Options, Piece, Receipt, Responder};
use wmgen::sample::Sampling;
use wmgen::text::{Prompt, Role, Turn};

use super::args::GenerateArgs;
use super::{keys, print, prompts, read_text, say};

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
        frequency_penalty: args.frequency_penalty,
        presence_penalty: args.presence_penalty,
        min_p: args.min_p,
        seed: args.seed.unwrap_or_else(wmgen::sample::random_seed),
    };
    sampling.check(key.is_some())?;
    let prompts = asked(args)?;
    let tokenizer = args.model.open_tokenizer()?;
    if let Some(key) = &key {
        keys::check_binding(key, &tokenizer)?;
    }
    let mut outputs = Outputs::new(args.force)
        .reads([&args.key, &args.prompt_file, &args.prompts].into_iter().flatten())
        .reads(&args.stdin)
        .reads(args.model.paths())
        .reads(args.drafts.path());
    let receipt_file = args.receipt.as_deref().map(|path| outputs.open(path, Kind::RECEIPTS)).transpose()?;
    if args.chat {
        args.model.check_chat()?;
    }
    let draft = args.model.check_draft(&args.drafts, &tokenizer)?;
    let loaded = args.model.load(tokenizer)?;
    let draft = args.model.load_draft(&draft, &loaded.model)?;
    let stop = stop_when_asked()?;

    let single = prompts.len() == 1 && args.prompts.is_none();
    let options = Options {
        n: args.n as usize,
        max_tokens: args.max_tokens,
        mark: key.as_ref().map(KeyMark::new).transpose()?,
        stop: args.stop.clone(),
        ..Options::default()
    };
    let mut responder = loaded.responder(args.batch.into(), draft, args.drafts.draft_tokens.into());
    let mut open = VecDeque::new();
    for (index, (label, prompt)) in prompts.into_iter().enumerate() {
        // With one seed for all prompts, their draws would be correlated position by position.
        let seed = sampling.seed.wrapping_add(index as u64);
        let options = Options { sampling: Sampling { seed, ..sampling }, ..options.clone() };
        let submitted = prompt.and_then(|prompt| {
            let submitted = responder.submit(&prompt, &options);
            submitted.map_err(|error| message(&anyhow!(error)))
        });
        open.push_back(Open { label, error: submitted.err() });
    }
    if single && let Some(Open { error: Some(error), .. }) = open.front() {
        bail!("{error}");
    }
    let mut output = Output {
        args,
        stream: single && args.n == 1 && !args.json,
        single,
        open_line: false,
        shown: 0,
        receipt: Vec::new(),
        warned: 0,
        batch: if single { Batch::without_progress() } else { Batch::of("answering", ["prompt", "prompts"]) },
    };
    let written = output.put_all(&mut responder, &mut open, &stop);
    output.sum_up();
    let failed = output.batch.failures() > 0;
    // Receipts of complete texts are kept whatever ended the run, even if the reader of standard output left. A run without
    // any leaves those of an earlier run.
    if let Some(file) = receipt_file.filter(|_| !output.receipt.is_empty()) {
        file.finish((output.receipt.join("\n") + "\n").as_bytes())?;
    }
    written?;
    output.batch.finish(None, !args.json);
    if !stop.load(Ordering::Relaxed) {
        return Ok(ExitCode::from(u8::from(failed)));
    }
    if !open.is_empty() {
        say(&format!("interrupted: {} without a text", counted(open.len() as u64, "prompt")));
    }
    Ok(ExitCode::from(INTERRUPTED))
}

/// A prompt that has not ended, with its error if it has one.
struct Open {
    label: Label,
    error: Option<String>,
}

/// Returns the prompts. With `--prompts`, a line without a prompt has an entry with an error.
fn asked(args: &GenerateArgs) -> Result<Vec<(Label, Result<Prompt, String>)>> {
    let prompt = |text| {
        if args.chat { Prompt::Chat(vec![Turn { role: Role::User, text }]) } else { Prompt::Text(text) }
    };
    if let Some(path) = &args.prompts {
        let lines = prompts::read_lines(path)?;
        return Ok(lines.into_iter().map(|(label, text)| (label, text.map(prompt))).collect());
    }
    let text = match (&args.prompt, &args.prompt_file) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => read_text(path)?,
        (None, None) if args.stdin.is_some() => read_text(Path::new("-"))?,
        (None, None) => String::new(),
    };
    Ok(vec![(Label::default(), Ok(prompt(text)))])
}

/// The fields of a line, for its schema: [`tied`] writes it.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it describes what is written")]
pub(super) struct Printed {
    #[schemars(flatten)]
    receipt: Receipt,
    /// The `id` of the prompt's line; absent without `--prompts`, and if the line has none.
    #[schemars(skip_serializing_if = "Option::is_none")]
    id: Option<serde_json::Value>,
    /// The prompt's line, from 1; absent without `--prompts`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    /// Which of the prompt's texts it is, from 0; absent without `--prompts` and `-n`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
}

/// Returns a line of JSON with further fields that identify the prompt: its id as it was written, its line, and which
/// of the prompt's texts this is, from 0.
fn tied(json: &impl Serialize, label: &Label, index: Option<usize>) -> Result<String> {
    let mut line = serde_json::to_string(json)?;
    line.pop();
    let fields = [
        ("id", label.id.clone()),
        ("line", label.line.map(|number| number.to_string())),
        ("index", index.map(|index| index.to_string())),
    ];
    for (name, value) in fields {
        line.extend(value.iter().flat_map(|value| [",\"", name, "\":", value]));
    }
    line.push('}');
    Ok(line)
}

/// Output of the texts.
struct Output<'a> {
    args: &'a GenerateArgs,
    /// Whether the only text is printed as it grows.
    stream: bool,
    /// Whether there is one prompt, and no `--prompts`.
    single: bool,
    /// Whether the text so far ends in the middle of a line.
    open_line: bool,
    /// Number of texts that were printed under a heading.
    shown: usize,
    receipt: Vec<String>,
    /// Number of texts whose receipts have a warning.
    warned: usize,
    batch: Batch,
}

impl Output<'_> {
    /// Prints the responder's output until all prompts have ended.
    fn put_all(
        &mut self,
        responder: &mut Responder<Gemma>,
        open: &mut VecDeque<Open>,
        stop: &AtomicBool,
    ) -> Result<()> {
        self.put_refused(open)?;
        while let Some((_, event)) = responder.next() {
            match event {
                Event::Piece(piece) => self.put_piece(&piece)?,
                // Prompts end in order, so this is the first of the open ones.
                Event::Finished(receipts) => {
                    let label = open.pop_front().map(|open| open.label).unwrap_or_default();
                    let alone = self.single && self.args.n == 1;
                    let line = |(index, receipt)| tied(receipt, &label, (!alone).then_some(index));
                    let lines = receipts.iter().enumerate().map(line).collect::<Result<Vec<_>>>()?;
                    // Keep all of them, before printing one of them can fail.
                    self.receipt.extend_from_slice(&lines);
                    for (index, (receipt, line)) in receipts.iter().zip(lines).enumerate() {
                        self.put(&label, index, receipt, &line)?;
                    }
                    if !self.single {
                        self.batch.found("answered");
                    }
                }
                Event::Failed(error) if self.single => {
                    self.end_line()?;
                    return Err(error.into());
                }
                Event::Failed(error) => {
                    let label = open.pop_front().map(|open| open.label).unwrap_or_default();
                    self.put_error(&label, message(&anyhow!(error)))?;
                }
            }
            self.put_refused(open)?;
            if stop.load(Ordering::Relaxed) {
                responder.stop();
            }
        }
        Ok(())
    }

    fn put_piece(&mut self, piece: &Piece) -> Result<()> {
        if !self.stream {
            return Ok(());
        }
        print(piece.text.as_bytes())?;
        if !piece.text.is_empty() {
            self.open_line = !piece.text.ends_with('\n');
        }
        if piece.finished.is_some() { self.end_line() } else { Ok(()) }
    }

    /// Ends the text's last line on a terminal, so that nothing follows on it. A pipe gets only the text.
    fn end_line(&mut self) -> Result<()> {
        if std::mem::take(&mut self.open_line) && stdout().is_terminal() {
            print(b"\n")?;
        }
        Ok(())
    }

    fn put(&mut self, label: &Label, index: usize, receipt: &Receipt, line: &str) -> Result<()> {
        let alone = self.single && self.args.n == 1;
        self.warned += usize::from(!receipt.warnings.is_empty());
        if self.args.json {
            print(format!("{line}\n").as_bytes())?;
        } else if !alone {
            // As `head` does for several files.
            let blank = if self.shown > 0 { "\n" } else { "" };
            let heading = self.heading(label, index);
            print(format!("{blank}==> {heading} <==\n{}\n", receipt.text).as_bytes())?;
            self.shown += 1;
        }
        if alone {
            for warning in &receipt.warnings {
                say(&format!("warning: {warning}"));
            }
        }
        Ok(())
    }

    /// Returns the heading of a text among several: its prompt's id or line, and its number.
    fn heading(&self, label: &Label, index: usize) -> String {
        let number = format!("text {} of {}", index + 1, self.args.n);
        let name = OneLine(&label.input);
        match (self.single, self.args.n) {
            (true, _) => number,
            (false, 1) => name.to_string(),
            (false, _) => format!("{name}, {number}"),
        }
    }

    /// Says how many of several texts can hardly be detected.
    fn sum_up(&mut self) {
        self.batch.clear();
        if self.warned > 0 && !(self.single && self.args.n == 1) {
            say(&format!(
                "warning: {} of {} texts had too little choice to carry the mark; their receipts say how much",
                self.warned,
                self.receipt.len()
            ));
        }
    }

    fn put_error(&mut self, label: &Label, error: String) -> Result<()> {
        let line = self.batch.failed(&label.input, &error);
        if self.args.json {
            let line = tied(&Row::new(&label.input, Failure::new(error)), label, None)?;
            return Ok(print(format!("{line}\n").as_bytes())?);
        }
        if let Some(line) = line {
            self.batch.clear();
            say(&line);
        }
        Ok(())
    }

    /// Reports the errors of the first open prompts, up to one that was submitted.
    fn put_refused(&mut self, open: &mut VecDeque<Open>) -> Result<()> {
        while let Some(Open { error: Some(_), .. }) = open.front() {
            if let Some(Open { label, error: Some(error) }) = open.pop_front() {
                self.put_error(&label, error)?;
            }
        }
        Ok(())
    }
}
