//! `wmgen verify`.

use std::f64::consts::LN_10;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use wmdetect::id_list::{self, IdList};
use wmdetect::model_ratio::{self, Evidence, Options};
use wmdetect::report::{Changes, ErrorRow, SCHEMA_VERSION};
use wmdetect::scheme::Key;
use wmdetect::statistics::PValue;
use wmdetect::text::Tokenizer;
use wmdetect::text::normalise::Normaliser;
use wmdetect::verdict::Verdict;
use wmgen::respond::Receipt;
use wmgen::sample::Sampling;
use wmgen::text::{Chat, Role, Turn, plain_prompt};
use wmgen::verify::{
    Reader, SamplingSource, TEMPERATURES, VerifyDetector, VerifyModel, VerifyReport, VerifySampling,
    VerifySpan,
};

use super::args::VerifyArgs;
use super::model::Loaded;
use super::{keys, print, print_json, read_bytes, read_text, receipts, say};

/// What is known of how a text was made.
struct Origin {
    prompt: Vec<u32>,
    settings: Vec<Sampling>,
    source: SamplingSource,
    warnings: Vec<String>,
}

/// A text as tokens.
#[derive(Default)]
struct Text {
    ids: Vec<u32>,
    /// The bytes that each token covers; none where the input was token ids.
    offsets: Option<Vec<Range<usize>>>,
    changes: Changes,
}

pub(super) fn run(args: &VerifyArgs) -> Result<ExitCode> {
    check(args)?;
    let key = keys::read(&args.key)?;
    let given_receipts = args.receipt.as_deref().map(receipts::read).transpose()?;
    let tokenizer = args.model.open_tokenizer()?;
    key.check_tokenizer(&tokenizer.binding())?;
    let prompt = prompt(args, &tokenizer)?;
    let loaded = args.model.load(tokenizer)?;
    let job = Job { args, key: &key, loaded: &loaded };

    let mut failed = false;
    let mut show = |input: String, report: Result<VerifyReport, String>| match report {
        Ok(report) => {
            let report = VerifyReport { input, ..report };
            if args.json { print_json(&report) } else { Ok(print(for_people(&report).as_bytes())?) }
        }
        Err(error) => {
            failed = true;
            if args.json {
                return print_json(&ErrorRow { schema_version: SCHEMA_VERSION, input, error });
            }
            say(&format!("error: {input}: {error}"));
            Ok(())
        }
    };
    if args.files.is_empty() {
        for (name, receipt) in given_receipts.into_iter().flatten() {
            let report = receipt.and_then(|receipt| {
                let text = Text { ids: receipt.tokens.clone(), ..Text::default() };
                job.verify(&job.origin(&receipt), text)
            });
            show(name, report)?;
        }
    } else {
        let origin = match given_receipts {
            Some(receipts) => job.origin(&receipts::common(receipts)?),
            None => given(args, prompt),
        };
        for path in &args.files {
            for (name, text) in job.texts(path) {
                show(name, text.and_then(|text| job.verify(&origin, text)))?;
            }
        }
    }
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Refuses what cannot decide anything, before a model is loaded.
fn check(args: &VerifyArgs) -> Result<()> {
    if args.files.is_empty() && args.receipt.is_none() {
        bail!("no text: pass a FILE, - for standard input, or --receipt with a text's receipt");
    }
    if !(args.fpr > 0.0 && args.fpr < 1.0) {
        bail!("--fpr is {}, expected a rate above 0 and below 1, such as 0.001", args.fpr);
    }
    if let Some(keys) = args.monte_carlo
        && 1.0 / (f64::from(keys) + 1.0) > args.fpr
    {
        bail!(
            "--monte-carlo {keys} gives no p below 1/{}, so --fpr {} is out of reach; expected at least {} keys",
            keys + 1,
            args.fpr,
            (1.0 / args.fpr - 1.0 - 1e-9).ceil()
        );
    }
    if args.temperature == Some(0.0) {
        bail!(
            "--temperature is 0, under which no token is drawn and no text carries a mark; expected more than 0"
        );
    }
    Ok(given(args, Vec::new()).settings.iter().try_for_each(|setting| setting.check(true))?)
}

/// The prompt's tokens, none if it is not known.
fn prompt(args: &VerifyArgs, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    let text = match (&args.prompt, &args.prompt_file) {
        (Some(prompt), _) => prompt.clone(),
        (None, Some(path)) => read_text(path)?,
        (None, None) if args.chat => bail!("--chat without a prompt; pass --prompt or --prompt-file"),
        (None, None) => return Ok(Vec::new()),
    };
    if args.chat {
        return Ok(Chat::new(tokenizer)?.prompt(&[Turn { role: Role::User, text }])?);
    }
    Ok(plain_prompt(tokenizer, &text)?)
}

/// What the command line says.
fn given(args: &VerifyArgs, prompt: Vec<u32>) -> Origin {
    let setting = |temperature| Sampling {
        temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        repeat_penalty: 1.0,
        seed: 0,
    };
    let (source, settings) = match args.temperature {
        Some(temperature) => (SamplingSource::Given, vec![setting(temperature)]),
        None => (SamplingSource::Mixed, TEMPERATURES.map(setting).to_vec()),
    };
    Origin { prompt, settings, source, warnings: Vec::new() }
}

struct Job<'a> {
    args: &'a VerifyArgs,
    key: &'a Key,
    loaded: &'a Loaded,
}

