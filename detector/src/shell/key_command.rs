//! The commands `wmgen key` and `wmdetect key`, which work on existing keys.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Subcommand, ValueEnum};
use schemars::JsonSchema;
use serde::Serialize;

use super::outputs::{Kind, Outputs};
use super::{Hinted, OneLine, open_tokenizer, print, print_json, read_key, say};
use crate::hex;
use crate::scheme::key::write_private;
use crate::scheme::{ContextRule, ImportOptions, Key};

/// What to do with a key.
#[derive(Subcommand, Debug)]
pub enum KeyCommand {
    /// Show what is public about a key
    Show {
        /// Key file
        key: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Bind a key to the tokenizer of its texts; the secret and the id do not change
    Bind {
        /// Key file
        key: PathBuf,
        /// A tokenizer.json, a directory with one, or a GGUF file
        #[arg(long, value_name = "PATH")]
        tokenizer: PathBuf,
        /// Bind the key even if it is bound to another vocabulary
        #[arg(long)]
        force: bool,
    },
    /// Derive a key for a label, such as a tenant or an epoch
    Derive {
        /// Master key file
        master: PathBuf,
        /// File to write the derived key to
        path: PathBuf,
        /// Label that says what the key is for
        #[arg(long)]
        label: String,
        /// Overwrite an existing key, which loses it for good
        #[arg(long)]
        force: bool,
    },
    /// Make a key file from the configuration of another library or engine
    Import {
        /// JSON file with the configuration: `keys` and `ngram_len` for synthid-hf and synthid-deepmind, that of
        /// --watermark-config for vLLM and SGLang, a generation_config.json for kgw-hf
        config: PathBuf,
        /// File to write the key to
        path: PathBuf,
        /// Implementation that the configuration belongs to
        #[arg(long, value_enum)]
        scheme: CompatScheme,
        /// Size of the vocabulary that the green lists of kgw-hf, kgw and kgw-tgi are made from: the width of the
        /// model's logits. A field `vocab_size` in the file says the same
        #[arg(long)]
        vocab_size: Option<u32>,
        /// Overwrite an existing key, which loses it for good
        #[arg(long)]
        force: bool,
    },
    /// Print the JSON that the key's library or engine reads; it holds the secret keys
    Export {
        /// Key file of such a scheme, for instance synthid-hf or vllm-gumbel
        key: PathBuf,
        /// Write to this file, with mode 0600, instead of standard output
        #[arg(long)]
        output: Option<PathBuf>,
        /// Overwrite an existing file
        #[arg(long)]
        force: bool,
    },
}

/// A scheme whose keys another library stores as JSON.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum CompatScheme {
    /// transformers, and synthid-text 0.2.1
    SynthidHf,
    /// synthid-text's main branch since June 2025
    SynthidDeepmind,
    /// vLLM, algorithm gumbel
    VllmGumbel,
    /// vLLM, algorithm dual_key_gumbel
    VllmGumbelDual,
    /// SGLang with one key
    SglangGumbel,
    /// SGLang with two keys
    SglangGumbelDual,
    /// TextSeal's gumbelmax and textseal
    #[value(name = "textseal")]
    TextSeal,
    /// Green lists of transformers
    KgwHf,
    /// Green lists of lm-watermarking
    Kgw,
    /// Green lists of Text Generation Inference
    KgwTgi,
}

impl CompatScheme {
    /// Returns the scheme's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::SynthidHf => "synthid-hf",
            Self::SynthidDeepmind => "synthid-deepmind",
            Self::VllmGumbel => "vllm-gumbel",
            Self::VllmGumbelDual => "vllm-gumbel-dual",
            Self::SglangGumbel => "sglang-gumbel",
            Self::SglangGumbelDual => "sglang-gumbel-dual",
            Self::TextSeal => "textseal",
            Self::KgwHf => "kgw-hf",
            Self::Kgw => "kgw",
            Self::KgwTgi => "kgw-tgi",
        }
    }
}

