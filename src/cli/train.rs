//! `wmgen train`.

use anyhow::{Context, Result, bail};
use wmdetect::shell::outputs::Outputs;
use wmdetect::text::Tokenizer;
use wmgen::model::Config;
use wmgen::train::{Data, Lessons, Sizes, Source, corpus, start, tokenizer};

use super::args::TrainArgs;
use super::training_run::{self as run, Place, check_directory, read_examples, read_texts};
use super::{model, say};

pub(super) fn run(args: &TrainArgs) -> Result<()> {
    model::set_threads(args.run.threads)?;
    let dir = args.output.as_path();
    let from = args.from.as_deref().map(|from| model::Place::of(Some(from))).transpose()?;
    let mut inputs = Outputs::new(false).reads(&args.text).reads(&args.examples);
    if let Some(model::Place::Path(path)) = &from {
        inputs = inputs.reads([path]);
    }
    let holds_run = check_directory(dir, &args.run, inputs)?;
    let text = read_texts(&args.text)?;
    let tokenizer_json = tokenizer_json(args, from.as_ref(), &text)?;
    let tokenizer = Tokenizer::from_json_bytes(tokenizer_json.as_bytes(), "the tokenizer of the run")?;
    say(&format!("{} entries in the vocabulary; cutting the text into tokens", tokenizer.vocab_size()));
    let (config, params) = match &from {
        Some(from) => start::parameters(&from.weights()?).map(|(config, params)| (config, Some(params)))?,
        None => (config(args, tokenizer.vocab_size())?, None),
    };
    if config.vocab < tokenizer.vocab_size() {
        bail!(
            "the tokenizer has {} entries, expected at most {}, the model's vocabulary",
            tokenizer.vocab_size(),
            config.vocab
        );
    }
    let settings = run::settings(&args.run, args.steps);
    let context = settings.context;
    let examples = args.examples.as_ref().map(|path| read_examples(path, &tokenizer, context)).transpose()?;
    let data = if examples.is_none() { Some(Data::new(&text, &tokenizer)?) } else { None };
    let source: &dyn Source = match (&examples, &data) {
        (Some(examples), _) => examples,
        (None, Some(data)) => data,
        (None, None) => bail!("expected text or examples, found neither"),
    };
    let lessons = Lessons { source, teacher: None, ends: Vec::new() };
    let (args, settings, config) = (&args.run, &settings, &config);
    let place = Place {
        dir,
        tokenizer_json: &tokenizer_json,
        tokenizer: &tokenizer,
        config,
        settings,
        args,
        text: data.as_ref(),
    };
    place.train(holds_run, params, lessons)
}

/// Returns the first tokenizer there is: that of the run that is resumed, the one asked for, that of the model to continue from, or
/// a new one.
fn tokenizer_json(args: &TrainArgs, from: Option<&model::Place>, text: &str) -> Result<String> {
    if let Some(json) = run::resumed_tokenizer(&args.output, &args.run, args.tokenizer.as_deref())? {
        return Ok(json);
    }
    if let Some(path) = &args.tokenizer {
        return model::read_tokenizer_json(path);
    }
    if let Some(from) = from {
        let json = from.tokenizer_json()?;
        return json.context("a GGUF file has no tokenizer.json; --tokenizer names the model's");
    }
    if args.examples.is_some() {
        bail!("examples give no vocabulary: expected --from or --tokenizer, found neither");
    }
    say("learning a vocabulary");
    let paragraphs: Vec<&str> = corpus::documents(text).into_iter().flatten().collect();
    Ok(tokenizer::train(&paragraphs, args.vocab)?)
}

fn config(args: &TrainArgs, vocab: usize) -> Result<Config> {
    if let Some(path) = &args.config {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let config = Config::from_json(&text)?;
        if config.vocab < vocab {
            bail!(
                "{} has a vocabulary of {}, the tokenizer has {vocab}; set vocab_size to {vocab}",
                path.display(),
                config.vocab
            );
        }
        return Ok(config);
    }
    let sizes = Sizes {
        hidden: args.hidden,
        layers: args.layers,
        heads: args.heads,
        kv_heads: args.kv_heads,
        head_dim: args.head_dim,
        intermediate: args.intermediate,
        window: args.window,
        context: args.run.context,
    };
    Ok(sizes.gemma2(vocab)?)
}
