//! The configuration files of other engines.

#![expect(
    clippy::zero_sized_map_values,
    reason = "maps of the names of fields, without their values: the keys"
)]

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use zeroize::{Zeroize, Zeroizing};

use super::KeyError;

/// An engine's configuration.
pub(super) struct Engine {
    /// The scheme, for messages.
    pub scheme: &'static str,
    /// Fields that may hold the configuration inside a larger file.
    pub nested: &'static [&'static str],
    /// Fields that it must have.
    pub required: &'static [&'static str],
}

/// A file that holds the configuration in a field, with the file's other fields.
#[derive(Deserialize)]
struct Outer<T> {
    #[serde(alias = "watermark_config")]
    watermarking_config: T,
}

type Names = BTreeMap<String, IgnoredAny>;

impl Engine {
    /// Reads the configuration. `path` is for messages. They name fields and places but quote no values, which may be
    /// keys.
    pub(super) fn read<T: DeserializeOwned>(&self, json: &[u8], path: &str) -> Result<T, KeyError> {
        let names = serde_json::from_slice::<Names>(json);
        let nested =
            names.as_ref().is_ok_and(|names| self.nested.iter().any(|name| names.contains_key(*name)));
        let (config, names) = if nested {
            let inner = serde_json::from_slice::<Outer<Names>>(json).map(|outer| outer.watermarking_config);
            (serde_json::from_slice::<Outer<T>>(json).map(|outer| outer.watermarking_config), inner)
        } else {
            (serde_json::from_slice(json), names)
        };
        config.map_err(|error| {
            let missing = |names: Names| self.required.iter().find(|field| !names.contains_key(**field));
            let place = format!("line {}, column {}", error.line(), error.column());
            let found = match names.ok().map(missing) {
                Some(Some(field)) => format!("no field `{field}`"),
                Some(None) => format!("a field of another type or value that ends at {place}"),
                None if error.is_data() => "something else than an object".into(),
                None => format!("a syntax error at {place}"),
            };
            self.error(path, found)
        })
    }

    /// Returns the error for a file in which something was found that does not belong there.
    pub(super) fn error(&self, path: &str, found: String) -> KeyError {
        let fields = self.required.iter().map(|field| format!("`{field}`"));
        let fields = fields.collect::<Vec<_>>().join(" and ");
        let fields = if fields.is_empty() { fields } else { format!(" with {fields}") };
        KeyError::EngineJson { path: path.into(), scheme: self.scheme, fields, found }
    }

    /// Returns the error for a field whose value, which is not a key, does not fit.
    pub(super) fn value(&self, path: &str, field: &str, expected: &str, found: &str) -> KeyError {
        self.error(path, format!("`{field}` = {found:?} (expected {expected})"))
    }
}

/// Reads a key that is wiped when it is dropped.
pub(super) fn wiped<'de, T, D>(deserializer: D) -> Result<Zeroizing<T>, D::Error>
where
    T: Zeroize + Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Zeroizing::new)
}

/// Reads a key that may be missing, as [`wiped`] does.
pub(super) fn wiped_option<'de, T, D>(deserializer: D) -> Result<Option<Zeroizing<T>>, D::Error>
where
    T: Zeroize + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.map(Zeroizing::new))
}

/// Returns sentences on the fields that play no part, except those that are `known` to matter only for writing.
pub(super) fn notes(other: &serde_json::Map<String, serde_json::Value>, known: &[&str]) -> Vec<String> {
    let unknown = other.keys().filter(|name| !known.contains(&name.as_str()));
    unknown.map(|name| format!("the field {name:?} plays no part in the mark and was ignored")).collect()
}

/// Returns the warning about a key that stands in the engine's sources or manual, if it does.
pub(super) fn public_key(is_public: bool) -> Option<String> {
    is_public.then(|| {
        "the key is one that the engine's sources or manual show: everybody has it, and anyone can write its mark".into()
    })
}

/// Returns `found` as a byte, or an error if it does not fit.
pub(super) fn small(scheme: &'static str, field: &'static str, found: u64) -> Result<u8, KeyError> {
    u8::try_from(found).map_err(|_| parameter(scheme, field, "at most 255".into(), found))
}

/// Refuses a number outside a range.
pub(super) fn within(
    scheme: &'static str,
    field: &'static str,
    range: RangeInclusive<u8>,
    found: u8,
) -> Result<(), KeyError> {
    if range.contains(&found) {
        return Ok(());
    }
    Err(parameter(scheme, field, format!("from {} to {}", range.start(), range.end()), found))
}

/// Refuses a share that is not from 0 to 1.
pub(super) fn share(scheme: &'static str, field: &'static str, found: f64) -> Result<(), KeyError> {
    if (0.0..=1.0).contains(&found) {
        return Ok(());
    }
    Err(parameter(scheme, field, "from 0 to 1".into(), found))
}

/// Returns the error for a parameter that does not work.
pub(super) fn parameter(
    scheme: &'static str,
    field: &'static str,
    expected: String,
    found: impl fmt::Display,
) -> KeyError {
    KeyError::Parameter { scheme, field, expected, found: found.to_string() }
}
