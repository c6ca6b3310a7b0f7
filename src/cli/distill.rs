//! `wmgen distill`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use wmdetect::shell::outputs::{Kind, Outputs};
use wmdetect::shell::{Hinted, other_than_a_file};
use wmdetect::text::Tokenizer;
use wmgen::model::{Config, LoadOptions};
use wmgen::text::stop_ids;
use wmgen::train::objective::Divergence;
use wmgen::train::targets::{self, Choice, Targets};
use wmgen::train::{Data, Distillation, Error, Lessons, Settings, Source, Teacher, start};

use super::args::{DistillArgs, ModeArg, TargetsArg};
use super::training_run::{self as run, Place, check_directory, read_examples, read_texts};
use super::{model, say};

pub(super) fn run(args: &DistillArgs) -> Result<()> {
    model::set_threads(args.run.threads)?;
    if args.targets.is_none() && args.text.is_empty() && args.examples.is_none() {
        bail!("expected text, --examples or --targets to learn from, found none");
    }
    if args.targets.is_some() && args.mode == ModeArg::OnPolicy {
        bail!(
            "--targets is a file of answers that were given before; on-policy samples need a live --teacher"
        );
    }
    check_effects(args)?;
    let teacher = match &args.targets {
        Some(_) => None,
        None => Some(model::Place::of(args.teacher.as_deref())?),
    };
    match (&args.write_targets, &args.student, &args.output, args.steps) {
        (Some(path), ..) => write_targets(args, path, teacher.as_ref()),
        (None, Some(student), Some(output), Some(steps)) => {
            learn(args, student, output, steps, teacher.as_ref())
        }
        _ => bail!("expected --student, --output and --steps, or --write-targets"),
    }
}

/// Refuses options that would have no effect. clap cannot express this for options that also conflict with one
/// another.
fn check_effects(args: &DistillArgs) -> Result<()> {
    let targets = [
        ("--targets-k", args.targets_k.is_some()),
        ("--targets-rule", args.targets_rule.is_some()),
        ("--force", args.force),
    ];
    let samples = [
        ("--lmbda", args.lmbda.is_some()),
        ("--max-completion-length", args.max_completion_length.is_some()),
        ("--prompt-tokens", args.prompt_tokens.is_some()),
    ];
    for (options, needed, there) in [
        (targets, "--write-targets", args.write_targets.is_some()),
        (samples, "--mode on-policy", args.mode == ModeArg::OnPolicy),
    ] {
        if let Some((name, _)) = options.iter().find(|(_, given)| *given && !there) {
            return Err(Hinted::new(
                format!("{name} has no effect here: expected {needed} with it, found {name} alone"),
                format!("leave {name} out, or add {needed}"),
            )
            .into());
        }
    }
    Ok(())
}

fn learn(
    args: &DistillArgs,
    student: &str,
    dir: &Path,
    steps: u64,
    teacher: Option<&model::Place>,
) -> Result<()> {
    let is_config = Path::new(student).extension().is_some_and(|extension| extension == "json");
    let start = if is_config { None } else { Some(model::Place::of(Some(student))?) };
    let mut inputs = Outputs::new(false).reads(&args.text).reads(&args.examples).reads(&args.targets);
    for place in [&start.as_ref(), &teacher].into_iter().flatten() {
        if let model::Place::Path(path) = place {
            inputs = inputs.reads([path]);
        }
    }
    let holds_run = check_directory(dir, &args.run, inputs)?;
    let settings = settings(args, steps);
    let divergence = settings.distillation.map_or(Divergence::FORWARD, |d| d.divergence);
    divergence.validate()?;
    let tokenizer_json = tokenizer_json(args, start.as_ref(), teacher)?;
    let tokenizer = Tokenizer::from_json_bytes(tokenizer_json.as_bytes(), "the tokenizer of the run")?;
    let (config, params) = if let Some(place) = &start {
        let (config, params) = start::parameters(&place.weights()?)?;
        (config, Some(params))
    } else {
        let text = std::fs::read_to_string(student).with_context(|| format!("cannot read {student}"))?;
        (Config::from_json(&text)?, None)
    };
    if config.vocab < tokenizer.vocab_size() {
        let (expected, found) = (tokenizer.vocab_size(), config.vocab);
        bail!(
            "the student's vocab_size is too small: expected at least {expected}, the tokenizer's, found {found}"
        );
    }
    let teacher = teacher.map(|place| load(args, place, &tokenizer, config.vocab)).transpose()?;
    let fingerprint = tokenizer.fingerprint().to_string();
    let listed = args.targets.as_ref();
    let listed =
        listed.map(|path| Targets::read(path, &fingerprint, config.vocab, divergence)).transpose()?;
    if let Some(listed) = listed.as_ref().filter(|listed| listed.context() > settings.context) {
        let (found, limit) = (listed.context(), settings.context);
        bail!("the targets have rows of {found} tokens, expected at most {limit}, the --context");
    }
    let data = data(args, &tokenizer, settings.context, listed.is_none())?;
    let source: &dyn Source = match (&listed, &data) {
        (Some(listed), _) => listed,
        (None, data) => data.source()?,
    };
    let lessons = Lessons { source, teacher: teacher.as_ref(), ends: stop_ids(&tokenizer) };
    let (settings, config) = (&settings, &config);
    let text = data.text.as_ref();
    let place = Place {
        dir,
        tokenizer_json: &tokenizer_json,
        tokenizer: &tokenizer,
        config,
        settings,
        args: &args.run,
        text,
    };
    place.train(holds_run, params, lessons)
}

