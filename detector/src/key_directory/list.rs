//! The file `keys.toml`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Component, Path};
use std::sync::Arc;

use serde::Deserialize;

use super::{KeyDirectoryError, KeyEntry, KeyStatus};
use crate::scheme::Key;
use crate::timestamp::Timestamp;

/// The name of the list in its directory.
pub(super) const NAME: &str = "keys.toml";
/// Size of the largest list, which has some ten thousand keys.
const MAX_BYTES: u64 = 4 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    key: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    file: String,
    id: Option<String>,
    label: Option<String>,
    not_before: Option<toml::Value>,
    not_after: Option<toml::Value>,
    #[serde(default)]
    status: KeyStatus,
}

/// Reads the keys that the list of `directory` names, in its order; returns `None` without a list. `files` are the
/// names of the other files in the directory.
pub(super) fn read(directory: &Path, files: &[String]) -> Result<Option<Vec<KeyEntry>>, KeyDirectoryError> {
    let path = directory.join(NAME);
    let Some(text) = text(&path)? else { return Ok(None) };
    let path = path.display().to_string();
    let wrong = |why: String| KeyDirectoryError::List { path: path.clone(), why };
    let List { key: listed } = toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        wrong(format!("line {line}: {}", error.message().replace('\n', " ")))
    })?;
    let mut rest: BTreeSet<&str> = files.iter().map(String::as_str).collect();
    let mut entries: Vec<KeyEntry> = Vec::with_capacity(listed.len());
    for Listed { file, id, label, not_before, not_after, status } in listed {
        let mut parts = Path::new(&file).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(wrong(format!("expected the name of a file in the directory, found {file:?}")));
        }
        if entries.iter().any(|entry| entry.file == file) {
            return Err(wrong(format!("expected each file once, found {file:?} twice")));
        }
        rest.remove(file.as_str());
        let not_before =
            not_before.map(|value| dates(&file, "not_before", &value)).transpose().map_err(wrong)?;
        let not_after =
            not_after.map(|value| dates(&file, "not_after", &value)).transpose().map_err(wrong)?;
        let (not_before, not_after) = (not_before.map(|(first, _)| first), not_after.map(|(_, last)| last));
        if let (Some(from), Some(to)) = (not_before, not_after)
            && from > to
        {
            return Err(wrong(format!(
                "{file:?}: expected a not_after that is later than not_before, found {to}, which is before {from}"
            )));
        }
        let place = directory.join(&file);
        let key = Key::read(&place)?;
        let found = key.id();
        if let Some(expected) = id.filter(|id| *id != found) {
            return Err(KeyDirectoryError::OtherId { path: place.display().to_string(), expected, found });
        }
        if let Some(same) = entries.iter().find(|entry| entry.id == found) {
            // One of the two could be retired and the other not.
            return Err(wrong(format!(
                "expected each key once, found the key {found} in {:?} and in {file:?}",
                same.file
            )));
        }
        let key = Arc::new(key);
        entries.push(KeyEntry { key, id: found, file, label, status, not_before, not_after });
    }
    if !rest.is_empty() {
        let files = rest.into_iter().collect::<Vec<_>>().join(", ");
        return Err(KeyDirectoryError::Unlisted { path, files });
    }
    Ok(Some(entries))
}

/// Returns the content of the list, or `None` if there is no such file.
fn text(path: &Path) -> Result<Option<String>, KeyDirectoryError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
    match read {
        Ok(len) if len as u64 > MAX_BYTES => Err(KeyDirectoryError::List {
            path: path.display().to_string(),
            why: format!("expected at most {MAX_BYTES} bytes, found more"),
        }),
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KeyDirectoryError::Unreadable { path: path.display().to_string(), source }),
    }
}

/// Returns the first and the last second of a date, or of a moment.
fn dates(file: &str, field: &str, value: &toml::Value) -> Result<(Timestamp, Timestamp), String> {
    let datetime = match value {
        toml::Value::Datetime(datetime) => Some(*datetime),
        toml::Value::String(text) => text.parse().ok(),
        _ => None,
    };
    datetime.as_ref().and_then(Timestamp::first_and_last).ok_or_else(|| {
        let found = match value {
            toml::Value::Datetime(datetime) => datetime.to_string(),
            toml::Value::String(text) => format!("{text:?}"),
            value => format!("a value of the type {}", value.type_str()),
        };
        format!(
            "{file:?}: {field}: expected a date, or a date-time with its offset from UTC such as 2026-12-01T00:00:00Z, \
             found {found}"
        )
    })
}
