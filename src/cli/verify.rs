//! `wmgen verify`.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, anyhow, bail};
use wmdetect::Keyring;
use wmdetect::counted::counted;
use wmdetect::render::people;
use wmdetect::report::{Failure, Row};
use wmdetect::shell::{
    Batch, Content, InputError, Layout, Lines, OneLine, ProgressLine, Source, for_each, read_keyring,
    verdict_code,
};
use wmdetect::statistics::PValue;
use wmdetect::text::Tokenizer;
use wmdetect::verdict::Verdict;
use wmgen::sample::Sampling;
use wmgen::text::{Prompt, Role, Turn};
use wmgen::verify::{Input, Options, Origin, SamplingSource, Verifier, VerifyError, VerifyReport};

use super::args::VerifyArgs;
use super::{keys, print, print_json, read_text, receipts, say};

pub(super) fn run(args: &VerifyArgs) -> Result<ExitCode> {
    let options = check(args)?;
    let keys = keys(args)?;
    let from_receipts = args.receipt.as_deref().map(receipts::read).transpose()?;
    let tokenizer = args.model.open_tokenizer()?;
    for key in keys.keys() {
        key.scheme().check_tournament()?;
        tokenizer.check_key(key)?;
    }
    let prompt = prompt(args, &tokenizer)?;
    if args.chat {
        args.model.check_chat()?;
    }
    let loaded = args.model.load(tokenizer)?;
    let line = Mutex::new(ProgressLine::new("reading with the model", "tokens"));
    let line = || line.lock().unwrap_or_else(PoisonError::into_inner);
    let progress = |done: usize, total: usize| line().show(done as u64, total as u64);
    let verifier = Verifier::new(&loaded.model, &loaded.name, &loaded.tokenizer, keys.keys(), options)?;
    let verifier = verifier.with_normaliser(args.text.normaliser()).with_progress(&progress);
    let verify = |input: Input<'_>, origin: &Origin| {
        let mut report = verifier.verify(input, origin).map_err(|error| error.to_string());
        if let Ok(report) = &mut report
            && (report.verdict == Verdict::Watermarked || !report.spans.is_empty())
            && let Some(warning) = keys.leak_warning(&report.key_id)
        {
            report.warnings.push(warning.message);
            report.warning_codes.push(warning.code);
        }
        line().clear();
        report
    };

    let mut output = Output { json: args.json, found: false, batch: Batch::without_progress() };
    if args.files.is_empty() {
        for (name, receipt) in from_receipts.into_iter().flatten() {
            let report = receipt.and_then(|receipt| {
                let tokens = receipt.tokens_of_text(&loaded.tokenizer).map_err(|error| error.to_string())?;
                verify(Input::Tokens(tokens), &Origin::of_receipt(&receipt))
            });
            output.put(name, report)?;
        }
    } else {
        let origin = match from_receipts {
            Some(receipts) => receipts::common(receipts, &loaded.tokenizer)?,
            None => given(args, prompt),
        };
        for_each(&args.files, &layout(args), |label, source| {
            let report = source.and_then(Source::in_memory).map_err(|error| match (&error, error.advice()) {
                // The text of this error names a flag that only wmdetect has.
                (InputError::LongLine { .. }, _) | (_, None) => error.to_string(),
                (_, Some(advice)) => format!("{error}; {advice}"),
            });
            let report = report.and_then(|text| match text {
                Content::Text(bytes) => verify(Input::Bytes(&bytes), &origin),
                Content::Tokens(ids) => verify(Input::Tokens(&ids), &origin),
            });
            output.put(label.input.clone(), report)
        })?;
    }
    let Output { batch, found, .. } = output;
    let failed = batch.failures() > 0;
    batch.finish(Some(args.fpr), !args.json);
    Ok(verdict_code(failed, args.exit_code && !found))
}

/// Returns the keys to try.
fn keys(args: &VerifyArgs) -> Result<Keyring> {
    match (&args.keyring, &args.key) {
        (Some(dir), _) => Ok(read_keyring(dir)?),
        (None, Some(key)) => Ok(keys::read(key)?.into()),
        (None, None) => bail!("no key: pass --key with a key file, or --keyring with a directory of keys"),
    }
}

/// Returns how the files hold their texts.
fn layout(args: &VerifyArgs) -> Layout {
    let field = || args.field.clone().unwrap_or(if args.tokens { "tokens" } else { "text" }.into());
    let lines = || Lines { field: field(), id_field: args.id_field.clone(), ..Lines::default() };
    Layout { tokens: args.tokens, lines: args.jsonl.then(lines) }
}

