//! Reads files, JSON lines and arrays of token ids as single texts, each with a name. Both programs use this reader.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};

use super::content::{Content, InputError, Label, Source, WHOLE_LEN, bounded};
use super::json::Json;
use super::json_lines::{self, Lines};
use super::open::{NotText, Opened, open, without_mark};
use super::say;
use crate::id_list;

/// How the files of a command hold their texts.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// A text is an array of token ids.
    pub tokens: bool,
    /// Each line is a JSON object with a text; otherwise a file is one text, or one array a line.
    pub lines: Option<Lines>,
}

/// Calls `each` with every text and its label, or with what is wrong with it, in order and as soon as it is read.
///
/// # Errors
/// Returns an error if `each` does (its first one, about the output), or if standard input is named twice.
pub fn for_each(
    files: &[PathBuf],
    layout: &Layout,
    mut each: impl FnMut(&Label, Result<Source<'_>, InputError>) -> Result<()>,
) -> Result<()> {
    if files.iter().filter(|path| *path == Path::new("-")).count() > 1 {
        bail!("- stands among the files twice; expected it once, since standard input can be read once");
    }
    for path in files {
        let label = Label::of_file(path);
        match (open_text(path), &layout.lines) {
            (Err(error), _) => each(&label, Err(error))?,
            (Ok(opened), Some(lines)) => json_lines::texts(&label, opened, layout.tokens, lines, &mut each)?,
            (Ok(opened), None) if layout.tokens => lists(&label, opened, &mut each)?,
            (Ok(opened), None) => whole(&label, opened, &mut each)?,
        }
    }
    Ok(())
}

/// Calls `each` with a file that is one text.
fn whole(
    label: &Label,
    opened: Opened,
    each: &mut impl FnMut(&Label, Result<Source<'_>, InputError>) -> Result<()>,
) -> Result<()> {
    note_layout(label, "one text", likely_layout(&label.input, &opened.head));
    let (mut input, mut bytes) = (opened.input, Vec::new());
    if let Err(error) = (&mut input).take(WHOLE_LEN + 1).read_to_end(&mut bytes) {
        return each(label, Err(InputError::Unreadable(error)));
    }
    if bytes.len() as u64 > WHOLE_LEN {
        return each(label, Ok(Source::Long(Box::new(io::Cursor::new(bytes).chain(input)))));
    }
    each(label, Ok(Source::Content(Content::Text(bytes))))
}

/// Writes a note that a file is probably something other than `read`.
fn note_layout(label: &Label, read: &str, likely: Option<(&str, &str)>) {
    if let Some((found, flag)) = likely {
        say(&format!(
            "note: {} looks like {found}, but is read as {read}; {flag} reads it as such",
            label.input
        ));
    }
}

/// Returns what a file that was given as one text probably is, and the flag that reads it as such.
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
    let object =
        first.starts_with(b"{") && (named || json_lines::parse(first).is_ok() && second.starts_with(b"{"));
    object.then_some(("JSON lines", "--jsonl"))
}

/// Calls `each` with the lists of a file that is one array of token ids, or one array a line.
fn lists(
    label: &Label,
    opened: Opened,
    each: &mut impl FnMut(&Label, Result<Source<'_>, InputError>) -> Result<()>,
) -> Result<()> {
    let likely = likely_layout(&label.input, &opened.head);
    note_layout(label, "token ids", likely.filter(|&(_, flag)| flag == "--jsonl"));
    let bytes = match bounded(opened.input) {
        Ok(bytes) => bytes,
        Err(error) => return each(label, Err(error)),
    };
    for list in id_list::lists(without_mark(&bytes)) {
        let label = list.line.map_or_else(|| label.clone(), |line| label.of_line(line));
        let ids = list.ids.map_err(InputError::from);
        each(&label, ids.map(Content::Tokens).map(Source::Content))?;
    }
    Ok(())
}

/// Calls `each` with the object of every line of a file that is not empty, or with what is wrong with the line.
///
/// # Errors
/// Returns an error if `each` does (its first one), or if the file cannot be opened or is not text.
pub fn for_each_object(
    path: &Path,
    each: impl FnMut(&Label, Result<Json<'_>, InputError>) -> Result<()>,
) -> Result<()> {
    let label = Label::of_file(path);
    let opened = open_text(path).with_context(|| label.input.clone())?;
    json_lines::objects(&label, opened, Lines::default().max_line, each)
}

/// Opens a file, or standard input if `path` is `-`. Refuses a file that is certainly not text.
fn open_text(path: &Path) -> Result<Opened, InputError> {
    let opened = open(path).map_err(InputError::Unreadable)?;
    match NotText::of(&opened.head) {
        Some(not_text) => Err(InputError::NotText(not_text)),
        None => Ok(opened),
    }
}

/// Reads a text file, or standard input if `path` is `-`, without its byte order mark. It may be compressed with gzip
/// or zstd.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the labels and the contents of a file.
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
            (b"{}", "found an object without fields"),
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
