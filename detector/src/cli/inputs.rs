//! From files, JSON lines and arrays of token ids to single texts, each with a name.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use anyhow::Result;
use serde_json::Value;
use wmdetect::{DetectError, Input, id_list};

use super::args::InputArgs;

/// One text to look at.
pub(super) enum Content {
    /// As bytes; they should be UTF-8.
    Text(Vec<u8>),
    /// As token ids.
    Tokens(Vec<u32>),
}

impl Content {
    /// As the detector takes it.
    pub(super) fn input(&self) -> Input<'_> {
        match self {
            Self::Text(bytes) => Input::bytes(bytes),
            Self::Tokens(ids) => Input::tokens(ids),
        }
    }
}

/// Why one input cannot be scored; the others still can.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error("cannot read it: {0}; expected a readable file, or - for standard input")]
    Unreadable(#[source] io::Error),
    #[error(transparent)]
    Ids(#[from] id_list::IdListError),
    #[error(
        "the line has more than {mib} MiB; raise the limit with --max-line, or score the text as a file of its own"
    )]
    LongLine { mib: u64 },
    #[error("not JSON: {0}; expected one object a line")]
    Json(#[source] serde_json::Error),
    #[error("expected a JSON object with the field {field:?}, found {found}")]
    NoObject { field: String, found: &'static str },
    #[error("no field {field:?}; expected it to hold {expected}; name another with --field")]
    NoField { field: String, expected: &'static str },
    #[error("the field {field:?} holds no token ids: {source}; expected an array of token ids")]
    FieldIds { field: String, source: serde_json::Error },
    #[error("the field {field:?} holds {found}; expected {expected}")]
    Field { field: String, found: &'static str, expected: &'static str },
    #[error(transparent)]
    Detect(#[from] DetectError),
}

/// A text of more bytes is read in blocks by a command that can.
const WHOLE_LEN: u64 = 8 << 20;

/// A text, or the reader of one that is long.
pub(super) enum Source<'a> {
    Content(Content),
    Long(Box<dyn Read + 'a>),
}

/// As [`for_each_source`], with every text in memory.
pub(super) fn for_each(
    args: &InputArgs,
    mut each: impl FnMut(&str, Result<Content, InputError>) -> Result<()>,
) -> Result<()> {
    for_each_source(args, |name, source| each(name, source.and_then(in_memory)))
}

/// All of a text, however long.
pub(super) fn in_memory(source: Source<'_>) -> Result<Content, InputError> {
    match source {
        Source::Content(content) => Ok(content),
        Source::Long(mut input) => {
            let mut bytes = Vec::new();
            input.read_to_end(&mut bytes).map_err(InputError::Unreadable)?;
            Ok(Content::Text(bytes))
        }
    }
}

/// Calls `each` with the name and the content of every text, or with what is wrong with it, in order and as soon as
/// it is read. Stops at the first error of `each`, which is about the output.
pub(super) fn for_each_source(
    args: &InputArgs,
    mut each: impl FnMut(&str, Result<Source<'_>, InputError>) -> Result<()>,
) -> Result<()> {
    for path in &args.files {
        let name = path.display().to_string();
        match open(path) {
            Err(error) => each(&name, Err(InputError::Unreadable(error)))?,
            Ok(input) if args.jsonl => lines(args, &name, input, &mut each)?,
            Ok(input) => whole(args, &name, input, &mut each)?,
        }
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(BufReader::new(File::open(path)?)))
}

/// A file that is one text, one array of ids, or one array a line.
fn whole(
    args: &InputArgs,
    name: &str,
    mut input: impl Read,
    each: &mut impl FnMut(&str, Result<Source<'_>, InputError>) -> Result<()>,
) -> Result<()> {
    let mut bytes = Vec::new();
    let limit = if args.tokens { u64::MAX } else { WHOLE_LEN + 1 };
    if let Err(error) = (&mut input).take(limit).read_to_end(&mut bytes) {
        return each(name, Err(InputError::Unreadable(error)));
    }
    if bytes.len() as u64 == limit {
        return each(name, Ok(Source::Long(Box::new(bytes.chain(input)))));
    }
    if !args.tokens {
        return each(name, Ok(Source::Content(Content::Text(bytes))));
    }
    for list in id_list::lists(&bytes) {
        let name = list.line.map_or_else(|| name.to_owned(), |line| format!("{name}:{line}"));
        let ids = list.ids.map_err(InputError::from);
        each(&name, ids.map(Content::Tokens).map(Source::Content))?;
    }
    Ok(())
}

/// JSON lines, one object each.
fn lines(
    args: &InputArgs,
    name: &str,
    mut input: impl BufRead,
    each: &mut impl FnMut(&str, Result<Source<'_>, InputError>) -> Result<()>,
) -> Result<()> {
    let mut line = Vec::new();
    for number in 1_usize.. {
        line.clear();
        let limit = args.max_line.saturating_mul(1 << 20);
        match (&mut input).take(limit.saturating_add(1)).read_until(b'\n', &mut line) {
            Err(error) => return each(name, Err(InputError::Unreadable(error))),
            Ok(0) => break,
            Ok(read) if read as u64 > limit => {
                if let Err(error) = input.skip_until(b'\n') {
                    return each(name, Err(InputError::Unreadable(error)));
                }
                each(&format!("{name}:{number}"), Err(InputError::LongLine { mib: args.max_line }))?;
                continue;
            }
            Ok(_) => {}
        }
        let json = if number == 1 { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&line) } else { &line };
        if json.trim_ascii().is_empty() {
            continue;
        }
        let place = format!("{name}:{number}");
        match serde_json::from_slice::<Value>(json) {
            Err(error) => each(&place, Err(InputError::Json(error)))?,
            Ok(object) => {
                let id = match object.get(&args.id_field) {
                    Some(Value::String(id)) => id.clone(),
                    Some(Value::Number(id)) => id.to_string(),
                    _ => place,
                };
                each(&id, field(args, object).map(Source::Content))?;
            }
        }
    }
    Ok(())
}

/// The text or the ids of a JSON line.
fn field(args: &InputArgs, mut object: Value) -> Result<Content, InputError> {
    let name = args.field.as_deref().unwrap_or(if args.tokens { "tokens" } else { "text" });
    let expected = if args.tokens { "an array of token ids" } else { "a string" };
    if !object.is_object() {
        return Err(InputError::NoObject { field: name.into(), found: kind(&object) });
    }
    match object.get_mut(name).map(Value::take) {
        None => Err(InputError::NoField { field: name.into(), expected }),
        Some(Value::String(text)) if !args.tokens => Ok(Content::Text(text.into_bytes())),
        Some(value @ Value::Array(_)) if args.tokens => serde_json::from_value(value)
            .map(Content::Tokens)
            .map_err(|source| InputError::FieldIds { field: name.into(), source }),
        Some(value) => Err(InputError::Field { field: name.into(), found: kind(&value), expected }),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