impl Job<'_> {
    /// What a receipt says. A receipt of another model or key does not make p wrong: it makes it useless or beside the
    /// point, which is said.
    fn origin(&self, receipt: &Receipt) -> Origin {
        let mut warnings = Vec::new();
        let model = self.model();
        if receipt.model.fingerprint != model.fingerprint {
            warnings.push(format!(
                "the receipt is of model {}, but the text was read with {}; p is valid, but the mark may be missed",
                describe(&receipt.model.name, receipt.model.fingerprint.as_deref()),
                describe(&model.name, model.fingerprint.as_deref())
            ));
        }
        let id = self.key.id();
        match &receipt.watermark.key_id {
            Some(key_id) if *key_id == id => {}
            Some(key_id) => {
                warnings.push(format!(
                    "the receipt is of key {key_id}, but the mark that was looked for is of key {id}"
                ));
            }
            None => warnings.push(format!(
                "the receipt says that the text was not marked; looked for the mark of key {id}"
            )),
        }
        Origin {
            prompt: receipt.prompt_tokens.clone(),
            settings: vec![Sampling { seed: 0, ..receipt.sampling }],
            source: SamplingSource::Receipt,
            warnings,
        }
    }

    fn model(&self) -> VerifyModel {
        VerifyModel {
            name: self.loaded.name.clone(),
            fingerprint: self.loaded.model.fingerprint().map(str::to_owned),
        }
    }

    /// The texts of a file, each with its name, or what is wrong with it.
    fn texts(&self, path: &Path) -> Vec<(String, Result<Text, String>)> {
        let name = path.display().to_string();
        let bytes = match read_bytes(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let error =
                    format!("cannot read it: {error}; expected a readable file, or - for standard input");
                return vec![(name, Err(error))];
            }
        };
        if !self.args.tokens {
            let text = Normaliser::default()
                .encode(&self.loaded.tokenizer, &bytes)
                .map(|(encoded, changes)| Text { ids: encoded.ids, offsets: Some(encoded.offsets), changes })
                .map_err(|error| error.to_string());
            return vec![(name, text)];
        }
        let named = |list: IdList| {
            let name = list.line.map_or_else(|| name.clone(), |line| format!("{name}:{line}"));
            let text = list.ids.map(|ids| Text { ids, ..Text::default() });
            (name, text.map_err(|error| error.to_string()))
        };
        id_list::lists(&bytes).map(named).collect()
    }

    fn verify(&self, origin: &Origin, text: Text) -> Result<VerifyReport, String> {
        let Text { mut ids, offsets, changes } = text;
        let mut prompt = origin.prompt.clone();
        // `<bos>` is the start, never drawn.
        let bos = self.loaded.tokenizer.bos();
        if bos.is_some() && ids.first().copied() == bos {
            ids.remove(0);
            if prompt.is_empty() {
                prompt.extend(bos);
            }
        }
        let vocabulary = self.loaded.model.config().vocab;
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
            return Err(format!(
                "token id {id} is outside the vocabulary of {vocabulary}; is it another model's?"
            ));
        }
        if origin.settings.iter().any(|setting| setting.temperature == 0.0) {
            return Err(
                "the receipt says temperature 0, under which no token is drawn and no text carries a mark; \
                        expected the receipt of a marked text"
                    .into(),
            );
        }
        let mut reader = Reader::new(&self.loaded.model, bos, origin.settings.clone())
            .map_err(|error| error.to_string())?;
        let options = Options {
            stop_at: self.args.stop_early.then_some(self.args.fpr),
            monte_carlo: self.args.monte_carlo.unwrap_or(0) as usize,
            unedited: self.args.no_edits,
        };
        let evidence = model_ratio::verify(&mut reader, &self.key.prf(), &prompt, &ids, options)
            .map_err(|error| error.to_string())?;
        let mut warnings = origin.warnings.clone();
        self.warn(&evidence, &mut warnings);
        if changes.invalid_utf8 > 0 {
            warnings.push("the text is not UTF-8; what is not was replaced by U+FFFD".into());
        }
        Ok(self.report(origin, &evidence, prompt.len(), ids.len(), offsets.as_deref(), changes, warnings))
    }

    /// What makes the evidence less than it seems.
    fn warn(&self, evidence: &Evidence, warnings: &mut Vec<String>) {
        let scheme = self.key.scheme();
        if evidence.approximate {
            warnings.push(format!(
                "the g-values of {} are not independent under the null hypothesis, so p is approximate",
                scheme.name()
            ));
        }
        let candidate = |t: usize| evidence.surprisals.iter().any(|surprisals| surprisals[t].is_finite());
        let read = evidence.tokens.len();
        let strange = (0..read).filter(|&t| !candidate(t)).count();
        if 2 * strange > read {
            warnings.push(format!(
                "{strange} of {read} tokens are none that the model would have drawn with these settings; check model, \
                 prompt, --top-k and --top-p"
            ));
        }
        let repeated = (scheme.context_len()..read).filter(|&t| evidence.tokens[t].is_none()).count();
        if 2 * repeated > read {
            warnings.push(format!("{repeated} of {read} tokens repeat an earlier context and do not count"));
        }
    }

    #[allow(clippy::too_many_arguments)] // each a part of the report
    fn report(
        &self,
        origin: &Origin,
        evidence: &Evidence,
        prompt_tokens: usize,
        tokens: usize,
        offsets: Option<&[Range<usize>]>,
        changes: Changes,
        warnings: Vec<String>,
    ) -> VerifyReport {
        let p = evidence.deciding();
        let kind = evidence.p_value().kind;
        let span = |window: wmdetect::segments::Window| {
            let p = PValue { log10: window.ln_p / LN_10, kind };
            let covered = offsets.and_then(|offsets| offsets.get(window.start..window.end));
            let bytes = covered.and_then(|covered| Some((covered.first()?, covered.last()?)));
            VerifySpan {
                bytes: bytes.map(|(first, last)| [first.start as u64, last.end as u64]),
                tokens: [window.start as u64, window.end as u64],
                score: window.score,
                p_value: p.p(),
                log10_p: p.log10,
                temperature: origin.settings[window.track].temperature,
            }
        };
        let first = &origin.settings[0];
        VerifyReport {
            schema_version: SCHEMA_VERSION,
            input: String::new(),
            scheme: self.key.scheme().name().into(),
            key_id: self.key.id(),
            model: self.model(),
            tokenizer: offsets.map(|_| self.loaded.tokenizer.name().to_owned()),
            prompt_tokens: prompt_tokens as u64,
            tokens: tokens as u64,
            read_tokens: evidence.tokens.len() as u64,
            scored_tokens: evidence.scored_tokens() as u64,
            detector: VerifyDetector::ModelRatio,
            ln_e: evidence.ln_sup,
            ln_ceiling: evidence.ln_ceiling,
            log10_p_text: evidence.text_only.map(|p| p.log10),
            power: evidence.power(self.args.fpr).unwrap_or_default(),
            p_value: p.p(),
            log10_p: p.log10,
            p_kind: p.kind,
            random_keys: evidence.monte_carlo.map_or(0, |rank| rank.keys as u64),
            monte_carlo_p: evidence.monte_carlo.map(|rank| rank.p),
            fpr: self.args.fpr,
            verdict: evidence.verdict(self.args.fpr),
            sampling: VerifySampling {
                source: origin.source,
                temperatures: origin.settings.iter().map(|setting| setting.temperature).collect(),
                shares: evidence.shares.clone(),
                top_k: first.top_k as u64,
                top_p: first.top_p,
                repeat_penalty: first.repeat_penalty,
            },
            spans: evidence.passages(self.args.fpr).into_iter().map(span).collect(),
            warnings,
            normalisation: (!changes.is_empty()).then_some(changes),
        }
    }
}

