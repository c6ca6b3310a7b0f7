//! Edits that people make to a text, at stated rates, and how many texts are found after them.
//!
//! An [`Editor`] edits a text without looking at a key or a detector. So a text that did not depend on the key before the
//! edit does not depend on it afterwards, and its p-value keeps its promise. [`Summary`] counts the texts that are
//! found, with intervals that take into account which texts share a prompt.
//!
//! | file | what |
//! |---|---|
//! | `edit` | which edits there are, and the random numbers of each |
//! | `words` | the words of a text |
//! | `material` | what edits need in addition to the text: words and passages of people, synonyms |
//! | `single_words`, `letters`, `passages` | the edits |
//! | `editor` | the edits by their names |
//! | `kept` | how many words an edit leaves |
//! | `summary` | how many texts are found, with intervals |
//!
//! ```
//! use wmdetect::attack::{Edit, Editor, Kind, Synonyms, words_kept};
//!
//! let editor = Editor::new(vec!["People write words such as these.".into()], Synonyms::default());
//! let edit = Edit::share(Kind::Delete, 0.5).unwrap();
//! let text = "The old man went down to the river.";
//! let edited = editor.apply(&edit, text, None, 1, "essay-17");
//! assert!(edited.len() < text.len());
//! assert!(words_kept(text, &edited).unwrap() < 1.0);
//! ```

mod edit;
mod editor;
mod kept;
mod letters;
mod material;
mod passages;
mod single_words;
mod summary;
#[cfg(test)]
mod tests;
mod words;

pub use edit::{Edit, Kind, Random, ShareError, UnknownKind};
pub use editor::Editor;
pub use kept::words_kept;
pub use material::{Synonyms, SynonymsError};
pub use summary::{Found, Outcome, Summary};