/// Writes a teacher's targets to a file.
fn write_targets(args: &DistillArgs, path: &Path, teacher: Option<&model::Place>) -> Result<()> {
    let mut outputs = Outputs::new(args.force).reads(&args.text).reads(&args.examples);
    outputs.check_input(path, Kind::TARGETS)?;
    check_place(path)?;
    // Opened and dropped: this shows whether the file can be written before the teacher starts to work.
    drop(outputs.open(path, Kind::TARGETS)?);
    let k = args.targets_k.unwrap_or(64);
    let teacher = teacher.context("expected a teacher")?;
    if k == 0 {
        bail!("--targets-k is 0, expected at least 1");
    }
    let tokenizer = match &args.tokenizer {
        Some(path) => wmdetect::shell::open_tokenizer(path)?,
        None => teacher.tokenizer()?,
    };
    let vocab = teacher.weights()?.config().vocab;
    let data = data(args, &tokenizer, args.run.context, true)?;
    let teacher = load(args, teacher, &tokenizer, vocab)?;
    let choice = match args.targets_rule.unwrap_or(TargetsArg::TopK) {
        TargetsArg::TopK => Choice::TopK,
        TargetsArg::Sampled => Choice::Sampled,
    };
    let source = data.source()?;
    say(&source.size());
    let mut said = std::time::Instant::now();
    let count = targets::write(
        path,
        source,
        &teacher,
        (args.run.context, args.run.eval_rows),
        (k, choice),
        args.run.seed,
        &tokenizer.fingerprint().to_string(),
        |done, total| {
            if said.elapsed().as_secs() >= 20 || done == total {
                say(&format!("{done} of {total} rows"));
                said = std::time::Instant::now();
            }
        },
    )?;
    say(&format!("{count} targets in {}", path.display()));
    Ok(())
}

/// Refuses a path that a file of targets cannot have.
fn check_place(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let wrong = |expected: &str, found: &str| {
        format!(
            "cannot write the file of teacher targets {}: expected {expected}, found {found}",
            path.display()
        )
    };
    if !parent.is_dir() {
        let message = wrong("a directory that exists", &format!("no directory {}", parent.display()));
        return Err(Hinted::new(message, "make the directory first").into());
    }
    if path.is_dir() {
        return Err(Hinted::new(wrong("a file", "a directory"), "name a file in it").into());
    }
    if let Some(found) = other_than_a_file(path) {
        let message = wrong("a regular file", found);
        return Err(Hinted::new(message, "name a file that keeps what is written").into());
    }
    Ok(())
}

/// Text or examples.
struct Sources {
    text: Option<Data>,
    examples: Option<wmgen::train::examples::Examples>,
}

impl Sources {
    fn source(&self) -> Result<&dyn Source> {
        match (&self.examples, &self.text) {
            (Some(examples), _) => Ok(examples),
            (None, Some(text)) => Ok(text),
            (None, None) => bail!("expected text or --examples to learn from, found none"),
        }
    }
}

fn data(args: &DistillArgs, tokenizer: &Tokenizer, context: usize, needed: bool) -> Result<Sources> {
    let examples = args.examples.as_ref().map(|path| read_examples(path, tokenizer, context)).transpose()?;
    let text = if needed && examples.is_none() {
        Some(Data::new(&read_texts(&args.text)?, tokenizer)?)
    } else {
        None
    };
    Ok(Sources { text, examples })
}

/// Loads the teacher, if it has the student's tokenizer.
fn load(args: &DistillArgs, place: &model::Place, tokenizer: &Tokenizer, vocab: usize) -> Result<Teacher> {
    let own = place.tokenizer()?.fingerprint();
    if own != tokenizer.fingerprint() {
        let (expected, found) = (tokenizer.fingerprint().to_string(), own.to_string());
        return Err(Error::OtherTokenizer { expected, found }.into());
    }
    let device = args.run.device.open()?;
    Ok(Teacher::new(place.load(LoadOptions { device, ..LoadOptions::default() })?, vocab)?)
}

/// Returns the first tokenizer there is: that of the run that is resumed, the one asked for, the student's, the teacher's.
fn tokenizer_json(
    args: &DistillArgs,
    student: Option<&model::Place>,
    teacher: Option<&model::Place>,
) -> Result<String> {
    if let Some(dir) = &args.output
        && let Some(json) = run::resumed_tokenizer(dir, &args.run, args.tokenizer.as_deref())?
    {
        return Ok(json);
    }
    if let Some(path) = &args.tokenizer {
        return model::read_tokenizer_json(path);
    }
    for place in [student, teacher].into_iter().flatten() {
        if let Some(json) = place.tokenizer_json()? {
            return Ok(json);
        }
    }
    bail!("neither the student nor the teacher has a tokenizer.json; --tokenizer names it")
}

fn settings(args: &DistillArgs, steps: u64) -> Settings {
    let on_policy = args.mode == ModeArg::OnPolicy;
    let distillation = Distillation {
        lmbda: if on_policy { args.lmbda.unwrap_or(1.0) } else { 0.0 },
        divergence: Divergence {
            beta: args.beta.unwrap_or(if on_policy { 1.0 } else { 0.0 }),
            temperature: args.temperature,
            loss_top_k: args.loss_top_k,
            loss_add_tail: args.loss_add_tail,
        },
        max_completion_length: args.max_completion_length.unwrap_or(128).min(args.run.context),
        prompt_tokens: args.prompt_tokens.unwrap_or(32.min(args.run.context)),
    };
    Settings { distillation: Some(distillation), ..run::settings(&args.run, steps) }
}