/// Returns the options. Refuses those that cannot decide anything, before a model is loaded.
fn check(args: &VerifyArgs) -> Result<Options> {
    if args.files.is_empty() && args.receipt.is_none() {
        bail!("no text: pass a FILE, - for standard input, or --receipt with a text's receipt");
    }
    let options = Options {
        fpr: args.fpr,
        random_keys: args.monte_carlo.unwrap_or(0),
        stop_early: args.stop_early,
        unedited: args.no_edits,
    };
    let check = options.check().and_then(|()| given(args, Vec::new()).check());
    check.map_err(|error| match error {
        VerifyError::RandomKeys { found, fpr, expected } => anyhow!(
            "--monte-carlo {found} gives no p below 1/{}, so --fpr {fpr} is out of reach; expected at least {expected} keys",
            found + 1
        ),
        VerifyError::Greedy => anyhow!(
            "--temperature is 0, under which no token is drawn and no text carries a mark; expected more than 0"
        ),
        error => error.into(),
    })?;
    Ok(options)
}

/// Returns the prompt's tokens; empty if the prompt is not known.
fn prompt(args: &VerifyArgs, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    let text = match (&args.prompt, &args.prompt_file) {
        (Some(prompt), _) => prompt.clone(),
        (None, Some(path)) => read_text(path)?,
        (None, None) if args.chat => bail!("--chat without a prompt; pass --prompt or --prompt-file"),
        (None, None) => return Ok(Vec::new()),
    };
    let prompt =
        if args.chat { Prompt::Chat(vec![Turn { role: Role::User, text }]) } else { Prompt::Text(text) };
    Ok(prompt.ids(tokenizer)?)
}

/// Returns what the command line says about the texts.
fn given(args: &VerifyArgs, prompt: Vec<u32>) -> Origin {
    let sampling = Sampling { top_k: args.top_k, top_p: args.top_p, ..Sampling::default() };
    match args.temperature {
        Some(temperature) => Origin::given(prompt, Sampling { temperature, ..sampling }),
        None => Origin::of_any_temperature(prompt, sampling),
    }
}

/// Output of the reports.
struct Output {
    json: bool,
    /// Whether a text is watermarked.
    found: bool,
    batch: Batch,
}

impl Output {
    fn put(&mut self, input: String, report: Result<VerifyReport, String>) -> Result<()> {
        match report {
            Ok(report) => {
                let (verdict, row) = (report.verdict, Row::new(input, report));
                if self.json {
                    print_json(&row)?;
                } else {
                    print(for_people(&row).as_bytes())?;
                }
                self.found |= verdict == Verdict::Watermarked;
                self.batch.found(verdict.name());
                Ok(())
            }
            Err(error) => {
                let line = self.batch.failed(&input, &error);
                if self.json {
                    return print_json(&Row::new(input, Failure::new(error)));
                }
                if let Some(line) = line {
                    say(&line);
                }
                Ok(())
            }
        }
    }
}

/// Formats a report in a few lines: the verdict first.
fn for_people(Row { input, report, .. }: &Row<VerifyReport>) -> String {
    let p = PValue { log10: report.log10_p, kind: report.p_kind };
    let mut text = format!("{}: {} (p = {p})", OneLine(input), report.verdict);
    // Writing to a string cannot fail.
    let _ = write!(text, "\n  {} of {} scored", report.scored_tokens, counted(report.tokens, "token"));
    if report.read_tokens < report.tokens {
        let _ = write!(text, ", {} read", report.read_tokens);
    }
    let _ = write!(text, "; ln e-value {:.1}, at most {:.1}", report.ln_e, report.ln_ceiling);
    if report.random_keys > 0 {
        let _ = write!(text, "; rank among {}", counted(report.random_keys, "random key"));
    }
    if report.verdict != Verdict::Watermarked {
        let (power, fpr) = (report.power, report.fpr);
        let _ = write!(text, "\n  a marked text like this would reach {fpr} with probability {power:.2}");
    }
    let of = report.keys_tried.map_or_else(String::new, |keys| format!(", the best of {keys}"));
    let _ = write!(
        text,
        "\n  key {}, {}{of}; model {}",
        report.key_id,
        report.scheme,
        OneLine(&report.model.to_string())
    );
    let temperatures: Vec<String> = report.sampling.temperatures.iter().map(ToString::to_string).collect();
    let source = match report.sampling.source {
        SamplingSource::Receipt => "of the receipt",
        SamplingSource::Given => "as given",
        SamplingSource::Mixed => "mixed, none given",
    };
    let prompt = match report.prompt_tokens {
        0 => "prompt not known".to_owned(),
        tokens => format!("prompt of {}", counted(tokens, "token")),
    };
    let _ = write!(text, "\n  {prompt}; temperature {} ({source})", temperatures.join(", "));
    for span in &report.spans {
        let (unit, [start, end]) = span.bytes.map_or(("tokens", span.tokens), |bytes| ("bytes", bytes));
        let p = PValue { log10: span.log10_p, kind: report.p_kind };
        let _ = write!(text, "\n  marked: {unit} {start} to {end} (p = {p})");
    }
    if let Some(changed) = people::changed(report.normalisation, report.forms_tried) {
        let _ = write!(text, "\n  changed before reading: {changed}");
    }
    for warning in &report.warnings {
        let _ = write!(text, "\n  warning: {}", OneLine(warning));
    }
    text.push('\n');
    text
}