/// The object that `key show --json` prints.
#[derive(Serialize, JsonSchema)]
pub struct ShownKey<'a> {
    /// Version of this object, 1.
    schema_version: u32,
    /// Public id of the key, 16 hexadecimal digits.
    key_id: String,
    /// Name of the scheme.
    scheme: &'a str,
    /// Layers of the tournament; absent for other schemes.
    #[serde(skip_serializing_if = "Option::is_none")]
    depth: Option<usize>,
    /// Length of the longest context plus one, in tokens.
    ngram_len: usize,
    /// Tokens of the shortest context; absent if all have the same length.
    #[serde(skip_serializing_if = "Option::is_none")]
    shortest_context: Option<usize>,
    /// Number of channels; absent for schemes without channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    channels: Option<u16>,
    /// Label that the key was derived for; null if it was not derived or its file has no label.
    label: Option<&'a str>,
    /// Tokenizer that the key is bound to; null without one.
    tokenizer: Option<ShownTokenizer<'a>>,
}

#[derive(Serialize, JsonSchema)]
struct ShownTokenizer<'a> {
    /// Name.
    name: &'a str,
    /// Digest of the vocabulary, 64 hexadecimal digits.
    fingerprint: String,
    /// Digest of the rules that split text, 64 hexadecimal digits; null if the key is bound to the vocabulary alone.
    rules: Option<String>,
}

/// Runs a command.
///
/// # Errors
/// Returns an error if a key, a tokenizer or a configuration cannot be read, if they do not belong together, or if the
/// output cannot be written.
pub fn run_key_command(command: &KeyCommand) -> Result<()> {
    match command {
        KeyCommand::Show { key: path, json } => {
            let key = read_key(path)?;
            let shortest = match key.scheme().context_rule() {
                ContextRule::Shortest { shortest, .. } => Some(shortest),
                ContextRule::Whole { .. } | ContextRule::Padded { .. } | ContextRule::Spanning { .. } => None,
            };
            let depth = key.scheme().check_tournament().is_ok().then(|| key.scheme().depth());
            let report = ShownKey {
                schema_version: 1,
                key_id: key.id(),
                scheme: key.scheme().name(),
                depth,
                ngram_len: key.scheme().ngram_len(),
                shortest_context: shortest,
                channels: shortest.map(|_| key.scheme().channels()),
                label: key.label(),
                tokenizer: key.tokenizer().map(|binding| ShownTokenizer {
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
            let depth = report.depth.map_or_else(String::new, |depth| format!("depth      {depth}\n"));
            let contexts = shortest.map_or_else(String::new, |shortest| {
                let (longest, channels) = (report.ngram_len - 1, key.scheme().channels());
                format!("contexts   {shortest} to {longest} tokens\nchannels   {channels}\n")
            });
            print(
                format!(
                    "key id     {}\n{label}scheme     {}\n{depth}ngram_len  {}\n{contexts}tokenizer  {tokenizer}\n",
                    report.key_id, report.scheme, report.ngram_len
                )
                .as_bytes(),
            )?;
        }
        KeyCommand::Bind { key: path, tokenizer, force } => {
            let key = read_key(path)?;
            let binding = open_tokenizer(tokenizer)?.binding();
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
            not_an_input(path, master)?;
            let key = read_key(master)?.derive(label)?;
            key.write(path, *force)?;
            say(&format!("wrote key {} for {label:?} to {}", key.id(), path.display()));
        }
        KeyCommand::Import { config, path, scheme, vocab_size, force } => {
            not_an_input(path, config)?;
            let options = ImportOptions::default().vocab_size(*vocab_size);
            let (key, notes) = Key::import_json_with(config, scheme.name(), options)?;
            for note in notes {
                say(&format!("note: {note}"));
            }
            if matches!(scheme, CompatScheme::SynthidHf) {
                say(
                    "note: the sampling table is the one that transformers draws on a CPU; texts marked on a GPU need \
                     their table in the field \"sampling_table\"",
                );
            }
            if matches!(scheme, CompatScheme::KgwHf | CompatScheme::Kgw | CompatScheme::KgwTgi) {
                say(
                    "note: the green lists are those that torch makes on a CPU; marks that were made on a GPU are not found",
                );
            }
            key.write(path, *force)?;
            say(&format!("wrote key {} to {}", key.id(), path.display()));
        }
        KeyCommand::Export { key: path, output, force } => {
            if let Some(output) = output {
                not_an_input(output, path)?;
            }
            let json = read_key(path)?.export_json()?;
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

/// Refuses to overwrite a file that the run reads. `--force` does not allow it either.
fn not_an_input(path: &Path, input: &Path) -> Result<()> {
    Ok(Outputs::new(true).reads([input]).check_input(path, Kind::KEY)?)
}
