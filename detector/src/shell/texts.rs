//! From files, JSON lines and arrays of token ids to single texts, each with a name: the one reader of both programs.

use std::borrow::Cow;
use std::io::{self, BufRead as _, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};

use super::json::Json;
use super::open::{NotText, Opened, open};
use super::say;
use crate::detect::{DetectError, Input};
use crate::id_list;

/// A text of more bytes is read in blocks by a command that can.
const WHOLE_LEN: u64 = 8 << 20;
/// The most bytes of a text that is held in memory, decompressed: 1 GiB.
const MOST_IN_MEMORY: u64 = 1 << 30;
/// A byte order mark.
const MARK: &[u8] = b"\xEF\xBB\xBF";
/// Field names that an error lists.
const LISTED: usize = 12;

/// How the files of a command hold their texts.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// A text is an array of token ids.
    pub tokens: bool,
    /// Each line is a JSON object with a text; otherwise a file is one text, or one array a line.
    pub lines: Option<Lines>,
}

/// Where JSON lines hold what.
#[derive(Clone, Debug)]
pub struct Lines {
    /// The field with the text or the ids.
    pub field: String,
    /// The field with the name of the text.
    pub id_field: String,
    /// The longest line, in MiB.
    pub max_line: u64,
}

impl Default for Lines {
    fn default() -> Self {
        Self { field: "text".into(), id_field: "id".into(), max_line: 64 }
    }
}

/// What a text is called, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its id if it has one, else the file, with the number of the line if it is one of several.
    pub input: String,
    /// The number of its line, from 1; `None` where a file is one text.
    pub line: Option<usize>,
    /// The JSON of its id, as it was written.
    pub id: Option<String>,
}

/// One text to look at.
pub enum Content {
    /// As bytes; they should be UTF-8.
    Text(Vec<u8>),
    /// As token ids.
    Tokens(Vec<u32>),
}

/// A text, or the reader of one that is long.
pub enum Source<'a> {
    /// In memory.
    Content(Content),
    /// More than 8 MiB.
    Long(Box<dyn Read + 'a>),
}

/// Why one input cannot be read or scored; the others still can.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The system refuses it, or it is damaged.
    #[error("cannot read it: {0}; expected a readable file, or - for standard input")]
    Unreadable(#[source] io::Error),
    /// It is another kind of file.
    #[error("expected text in UTF-8, found {}; {}", .0.found, .0.remedy)]
    NotText(NotText),
    /// It is too long for what is asked of it.
    #[error("the text has more than 1 GiB; expected one that fits into memory; cut it into several")]
    LongText,
    /// It is no list of token ids.
    #[error(transparent)]
    Ids(#[from] id_list::IdListError),
    /// The line is too long.
    #[error("the line has more than {mib} MiB")]
    LongLine {
        /// The limit.
        mib: u64,
    },
    /// The line is not UTF-8.
    #[error(
        "byte {at} of the line is not UTF-8; expected JSON in UTF-8; convert it, for instance with iconv"
    )]
    NotUtf8 {
        /// The first bad byte, from 0.
        at: usize,
    },
    /// The line is not JSON.
    #[error("not JSON: {0}; expected one object a line")]
    Json(#[source] serde_json::Error),
    /// The file is one JSON array.
    #[error(
        "the file begins with a JSON array, expected one JSON object a line; `jq -c '.[]'` writes the elements of an \
         array so"
    )]
    Array,
    /// The line is not an object.
    #[error("expected a JSON object with the field {field:?}, found {found}")]
    NoObject {
        /// What was looked for.
        field: String,
        /// What is there.
        found: &'static str,
    },
    /// The object has no such field.
    #[error("no field {field:?}; expected it to hold {expected}, found the fields {found}")]
    NoField {
        /// What was looked for.
        field: String,
        /// What it should hold.
        expected: &'static str,
        /// The fields that there are.
        found: String,
    },
    /// The field's array holds something else.
    #[error("the field {field:?} holds no token ids: {source}; expected an array of token ids")]
    FieldIds {
        /// The field.
        field: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The field holds something else.
    #[error("the field {field:?} holds {found}; expected {expected}")]
    Field {
        /// The field.
        field: String,
        /// What it holds.
        found: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// It was read and cannot be scored.
    #[error(transparent)]
    Detect(#[from] DetectError),
}

impl InputError {
    /// Returns what a flag of `wmdetect` can do about it.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::NoField { .. } => Some("name another with --field"),
            Self::LongLine { .. } => {
                Some("raise the limit with --max-line, or score the text as a file of its own")
            }
            _ => None,
        }
    }
}

impl Content {
    /// Returns the content as a detector takes it.
    pub fn input(&self) -> Input<'_> {
        match self {
            Self::Text(bytes) => Input::bytes(bytes),
            Self::Tokens(ids) => Input::tokens(ids),
        }
    }
}

