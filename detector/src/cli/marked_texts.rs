//! The marked texts that detectors are fitted to.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use wmdetect::scheme::GBits;
use wmdetect::scheme::{Key, TextGValues};
use wmdetect::shell::outputs::Outputs;
use wmdetect::text::Tokenizer;

use super::args::TrainArgs;

/// The false positive rates whose required lengths are reported.
pub(super) const RATES: [f64; 3] = [1e-2, 1e-3, 1e-6];

/// One line of the marked texts.
#[derive(Deserialize)]
struct Row {
    text: Option<String>,
    tokens: Option<Vec<u32>>,
    key_label: Option<String>,
    #[serde(default)]
    prompt_tokens: Vec<u32>,
}

/// The marked texts.
pub(super) struct Texts {
    /// The key's layers.
    pub depth: usize,
    /// Of each text the g-bits of its scored tokens.
    pub g: Vec<Vec<GBits>>,
    /// Public ids of the keys that marked them.
    pub key_ids: BTreeSet<String>,
}

/// The outputs of a run that reads what `args` name.
pub(super) fn outputs(args: &TrainArgs) -> Outputs {
    let reference = args.reference.as_ref().map(PathBuf::from);
    let named = [args.key.path(), args.tokenizer.path(), reference];
    Outputs::new(args.force).reads(&args.files).reads(named.into_iter().flatten())
}

pub(super) fn read_texts(args: &TrainArgs) -> Result<Texts> {
    let key = args.key.read()?;
    let tokenizer = if args.tokens { None } else { Some(args.tokenizer.open()?) };
    let (mut texts, mut key_ids) = (Vec::new(), BTreeSet::new());
    for path in &args.files {
        let file = File::open(path)
            .with_context(|| format!("cannot read {}; expected a file of JSON lines", path.display()))?;
        for (index, line) in BufReader::new(file).lines().enumerate() {
            let place = || format!("{}:{}", path.display(), index + 1);
            let line = line.with_context(place)?;
            if line.trim().is_empty() {
                continue;
            }
            let row: Row = serde_json::from_str(&line)
                .with_context(|| format!("{}: expected a JSON object with a text", place()))?;
            let (g, key_id) = g_bits(&key, tokenizer.as_ref(), row).with_context(place)?;
            texts.push(g);
            key_ids.insert(key_id);
        }
    }
    Ok(Texts { depth: key.scheme().depth(), g: texts, key_ids })
}

/// The g-bits of a text's scored tokens, and the id of the key that marked it.
fn g_bits(key: &Key, tokenizer: Option<&Tokenizer>, row: Row) -> Result<(Vec<GBits>, String)> {
    let ids = match (tokenizer, row.tokens, row.text) {
        (None, Some(ids), _) => ids,
        (Some(tokenizer), _, Some(text)) => tokenizer.encode(&text)?.ids,
        (None, None, _) => {
            bail!("no field \"tokens\"; expected an array of token ids, since --tokens was given")
        }
        (Some(_), _, None) => bail!("no field \"text\"; expected a string, or token ids and --tokens"),
    };
    let derived = row.key_label.map(|label| key.derive(&label)).transpose()?;
    let key = derived.as_ref().unwrap_or(key);
    let values = TextGValues::new(&key.prf(), &row.prompt_tokens, &ids);
    Ok((values.scored().collect(), key.id()))
}

/// How long a text must be at each of the [`RATES`], a line each.
pub(super) fn lengths_for_people(required_tokens: &[Option<u64>]) -> String {
    let mut text = String::new();
    for (rate, required) in RATES.iter().zip(required_tokens) {
        // Writing to a string cannot fail.
        let _ = match required {
            Some(tokens) => write!(
                text,
                "\n  at a false positive rate of {rate}, 9 of 10 texts of {tokens} tokens are found"
            ),
            None => write!(
                text,
                "\n  at a false positive rate of {rate}, no length is enough: do these texts carry the key's mark?"
            ),
        };
    }
    text
}
