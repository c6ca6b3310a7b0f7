//! The marked texts that `marked_corpus` writes.

use std::error::Error;

use serde::Deserialize;

/// A marked text, with what was asked for.
#[derive(Deserialize)]
pub struct Marked {
    /// The prompt's name.
    pub id: String,
    /// The label under which the text's key was derived from the master.
    pub key_label: String,
    /// The channel of the key, if it has several.
    #[serde(default)]
    pub channel: Option<u16>,
    /// The temperature that the text was drawn at.
    pub temperature: f64,
    /// The prompt's token ids.
    pub prompt_tokens: Vec<u32>,
    /// The text's token ids.
    pub tokens: Vec<u32>,
    /// The text.
    pub text: String,
}

/// Reads a file of marked texts.
///
/// # Errors
/// Returns an error if the file cannot be read, if a line is not such a text, or if there is no line.
pub fn read_marked(path: &str) -> Result<Vec<Marked>, Box<dyn Error>> {
    let texts: Vec<Marked> =
        std::fs::read_to_string(path)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    if texts.is_empty() { Err(format!("{path} has no texts").into()) } else { Ok(texts) }
}
