//! JSON lines: one object a line, with a text or token ids in one of its fields.

use std::io::{BufRead as _, Read as _};

use anyhow::Result;

use super::content::{Content, InputError, Label, Source, WHOLE_LEN};
use super::json::Json;
use super::open::{Opened, without_mark};

/// Number of field names that an error lists.
const LISTED: usize = 12;
/// The capacity of the buffer that is kept from line to line.
const KEPT: usize = 1 << 20;
/// Number of characters of a field name that are shown.
const SHOWN: usize = 40;

/// The fields of JSON lines.
#[derive(Clone, Debug)]
pub struct Lines {
    /// The field with the text or the ids.
    pub field: String,
    /// The field with the name of the text.
    pub id_field: String,
    /// The field with a value that some texts share, such as their prompt, if it is asked for.
    pub group_field: Option<String>,
    /// The longest line, in MiB.
    pub max_line: u64,
}

impl Default for Lines {
    fn default() -> Self {
        Self { field: "text".into(), id_field: "id".into(), group_field: None, max_line: 64 }
    }
}

/// Calls `each` with the text of every line, or with what is wrong with the line.
pub(super) fn texts(
    label: &Label,
    opened: Opened,
    tokens: bool,
    lines: &Lines,
    each: &mut impl FnMut(&Label, Result<Source<'_>, InputError>) -> Result<()>,
) -> Result<()> {
    objects(label, opened, lines.max_line, |label, object| {
        let member = |name: &str| object.as_ref().ok().and_then(|object| object.get(name));
        let mut label = label.clone().with_id(member(&lines.id_field));
        let group = lines.group_field.as_deref().and_then(member).filter(|group| group.kind() != "null");
        label.group = group.map(|group| group.as_written().to_owned());
        each(&label, object.and_then(|object| field(object, tokens, &lines.field)))
    })
}

/// Calls `each` with the object of every line that is not empty, or with what is wrong with the line.
pub(super) fn objects(
    file: &Label,
    opened: Opened,
    max_line: u64,
    mut each: impl FnMut(&Label, Result<Json<'_>, InputError>) -> Result<()>,
) -> Result<()> {
    let Opened { mut input, .. } = opened;
    let limit = max_line.saturating_mul(1 << 20);
    let mut line = Vec::new();
    for number in 1_usize.. {
        let label = file.of_line(number);
        line.clear();
        // The memory of one long line is not kept for all that follow.
        line.shrink_to(KEPT);
        match (&mut input).take(limit.saturating_add(1)).read_until(b'\n', &mut line) {
            Err(error) => return each(&label, Err(InputError::Unreadable(error))),
            Ok(0) => break,
            Ok(read) if read as u64 > limit && !line.ends_with(b"\n") => {
                each(&label, Err(InputError::LongLine { mib: max_line }))?;
                if let Err(error) = input.skip_until(b'\n') {
                    return each(&label, Err(InputError::Unreadable(error)));
                }
                continue;
            }
            Ok(_) => {}
        }
        let json = if number == 1 { without_mark(&line) } else { &line };
        if json.trim_ascii().is_empty() {
            continue;
        }
        match parse(json) {
            // The rest would fail in the same way.
            Err(InputError::Json(_)) if number == 1 && json.trim_ascii().starts_with(b"[") => {
                return each(file, Err(InputError::Array));
            }
            object => each(&label, object)?,
        }
    }
    Ok(())
}

/// Parses a line.
pub(super) fn parse(line: &[u8]) -> Result<Json<'_>, InputError> {
    let line = std::str::from_utf8(line).map_err(|error| InputError::NotUtf8 { at: error.valid_up_to() })?;
    Json::parse(line).map_err(InputError::Json)
}

/// Returns the text or the ids of a JSON line.
fn field<'a>(object: Json<'a>, tokens: bool, name: &str) -> Result<Source<'a>, InputError> {
    let expected = if tokens { "an array of token ids" } else { "a string" };
    let field = || name.to_owned();
    if !object.is_object() {
        return Err(InputError::NoObject { field: field(), found: object.kind() });
    }
    let Some(value) = object.get(name) else {
        return Err(InputError::NoField { field: field(), expected, found: names(object) });
    };
    match value.kind() {
        "an array" if tokens => {
            let ids = value.ids().map_err(|source| InputError::FieldIds { field: field(), source })?;
            Ok(Source::Content(Content::Tokens(ids)))
        }
        "a string" if !tokens => Ok(match value.reader() {
            Some(reader) if value.as_written().len() as u64 > WHOLE_LEN => Source::Long(Box::new(reader)),
            _ => Source::Content(Content::Text(value.string().unwrap_or_default().into_owned().into_bytes())),
        }),
        found => Err(InputError::Field { field: field(), found, expected }),
    }
}

/// Returns the names of an object's first fields.
fn names(object: Json<'_>) -> String {
    let mut names: Vec<String> = object.members().take(LISTED + 1).map(|(name, _)| short(&name)).collect();
    match names.len() {
        0 => return "an object without fields".into(),
        len if len > LISTED => names[LISTED] = "…".into(),
        _ => {}
    }
    format!("the fields {}", names.join(", "))
}

/// Returns the start of a field's name.
fn short(name: &str) -> String {
    let start: String = name.chars().take(SHOWN).collect();
    if start.len() < name.len() { format!("{start:?}…") } else { format!("{start:?}") }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn a_line_of_just_the_limit_is_read_and_a_longer_one_does_not_hide_the_next() {
        let fitting = format!("{{\"a\": \"{}\"}}", "a".repeat((1 << 20) - 9));
        assert_eq!(fitting.len(), 1 << 20);
        let lines = [&fitting, &format!("{fitting} "), "{}", &fitting].join("\n");
        let input = Box::new(BufReader::new(std::io::Cursor::new(lines.into_bytes())));
        let file = Label { input: "t".into(), ..Label::default() };
        let mut found = Vec::new();
        objects(&file, Opened { input, head: Vec::new() }, 1, |label, object| {
            found.push((label.input.clone(), object.is_ok()));
            Ok(())
        })
        .unwrap();
        let expected = [("t:1", true), ("t:2", false), ("t:3", true), ("t:4", true)];
        assert_eq!(found, expected.map(|(name, read)| (name.to_owned(), read)));
    }
    #[test]
    fn a_long_text_is_not_decoded_before_it_is_read() {
        let line = format!("{{\"text\": \"{}\"}}", "old\\n".repeat(2 << 20));
        let source = field(parse(line.as_bytes()).unwrap(), false, "text").unwrap();
        let Source::Long(mut reader) = source else { panic!("more than {WHOLE_LEN} bytes") };
        let mut start = [0; 8];
        reader.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"old\nold\n");
    }
}