/// `gemma-3-270m (1f0c2a97)`.
fn describe(name: &str, fingerprint: Option<&str>) -> String {
    let short = fingerprint.map_or("no fingerprint", |digest| digest.get(..8).unwrap_or(digest));
    format!("{name} ({short})")
}

/// A report in a few lines: the verdict first.
fn for_people(report: &VerifyReport) -> String {
    let p = PValue { log10: report.log10_p, kind: report.p_kind };
    let mut text = format!("{}: {} (p = {p})", report.input, report.verdict);
    // Writing to a string cannot fail.
    let _ = write!(text, "\n  {} of {} tokens scored", report.scored_tokens, report.tokens);
    if report.read_tokens < report.tokens {
        let _ = write!(text, ", {} read", report.read_tokens);
    }
    let _ = write!(text, "; ln e-value {:.1}, at most {:.1}", report.ln_e, report.ln_ceiling);
    if report.random_keys > 0 {
        let _ = write!(text, "; rank among {} random keys", report.random_keys);
    }
    if report.verdict != Verdict::Watermarked {
        let (power, fpr) = (report.power, report.fpr);
        let _ = write!(text, "\n  a marked text like this would reach {fpr} with probability {power:.2}");
    }
    let _ = write!(
        text,
        "\n  key {}, {}; model {}",
        report.key_id,
        report.scheme,
        describe(&report.model.name, report.model.fingerprint.as_deref())
    );
    let temperatures: Vec<String> = report.sampling.temperatures.iter().map(ToString::to_string).collect();
    let source = match report.sampling.source {
        SamplingSource::Receipt => "of the receipt",
        SamplingSource::Given => "as given",
        SamplingSource::Mixed => "mixed, none given",
    };
    let prompt = match report.prompt_tokens {
        0 => "prompt not known".to_owned(),
        tokens => format!("prompt of {tokens} tokens"),
    };
    let _ = write!(text, "\n  {prompt}; temperature {} ({source})", temperatures.join(", "));
    for span in &report.spans {
        let (unit, [start, end]) = span.bytes.map_or(("tokens", span.tokens), |bytes| ("bytes", bytes));
        let p = PValue { log10: span.log10_p, kind: report.p_kind };
        let _ = write!(text, "\n  marked: {unit} {start} to {end} (p = {p})");
    }
    for warning in &report.warnings {
        let _ = write!(text, "\n  warning: {warning}");
    }
    text.push('\n');
    text
}
