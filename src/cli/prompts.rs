//! Files of prompts.

use std::path::Path;
use std::slice;

use anyhow::{Result, bail};
use wmdetect::shell::{Content, Label, Layout, Lines, Source, for_each};

/// Reads prompts from JSON lines, each {"prompt": "..."}, with their labels. A line that cannot be read keeps its place, with
/// the reason.
pub(super) fn read_lines(path: &Path) -> Result<Vec<(Label, Result<String, String>)>> {
    let lines = Lines { field: "prompt".into(), ..Lines::default() };
    let layout = Layout { tokens: false, lines: Some(lines) };
    let mut prompts = Vec::new();
    for_each(slice::from_ref(&path.to_owned()), &layout, |label, source| {
        let content = source.and_then(Source::in_memory).map_err(|error| error.to_string());
        // An error of the file is not about one of the prompts.
        if let Err(error) = &content
            && label.line.is_none()
        {
            bail!("{}: {error}", label.input);
        }
        let text = content.and_then(|content| match content {
            Content::Text(text) => String::from_utf8(text).map_err(|error| error.to_string()),
            Content::Tokens(_) => Err("expected a string, found token ids".into()),
        });
        prompts.push((label.clone(), text));
        Ok(())
    })?;
    if prompts.is_empty() {
        bail!("{} is empty; expected JSON lines such as {{\"prompt\": \"The sea\"}}", path.display());
    }
    Ok(prompts)
}
