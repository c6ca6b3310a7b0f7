//! `wmgen keygen`, and reading keys for the other commands.

use std::path::Path;

use anyhow::Result;
use wmdetect::scheme::Key;
use wmdetect::shell;
use wmdetect::shell::outputs::{Kind, Outputs};
use wmdetect::text::Tokenizer;

use super::args::KeygenArgs;
use super::model::Place;
use super::say;

pub(super) fn keygen(args: &KeygenArgs) -> Result<()> {
    let place = match (&args.tokenizer, &args.model) {
        (Some(path), _) => Some(Place::of_tokenizer(path)),
        (None, Some(model)) => Some(Place::of(Some(model))?),
        (None, None) => None,
    };
    // --force does not replace a file that the run reads.
    let reads = place.as_ref().and_then(Place::path);
    Outputs::new(true).reads(reads).check_input(&args.path, Kind::KEY)?;
    let binding = place.map(|place| place.tokenizer()).transpose()?.map(|tokenizer| tokenizer.binding());
    let scheme = args.preset.with_parameters(args.depth, args.ngram_len, args.channels)?;
    let key = Key::generate(scheme)?.with_tokenizer(binding);
    key.write(&args.path, args.force)?;
    say(&format!("wrote key {} to {}", key.id(), args.path.display()));
    Ok(())
}

/// Reads a key and warns on standard error if others can read it, too.
pub(super) fn read(path: &Path) -> Result<Key> {
    Ok(shell::read_key(path)?)
}

/// Checks that this program can mark with the key, and that the key and the tokenizer belong together. Warns if the key is
/// bound only to the vocabulary.
pub(super) fn check_binding(key: &Key, tokenizer: &Tokenizer) -> Result<()> {
    key.scheme().check_tournament()?;
    tokenizer.check_key(key)?;
    if key.tokenizer().is_some_and(|binding| binding.rules.is_none()) {
        say(&format!(
            "warning: key {} is bound to its tokenizer's vocabulary alone, not to its merges and other rules; `wmgen key \
             bind` binds it to them as well",
            key.id()
        ));
    }
    Ok(())
}
