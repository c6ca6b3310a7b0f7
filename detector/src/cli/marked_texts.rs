//! The marked texts that detectors are fitted to.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use wmdetect::scheme::GBits;
use wmdetect::scheme::{Key, TextGValues};
use wmdetect::shell::outputs::Outputs;
use wmdetect::shell::{self, Json, say};
use wmdetect::text::Tokenizer;

use super::args::TrainArgs;

/// The false positive rates whose required lengths are reported.
pub(super) const RATES: [f64; 3] = [1e-2, 1e-3, 1e-6];

/// The marked texts.
pub(super) struct Texts {
    /// The key's layers.
    pub depth: usize,
    /// The g-bits of the scored tokens of each text.
    pub g: Vec<Vec<GBits>>,
    /// Public ids of the keys that marked them.
    pub key_ids: BTreeSet<String>,
}

/// Returns the outputs of a run that reads what `args` name.
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
        shell::for_each_object(path, |label, row| {
            let found = row.map_err(Into::into).and_then(|row| g_bits(&key, tokenizer.as_ref(), row));
            let (g, key_id) = found.with_context(|| label.input.clone())?;
            texts.push(g);
            key_ids.insert(key_id);
            Ok(())
        })?;
    }
    Ok(Texts { depth: key.scheme().depth(), g: texts, key_ids })
}

/// Returns the g-bits of a text's scored tokens, and the id of the key that marked it.
fn g_bits(key: &Key, tokenizer: Option<&Tokenizer>, row: Json<'_>) -> Result<(Vec<GBits>, String)> {
    let field = |name: &str| row.get(name).filter(|value| value.kind() != "null");
    let string = |name: &str, value: Json<'_>| {
        let text = value.string().map(Cow::into_owned);
        text.with_context(|| format!("the field {name:?} holds {}; expected a string", value.kind()))
    };
    let array = |name: &str, value: Json<'_>| {
        value
            .ids()
            .with_context(|| format!("the field {name:?} holds no token ids; expected an array of them"))
    };
    let ids = match (tokenizer, field("tokens"), field("text")) {
        (None, Some(ids), _) => array("tokens", ids)?,
        (Some(tokenizer), _, Some(text)) => tokenizer.encode(&string("text", text)?)?.ids,
        (None, None, _) => {
            bail!("no field \"tokens\"; expected an array of token ids, since --tokens was given")
        }
        (Some(_), _, None) => bail!("no field \"text\"; expected a string, or token ids and --tokens"),
    };
    let label = field("key_label").map(|label| string("key_label", label)).transpose()?;
    let prompt = field("prompt_tokens").map(|ids| array("prompt_tokens", ids)).transpose()?;
    let derived = label.map(|label| key.derive(&label)).transpose()?;
    let key = derived.as_ref().unwrap_or(key);
    key.scheme().check_tournament()?;
    let values = TextGValues::new(&key.prf(), &prompt.unwrap_or_default(), &ids);
    Ok((values.scored().collect(), key.id()))
}

/// Returns how long a text must be at each of the [`RATES`], a line each.
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

/// Evidence a token, in nats, below which the texts are probably unmarked or marked with another key. A profile that is
/// fitted to chance alone reaches as much.
const LITTLE: f64 = 0.005;

/// Warns about texts that hardly carry the key's mark.
pub(super) fn warn_of_little(evidence: f64) {
    if evidence < LITTLE {
        say(&format!(
            "warning: the texts hold {evidence:.3} nats of evidence a token, which is next to nothing; expected texts that this key \
             marked"
        ));
    }
}
