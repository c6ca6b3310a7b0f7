//! Texts with their names, and their errors.

use std::borrow::Cow;
use std::io::{self, Read};
use std::path::Path;

use super::json::Json;
use super::open::NotText;
use crate::detect::{DetectError, Input};
use crate::id_list;

/// A longer text is read in blocks, if the command can do that.
pub(super) const WHOLE_LEN: u64 = 8 << 20;
/// Largest number of bytes of a text in memory, decompressed: 1 GiB.
const MOST_IN_MEMORY: u64 = 1 << 30;

/// The name of a text, and its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// Its id if it has one, else the file, with the number of the line if the file has several texts.
    pub input: String,
    /// The number of its line, from 1; `None` if the file is one text.
    pub line: Option<usize>,
    /// The JSON of its id, as it was written.
    pub id: Option<String>,
    /// The JSON of the value that it shares with other texts, as it was written; see
    /// [`Lines::group_field`](super::Lines::group_field).
    pub group: Option<String>,
}

impl Label {
    /// Returns the label of a file, or of standard input if `path` is `-`.
    pub fn of_file(path: &Path) -> Self {
        Self { input: path.display().to_string(), ..Self::default() }
    }

    /// Returns the label of the line with this number.
    pub fn of_line(&self, number: usize) -> Self {
        Self { input: format!("{}:{number}", self.input), line: Some(number), ..Self::default() }
    }

    /// Returns the label of a line that has this id; null is not an id. The name is the characters of a string, or any
    /// other value as it was written.
    #[must_use]
    pub fn with_id(mut self, id: Option<Json<'_>>) -> Self {
        if let Some(id) = id.filter(|id| id.kind() != "null") {
            // Half of a surrogate pair cannot be kept in another way, and without it two names could be the same.
            let kept = id.string().filter(|text| !text.contains(char::REPLACEMENT_CHARACTER));
            self.input = kept.map_or_else(|| id.as_written().trim_matches('"').to_owned(), Cow::into_owned);
            self.id = Some(id.as_written().to_owned());
        }
        self
    }
}

/// The content of one text.
pub enum Content {
    /// Bytes, which should be UTF-8.
    Text(Vec<u8>),
    /// Token ids.
    Tokens(Vec<u32>),
}

/// A text, or the reader of one that is long.
pub enum Source<'a> {
    /// A text in memory.
    Content(Content),
    /// A text of more than 8 MiB.
    Long(Box<dyn Read + 'a>),
}

/// Why one input cannot be read or scored; the others still can.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The system cannot read it, or it is damaged.
    #[error("cannot read it: {0}; expected a readable file, or - for standard input")]
    Unreadable(#[source] io::Error),
    /// It is another kind of file.
    #[error("expected text in UTF-8, found {}; {}", .0.found, .0.remedy)]
    NotText(NotText),
    /// It is too long for the question.
    #[error("the text has more than 1 GiB; expected one that fits into memory; cut it into several")]
    LongText,
    /// It is not a list of token ids.
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
        /// The field that was looked for.
        field: String,
        /// What was found.
        found: &'static str,
    },
    /// The object has no such field.
    #[error("no field {field:?}; expected it to hold {expected}, found {found}")]
    NoField {
        /// The field that was looked for.
        field: String,
        /// What the field should hold.
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
        /// What the field should hold.
        expected: &'static str,
    },
    /// It was read but cannot be scored.
    #[error(transparent)]
    Detect(#[from] DetectError),
}

impl InputError {
    /// Returns advice about a flag of `wmdetect` that helps.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::NoField { .. } => Some("name another with --field"),
            Self::Field { found: "an array", .. } => Some("--tokens takes token ids"),
            Self::LongLine { .. } => {
                Some("raise the limit with --max-line, or score the text as a separate file")
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
    /// Returns the whole text.
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

/// Returns all bytes, up to the limit.
pub(super) fn bounded(input: impl Read) -> Result<Vec<u8>, InputError> {
    let mut bytes = Vec::new();
    input.take(MOST_IN_MEMORY + 1).read_to_end(&mut bytes).map_err(InputError::Unreadable)?;
    if bytes.len() as u64 > MOST_IN_MEMORY { Err(InputError::LongText) } else { Ok(bytes) }
}
