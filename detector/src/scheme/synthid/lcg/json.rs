//! The JSON that the reference libraries read.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use zeroize::{Zeroize, Zeroizing};

use super::table::SamplingTable;
use crate::scheme::KeyError;
use crate::scheme::secret::Secret;

/// The configuration that both schemes are read from.
#[derive(Deserialize)]
pub(super) struct Config {
    #[serde(deserialize_with = "wiped")]
    keys: Zeroizing<Vec<i64>>,
    ngram_len: u64,
    #[serde(default = "default_history")]
    pub(super) context_history_size: u32,
    sampling_table_size: Option<u32>,
    sampling_table_seed: Option<u64>,
    /// Our own addition: the entries of the table.
    sampling_table: Option<Vec<u8>>,
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

/// Fields of transformers' `WatermarkingConfig` alone.
const GREEN_LISTS: [&str; 3] = ["greenlist_ratio", "seeding_scheme", "hashing_key"];

fn wiped<'de, D: Deserializer<'de>>(keys: D) -> Result<Zeroizing<Vec<i64>>, D::Error> {
    Vec::deserialize(keys).map(Zeroizing::new)
}

fn default_history() -> u32 {
    1024
}

impl Config {
    /// Reads the configuration, or the one inside a `generation_config.json` of transformers; `path` is for the errors.
    #[expect(
        clippy::zero_sized_map_values,
        reason = "a map that reads the names of fields and leaves their values, the keys"
    )]
    pub(super) fn read(json: &[u8], path: &str) -> Result<Self, KeyError> {
        #[derive(Deserialize)]
        struct GenerationConfig<T> {
            watermarking_config: T,
        }
        type Names = BTreeMap<String, IgnoredAny>;
        let (config, names) = match serde_json::from_slice::<GenerationConfig<Names>>(json) {
            Ok(outer) => {
                let config = serde_json::from_slice::<GenerationConfig<Self>>(json);
                (config.map(|outer| outer.watermarking_config), Some(outer.watermarking_config))
            }
            Err(_) => (serde_json::from_slice(json), serde_json::from_slice::<Names>(json).ok()),
        };
        // serde_json's messages quote values, which may be keys, so the error names only fields and positions.
        config.map_err(|error| {
            let missing = |names: &Names| ["keys", "ngram_len"].into_iter().find(|f| !names.contains_key(*f));
            let is_other = |names: &Names| GREEN_LISTS.iter().any(|field| names.contains_key(*field));
            let place = format!("line {}, column {}", error.line(), error.column());
            let why = match names.as_ref().map(missing) {
                Some(Some(_)) if names.as_ref().is_some_and(is_other) => {
                    "it is the configuration of another engine's mark, the green lists of KGW".into()
                }
                Some(Some(field)) => format!("it has no field `{field}`"),
                Some(None) => format!("the field that ends at {place} has another type"),
                None if error.is_data() => "it is not an object".into(),
                None => format!("a syntax error at {place}"),
            };
            KeyError::Json { path: path.into(), why }
        })
    }

    /// Returns sentences on the fields that no scheme uses.
    pub(super) fn notes(&self) -> Vec<String> {
        let note = |(name, value): (&String, &serde_json::Value)| {
            if name == "skip_first_ngram_calls" && value == &serde_json::Value::Bool(true) {
                format!("{name:?} was ignored: responses are marked from their first token, as without it")
            } else {
                format!("the field {name:?} plays no part in the mark and was ignored")
            }
        };
        self.other.iter().map(note).collect()
    }

    /// Returns depth and n-gram length.
    pub(super) fn lengths(&self) -> Result<(u8, u8), KeyError> {
        let depth = u8::try_from(self.keys.len()).map_err(|_| KeyError::Depth { found: self.keys.len() })?;
        let ngram_len = u8::try_from(self.ngram_len)
            .map_err(|_| KeyError::NgramLen { found: self.ngram_len as usize })?;
        Ok((depth, ngram_len))
    }

    /// Returns the sampling table, or the reference's if none is given.
    pub(super) fn table(&self) -> SamplingTable {
        match &self.sampling_table {
            Some(entries) => SamplingTable::Explicit(entries.clone()),
            None => SamplingTable::Seeded {
                size: self.sampling_table_size.unwrap_or(1 << 16),
                seed: self.sampling_table_seed.unwrap_or(0),
            },
        }
    }

    /// Returns the names of the given fields that describe a sampling table.
    pub(super) fn table_fields(&self) -> impl Iterator<Item = &'static str> {
        let fields = [
            ("sampling_table_size", self.sampling_table_size.is_some()),
            ("sampling_table_seed", self.sampling_table_seed.is_some()),
            ("sampling_table", self.sampling_table.is_some()),
        ];
        fields.into_iter().filter_map(|(name, given)| given.then_some(name))
    }

    /// Returns the layer keys as a secret.
    pub(super) fn secret(&self) -> Secret {
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
