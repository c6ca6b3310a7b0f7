//! `wmgen keygen` and `wmgen key`.

use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;
use wmdetect::hex;
use wmdetect::scheme::key::write_private;
use wmdetect::scheme::{ContextRule, Key};
use wmdetect::shell::outputs::{Kind, Outputs};
use wmdetect::shell::{self, Hinted, OneLine};
use wmdetect::text::Tokenizer;

use super::args::{CompatScheme, KeyCommand, KeygenArgs};
use super::{model, print, print_json, say};

pub(super) fn keygen(args: &KeygenArgs) -> Result<()> {
    let place = match (&args.tokenizer, &args.model) {
        (Some(path), _) => Some(path.clone()),
        (None, Some(model)) => Some(model::locate(model)?),
        (None, None) => None,
    };
    not_an_input(&args.path, place.iter())?;
    let binding =
        place.map(|path| shell::open_tokenizer(path).map(|tokenizer| tokenizer.binding())).transpose()?;
    let scheme = args.preset.scheme().with_parameters(args.depth, args.ngram_len, args.channels)?;
    let key = Key::generate(scheme)?.with_tokenizer(binding);
    key.write(&args.path, args.force)?;
    say(&format!("wrote key {} to {}", key.id(), args.path.display()));
    Ok(())
}

/// Refuses to write over a file that the run reads, with `--force`, too.
fn not_an_input<P: AsRef<Path>>(path: &Path, inputs: impl IntoIterator<Item = P>) -> Result<()> {
    Ok(Outputs::new(true).reads(inputs).check_input(path, Kind::KEY)?)
}

/// Reads a key and warns on standard error if others can read it, too.
pub(super) fn read(path: &Path) -> Result<Key> {
    Ok(shell::read_key(path)?)
}

/// Checks that a key and a tokenizer belong together, and warns where that is known of the vocabulary alone.
pub(super) fn check_binding(key: &Key, tokenizer: &Tokenizer) -> Result<()> {
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

#[derive(Serialize)]
struct KeyReport<'a> {
    schema_version: u32,
    key_id: String,
    scheme: &'a str,
    depth: usize,
    ngram_len: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    shortest_context: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channels: Option<u16>,
    label: Option<&'a str>,
    tokenizer: Option<TokenizerReport<'a>>,
}

#[derive(Serialize)]
struct TokenizerReport<'a> {
    name: &'a str,
    fingerprint: String,
    rules: Option<String>,
}

pub(super) fn key(command: &KeyCommand) -> Result<()> {
    match command {
        KeyCommand::Show { key: path, json } => {
            let key = read(path)?;
            let shortest = match key.scheme().context_rule() {
                ContextRule::Shortest { shortest, .. } => Some(shortest),
                ContextRule::Whole { .. } => None,
            };
            let report = KeyReport {
                schema_version: 1,
                key_id: key.id(),
                scheme: key.scheme().name(),
                depth: key.scheme().depth(),
                ngram_len: key.scheme().ngram_len(),
                shortest_context: shortest,
                channels: shortest.map(|_| key.scheme().channels()),
                label: key.label(),
                tokenizer: key.tokenizer().map(|binding| TokenizerReport {
                    name: &binding.name,
                    fingerprint: hex::encode(&binding.fingerprint),
                    rules: binding.rules.map(|rules| hex::encode(&rules)),
                }),
            };
            if *json {
                return print_json(&report);
            }
            let tokenizer = report.tokenizer.map_or("any (the key is not bound to one)".into(), |t| {
                let weak = if t.rules.is_none() { ", its vocabulary alone" } else { "" };
                format!("{} ({}…){weak}", OneLine(t.name), &t.fingerprint[..16])
            });
            let label = report.label.map_or_else(String::new, |label| format!("label      {label:?}\n"));
            let contexts = shortest.map_or_else(String::new, |shortest| {
                let (longest, channels) = (report.ngram_len - 1, key.scheme().channels());
                format!("contexts   {shortest} to {longest} tokens\nchannels   {channels}\n")
            });
            print(
                format!(
                    "key id     {}\n{label}scheme     {}\ndepth      {}\nngram_len  {}\n{contexts}tokenizer  {tokenizer}\n",
                    report.key_id, report.scheme, report.depth, report.ngram_len
                )
                .as_bytes(),
            )?;
        }
        KeyCommand::Bind { key: path, tokenizer, force } => {
            let key = read(path)?;
            let binding = shell::open_tokenizer(tokenizer)?.binding();
            let old = key.tokenizer().filter(|old| old.fingerprint != binding.fingerprint);
            if let Some(old) = old.filter(|_| !force) {
                let other = format!(
                    "{}: expected the tokenizer that the key is bound to, {old}, found {binding}",
                    path.display()
                );
                bail!(Hinted::new(other, "--force binds it to another"));
            }
            let line = format!("bound key {} to the tokenizer {binding}", key.id());
            key.with_tokenizer(Some(binding)).write(path, true)?;
            say(&line);
        }
        KeyCommand::Derive { master, path, label, force } => {
            not_an_input(path, [master])?;
            let key = read(master)?.derive(label)?;
            key.write(path, *force)?;
            say(&format!("wrote key {} for {label:?} to {}", key.id(), path.display()));
        }
        KeyCommand::Import { config, path, scheme, force } => {
            not_an_input(path, [config])?;
            let (key, notes) = Key::import_json(config, scheme.name())?;
            for note in notes {
                say(&format!("note: {note}"));
            }
            if matches!(scheme, CompatScheme::SynthidHf) {
                say(
                    "note: the sampling table is the one that transformers draws on a CPU; texts marked on a GPU need \
                     their table in the field \"sampling_table\"",
                );
            }
            key.write(path, *force)?;
            say(&format!("wrote key {} to {}", key.id(), path.display()));
        }
        KeyCommand::Export { key: path, output, force } => {
            if let Some(output) = output {
                not_an_input(output, [path])?;
            }
            let json = read(path)?.export_json()?;
            if let Some(output) = output {
                write_private(output, json.as_bytes(), *force)?;
            } else {
                print(json.as_bytes())?;
                print(b"\n")?;
            }
        }
    }
    Ok(())
}
