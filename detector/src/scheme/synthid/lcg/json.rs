//! The JSON that the reference libraries read.

use std::fmt::Write as _;

use serde::{Deserialize, Deserializer};
use zeroize::{Zeroize, Zeroizing};

use super::deepmind::DeepMind;
use super::hf::{Hf, SamplingTable};
use crate::scheme::KeyError;
use crate::scheme::family::Imported;
use crate::scheme::secret::Secret;

#[derive(Deserialize)]
struct Config {
    #[serde(deserialize_with = "wiped")]
    keys: Zeroizing<Vec<i64>>,
    ngram_len: u64,
    #[serde(default = "default_history")]
    context_history_size: u32,
    sampling_table_size: Option<u32>,
    sampling_table_seed: Option<u64>,
    /// An addition of ours: the entries of the table.
    sampling_table: Option<Vec<u8>>,
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

fn wiped<'de, D: Deserializer<'de>>(keys: D) -> Result<Zeroizing<Vec<i64>>, D::Error> {
    Vec::deserialize(keys).map(Zeroizing::new)
}

fn default_history() -> u32 {
    1024
}

/// Reads a `synthid-hf` key.
pub(super) fn read_hf(json: &[u8], path: &str) -> Result<Imported<Hf>, KeyError> {
    let config = Config::read(json, path)?;
    let notes = config.notes();
    let (depth, ngram_len) = config.lengths()?;
    let secret = config.secret();
    let table = match config.sampling_table {
        Some(entries) => SamplingTable::Explicit(entries),
        None => SamplingTable::Seeded {
            size: config.sampling_table_size.unwrap_or(1 << 16),
            seed: config.sampling_table_seed.unwrap_or(0),
        },
    };
    let parameters = Hf { depth, ngram_len, context_history_size: config.context_history_size, table };
    Ok(Imported { parameters, secret, notes })
}

/// Reads a `synthid-deepmind` key.
pub(super) fn read_deepmind(json: &[u8], path: &str) -> Result<Imported<DeepMind>, KeyError> {
    let config = Config::read(json, path)?;
    let mut notes = config.notes();
    for (name, used) in [
        ("sampling_table_size", config.sampling_table_size.is_some()),
        ("sampling_table_seed", config.sampling_table_seed.is_some()),
        ("sampling_table", config.sampling_table.is_some()),
    ] {
        if used {
            notes.push(format!("synthid-deepmind has no sampling table: {name:?} was ignored"));
        }
    }
    let (depth, ngram_len) = config.lengths()?;
    let parameters = DeepMind { depth, ngram_len, context_history_size: config.context_history_size };
    Ok(Imported { parameters, secret: config.secret(), notes })
}

impl Config {
    fn read(json: &[u8], path: &str) -> Result<Self, KeyError> {
        // serde_json's messages quote offending values, which may be keys: keep the position only.
        serde_json::from_slice(json).map_err(|error| KeyError::Json {
            path: path.into(),
            why: format!(
                "a {} problem at line {}, column {}",
                if error.is_data() { "field" } else { "syntax" },
                error.line(),
                error.column()
            ),
        })
    }

    /// Sentences on the fields that no scheme uses.
    fn notes(&self) -> Vec<String> {
        let note = |(name, value): (&String, &serde_json::Value)| {
            if name == "skip_first_ngram_calls" && value == &serde_json::Value::Bool(true) {
                format!("{name:?} was ignored: responses are marked from their first token, as without it")
            } else {
                format!("the field {name:?} plays no part in the mark and was ignored")
            }
        };
        self.other.iter().map(note).collect()
    }

    /// Depth and n-gram length.
    fn lengths(&self) -> Result<(u8, u8), KeyError> {
        let depth = u8::try_from(self.keys.len()).map_err(|_| KeyError::Depth { found: self.keys.len() })?;
        let ngram_len = u8::try_from(self.ngram_len)
            .map_err(|_| KeyError::NgramLen { found: self.ngram_len as usize })?;
        Ok((depth, ngram_len))
    }

    fn secret(&self) -> Secret {
        // Filled without growing, so that no copy stays behind in freed memory.
        let mut secret = Zeroizing::new(Vec::with_capacity(8 * self.keys.len()));
        for key in self.keys.iter() {
            secret.extend_from_slice(&key.to_le_bytes());
        }
        Secret::new(secret)
    }
}

/// Writes a key; `table` is that of `synthid-hf`.
pub(super) fn write(
    secret: &Secret,
    ngram_len: u8,
    context_history_size: u32,
    table: Option<&SamplingTable>,
) -> Zeroizing<String> {
    let keys = secret.layer_keys();
    let table = match table {
        None => String::new(),
        Some(SamplingTable::Seeded { size, seed }) => {
            format!(", \"sampling_table_size\": {size}, \"sampling_table_seed\": {seed}")
        }
        Some(SamplingTable::Explicit(entries)) => format!(", \"sampling_table\": {entries:?}"),
    };
    // Filled without growing: an i64 has up to 20 characters.
    let mut json = Zeroizing::new(String::with_capacity(128 + 24 * keys.len() + table.len()));
    let _ = write!(*json, "{{\"ngram_len\": {ngram_len}, \"keys\": [");
    for (i, key) in keys.iter().enumerate() {
        if i > 0 {
            json.push_str(", ");
        }
        let mut digits = key.to_string();
        json.push_str(&digits);
        digits.zeroize();
    }
    let _ = write!(*json, "], \"context_history_size\": {context_history_size}{table}}}");
    json
}