impl Source<'_> {
    /// Returns all of the text.
    ///
    /// # Errors
    /// Returns an error if it cannot be read to its end, or has more than 1 GiB.
    pub fn in_memory(self) -> Result<Content, InputError> {
        match self {
            Self::Content(content) => Ok(content),
            Self::Long(input) => bounded(input).map(Content::Text),
        }
    }
}

/// All bytes, up to the limit.
fn bounded(input: impl Read) -> Result<Vec<u8>, InputError> {
    let mut bytes = Vec::new();
    input.take(MOST_IN_MEMORY + 1).read_to_end(&mut bytes).map_err(InputError::Unreadable)?;
    if bytes.len() as u64 > MOST_IN_MEMORY { Err(InputError::LongText) } else { Ok(bytes) }
}

/// Calls `each` with every text and its label, or with what is wrong with it, in order and as soon as it is read.
///
/// # Errors
/// Returns the first error of `each`, which is about the output, and an error if standard input is named twice.
pub fn for_each(
    files: &[PathBuf],
    layout: &Layout,
    mut each: impl FnMut(&Label, Result<Source<'_>, InputError>) -> Result<()>,
) -> Result<()> {
    if files.iter().filter(|path| *path == Path::new("-")).count() > 1 {
        bail!(
            "- stands among the files twice; expected it once at most, since standard input ends only once"
        );
    }
    for path in files {
        let label = Label { input: path.display().to_string(), line: None, id: None };
        match (open_text(path), &layout.lines) {
            (Err(error), _) => each(&label, Err(error))?,
            (Ok(opened), Some(lines)) => texts(&label, opened, layout.tokens, lines, &mut each)?,
            (Ok(opened), None) if layout.tokens => lists(&label, opened, &mut each)?,
            (Ok(opened), None) => whole(&label, opened, &mut each)?,
        }
    }
    Ok(())
}

/// A file that is one text.
fn whole(
    label: &Label,
    opened: Opened,
    each: &mut impl FnMut(&Label, Result<Source<'_>, InputError>) -> Result<()>,
) -> Result<()> {
    if let Some((found, flag)) = likely_layout(&label.input, &opened.head) {
        say(&format!(
            "note: {} looks like {found}, but is read as one text; {flag} reads it as such",
            label.input
        ));
    }
    let (mut input, mut bytes) = (opened.input, Vec::new());
    if let Err(error) = (&mut input).take(WHOLE_LEN + 1).read_to_end(&mut bytes) {
        return each(label, Err(InputError::Unreadable(error)));
    }
    if bytes.len() as u64 > WHOLE_LEN {
        return each(label, Ok(Source::Long(Box::new(io::Cursor::new(bytes).chain(input)))));
    }
    each(label, Ok(Source::Content(Content::Text(bytes))))
}

/// What a file probably is that was given as one text, and the flag that reads it as such.
fn likely_layout(name: &str, head: &[u8]) -> Option<(&'static str, &'static str)> {
    let head = without_mark(head).trim_ascii_start();
    if let Some(array) = head.strip_prefix(b"[") {
        let digits = array.iter().any(u8::is_ascii_digit);
        let rest = array.iter().all(|byte| byte.is_ascii_digit() || b",[] \t\r\n".contains(byte));
        return (digits && rest).then_some(("token ids", "--tokens"));
    }
    let mut lines = head.splitn(2, |&byte| byte == b'\n');
    let (first, second) = (lines.next()?, lines.next().unwrap_or_default().trim_ascii_start());
    let named = [".jsonl", ".ndjson", ".jsonl.gz", ".jsonl.zst"].iter().any(|end| name.ends_with(end));
    let object = first.starts_with(b"{") && (named || parse(first).is_ok() && second.starts_with(b"{"));
    object.then_some(("JSON lines", "--jsonl"))
}

/// A file that is one array of token ids, or one array a line.
fn lists(
    label: &Label,
    opened: Opened,
    each: &mut impl FnMut(&Label, Result<Source<'_>, InputError>) -> Result<()>,
) -> Result<()> {
    let bytes = match bounded(opened.input) {
        Ok(bytes) => bytes,
        Err(error) => return each(label, Err(error)),
    };
    for list in id_list::lists(without_mark(&bytes)) {
        let input = list.line.map_or_else(|| label.input.clone(), |line| format!("{}:{line}", label.input));
        let ids = list.ids.map_err(InputError::from);
        each(&Label { input, line: list.line, id: None }, ids.map(Content::Tokens).map(Source::Content))?;
    }
    Ok(())
}

/// JSON lines, one text each.
fn texts(
    label: &Label,
    opened: Opened,
    tokens: bool,
    lines: &Lines,
    each: &mut impl FnMut(&Label, Result<Source<'_>, InputError>) -> Result<()>,
) -> Result<()> {
    objects(label, opened, lines.max_line, |label, object| {
        let mut label = label.clone();
        if let Ok(object) = object
            && let Some(id) = object.get(&lines.id_field).filter(|id| id.kind() != "null")
        {
            label.input = name(id);
            label.id = Some(id.as_written().to_owned());
        }
        each(&label, object.and_then(|object| field(object, tokens, &lines.field)))
    })
}

/// Calls `each` with the object of every line of a file that is not empty, or with what is wrong with the line.
///
/// # Errors
/// Returns the first error of `each`, and an error if the file cannot be opened or is no text.
pub fn for_each_object(
    path: &Path,
    each: impl FnMut(&Label, Result<Json<'_>, InputError>) -> Result<()>,
) -> Result<()> {
    let label = Label { input: path.display().to_string(), line: None, id: None };
    let opened = open_text(path).with_context(|| label.input.clone())?;
    objects(&label, opened, Lines::default().max_line, each)
}

fn objects(
    file: &Label,
    opened: Opened,
    max_line: u64,
    mut each: impl FnMut(&Label, Result<Json<'_>, InputError>) -> Result<()>,
) -> Result<()> {
    let Opened { mut input, .. } = opened;
    let limit = max_line.saturating_mul(1 << 20);
    let mut line = Vec::new();
    for number in 1_usize.. {
        let label = Label { input: format!("{}:{number}", file.input), line: Some(number), id: None };
        line.clear();
        match (&mut input).take(limit.saturating_add(1)).read_until(b'\n', &mut line) {
            Err(error) => return each(&label, Err(InputError::Unreadable(error))),
            Ok(0) => break,
            Ok(read) if read as u64 > limit => {
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
            // The rest is no better.
            Err(InputError::Json(_)) if number == 1 && json.trim_ascii().starts_with(b"[") => {
                return each(file, Err(InputError::Array));
            }
            object => each(&label, object)?,
        }
    }
    Ok(())
}

fn parse(line: &[u8]) -> Result<Json<'_>, InputError> {
    let line = std::str::from_utf8(line).map_err(|error| InputError::NotUtf8 { at: error.valid_up_to() })?;
    Json::parse(line).map_err(InputError::Json)
}

/// The name that an id gives: a string's characters, else the id as it was written.
fn name(id: Json<'_>) -> String {
    // Half of a surrogate pair cannot be kept otherwise, and without it two names could be one.
    let kept = id.string().filter(|text| !text.contains(char::REPLACEMENT_CHARACTER));
    kept.map_or_else(|| id.as_written().trim_matches('"').to_owned(), Cow::into_owned)
}

/// The text or the ids of a JSON line.
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
        "a string" if !tokens => Ok(match (value.reader(), value.string()) {
            (Some(reader), _) if value.as_written().len() as u64 > WHOLE_LEN => {
                Source::Long(Box::new(reader))
            }
            (_, text) => Source::Content(Content::Text(text.unwrap_or_default().into_owned().into_bytes())),
        }),
        found => Err(InputError::Field { field: field(), found, expected }),
    }
}

/// The names of an object's fields, the first of them.
fn names(object: Json<'_>) -> String {
    let mut names: Vec<String> =
        object.members().take(LISTED + 1).map(|(name, _)| format!("{name:?}")).collect();
    match names.len() {
        0 => return "of no name".into(),
        len if len > LISTED => names[LISTED] = "…".into(),
        _ => {}
    }
    names.join(", ")
}

/// Opens a file, or standard input where `path` is `-`, that is not certainly something else than text.
fn open_text(path: &Path) -> Result<Opened, InputError> {
    let opened = open(path).map_err(InputError::Unreadable)?;
    match NotText::of(&opened.head) {
        Some(not_text) => Err(InputError::NotText(not_text)),
        None => Ok(opened),
    }
}

/// Reads a text file, or standard input where `path` is `-`, without its byte order mark. It may be compressed with
/// gzip or zstd.
///
/// # Errors
/// Returns an error if it cannot be read, has more than 1 GiB, is another kind of file or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let bytes = open_text(path).and_then(|opened| bounded(opened.input));
    let mut bytes = bytes.map_err(|error| match error {
        InputError::Unreadable(error) => anyhow::Error::new(error).context(format!("cannot read {name}")),
        error => anyhow!("{name}: {error}"),
    })?;
    let mark = bytes.len() - without_mark(&bytes).len();
    bytes.drain(..mark);
    String::from_utf8(bytes).map_err(|error| {
        let at = mark + error.utf8_error().valid_up_to();
        anyhow!("{name} is not UTF-8 text (first bad byte at {at}); convert it, for instance with iconv")
    })
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(MARK).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The labels and the contents of a file.
    fn found(content: impl AsRef<[u8]>, layout: &Layout) -> Vec<(String, Result<String, String>)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        std::fs::write(&path, content).unwrap();
        let mut found = Vec::new();
        let prefix = path.display().to_string();
        for_each(&[path], layout, |label, source| {
            let content = source.and_then(Source::in_memory).map(|content| match content {
                Content::Text(bytes) => String::from_utf8(bytes).unwrap(),
                Content::Tokens(ids) => format!("{ids:?}"),
            });
            found.push((label.input.replace(&prefix, "t"), content.map_err(|error| error.to_string())));
            Ok(())
        })
        .unwrap();
        found
    }

    fn lines(field: &str) -> Layout {
        Layout { tokens: false, lines: Some(Lines { field: field.into(), ..Lines::default() }) }
    }

    #[test]
    fn ids_are_kept_as_they_were_written() {
        let ids = [
            "18446744073709551617",
            "-0",
            "1.50",
            "true",
            r#""a\ud83d""#,
            r#""\u00e9\n""#,
            r#"{"$oid": "5f"}"#,
        ];
        let rows: Vec<String> = ids.iter().map(|id| format!(r#"{{"id": {id}, "text": ""}}"#)).collect();
        let names: Vec<_> =
            found(rows.join("\n"), &lines("text")).into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            ["18446744073709551617", "-0", "1.50", "true", r"a\ud83d", "é\n", r#"{"$oid": "5f"}"#]
        );
        let unnamed = found("{\"id\": null, \"text\": \"a\"}\n\n{\"text\": \"b\"}", &lines("text"));
        assert_eq!(unnamed, [("t:1".into(), Ok("a".into())), ("t:3".into(), Ok("b".into()))]);
    }

    #[test]
    fn a_text_may_lie_deep_in_a_line_and_end_inside_a_character() {
        let line = r#"{"choices": [{"message": {"content": "old \ud83d"}}]}"#;
        assert_eq!(found(line, &lines("choices.0.message.content"))[0].1, Ok("old \u{fffd}".into()));
    }

    #[test]
    fn what_is_wrong_with_a_line_says_what_was_found() {
        let rows: &[(&[u8], &str)] = &[
            (
                b"{\"body\": 1, \"n\": 2}",
                "no field \"text\"; expected it to hold a string, found the fields \"body\", \"n\"",
            ),
            (b"{}", "found the fields of no name"),
            (b"\"old\"", "expected a JSON object with the field \"text\", found a string"),
            (b"{\"text\": 5}", "the field \"text\" holds a number; expected a string"),
            (b"{\"text\": \"caf\xE9\"}", "byte 13 of the line is not UTF-8"),
            (b"The old man", "not JSON: "),
            (b"[\n{}\n]", "the file begins with a JSON array"),
            (b"%PDF-1.7\n%\xE2", "expected text in UTF-8, found a PDF document; take its text out first"),
        ];
        for (row, expected) in rows {
            let found = found(row, &lines("text"));
            assert!(found.len() == 1 && found[0].1.as_ref().unwrap_err().contains(expected), "{found:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_line_or_a_list_or_a_text() {
        assert_eq!(found("\u{feff}{\"text\": \"a\"}", &lines("text"))[0].1, Ok("a".into()));
        let ids = Layout { tokens: true, lines: None };
        assert_eq!(found("\u{feff}[1, 2]", &ids), [("t".into(), Ok("[1, 2]".into()))]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\u{feff}café").unwrap();
        assert_eq!(read_text(file.path()).unwrap(), "café");
        std::fs::write(file.path(), b"\xEF\xBB\xBFcaf\xE9").unwrap();
        let error = read_text(file.path()).unwrap_err().to_string();
        assert!(
            error.starts_with(&file.path().display().to_string()) && error.contains("byte at 6"),
            "{error}"
        );
    }

    #[test]
    fn standard_input_is_one_text_at_most() {
        let files = ["-", "-"].map(PathBuf::from);
        let error = for_each(&files, &Layout::default(), |_, _| panic!("nothing is read")).unwrap_err();
        assert!(error.to_string().contains("twice"), "{error}");
    }

    #[test]
    fn a_layout_that_was_not_asked_for_is_noticed() {
        let flag = |name: &str, head: &str| likely_layout(name, head.as_bytes()).map(|(_, flag)| flag);
        assert_eq!(flag("a", "{\"text\": \"a\"}\n{\"te"), Some("--jsonl"));
        assert_eq!(flag("a.jsonl", "{\"text\": \"a very lo"), Some("--jsonl"));
        assert_eq!(flag("a", "[2, 651,\n 235248"), Some("--tokens"));
        for text in ["{\"a\": 1}", "{a}\n{b}", "[1] Smith, 2020", "[]", "The old man", ""] {
            assert_eq!(flag("a.json", text), None, "{text}");
        }
    }
}
