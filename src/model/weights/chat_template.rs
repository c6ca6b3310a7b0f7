//! Tells from a model's files whether it was trained to take turns.

use std::path::Path;

use serde_json::Value;
use wmdetect::gguf::{Metadata, names};

use super::read_if_there;
use crate::model::error::Result;

/// What a model's files say about a chat template. Instruction-tuned models have one in their files, base models do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatTemplate {
    /// The template, in Jinja's language.
    Given(String),
    /// The files that could hold a template have none.
    Missing,
    /// The files that could hold a template are missing.
    Unknown,
}

impl ChatTemplate {
    pub(super) fn of_gguf(metadata: &Metadata) -> Self {
        match metadata.get(names::CHAT_TEMPLATE).and_then(|template| template.as_str()) {
            Some(template) => Self::Given(template.to_owned()),
            None => Self::Missing,
        }
    }

    /// Reads what transformers writes next to a tokenizer.
    pub(super) fn of_directory(directory: &Path) -> Result<Self> {
        if let Some(template) = read_if_there(&directory.join("chat_template.jinja"))? {
            return Ok(Self::Given(template));
        }
        let Some(text) = read_if_there(&directory.join("tokenizer_config.json"))? else {
            return Ok(Self::Unknown);
        };
        let Ok(json) = serde_json::from_str::<Value>(&text) else { return Ok(Self::Unknown) };
        let template = match &json["chat_template"] {
            Value::String(template) => Some(template.as_str()),
            // Several templates with their names.
            Value::Array(templates) => {
                let default = templates.iter().find(|template| template["name"] == "default");
                default.or(templates.first()).and_then(|template| template["template"].as_str())
            }
            _ => None,
        };
        Ok(template.map_or(Self::Missing, |template| Self::Given(template.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_says_it_in_one_of_several_ways() {
        let dir = tempfile::tempdir().unwrap();
        let read = || ChatTemplate::of_directory(dir.path()).unwrap();
        assert_eq!(read(), ChatTemplate::Unknown);
        let given = ChatTemplate::Given("{{ bos_token }}".into());
        for (json, expected) in [
            ("damaged", &ChatTemplate::Unknown),
            (r#"{"bos_token": "<bos>"}"#, &ChatTemplate::Missing),
            (r#"{"chat_template": null}"#, &ChatTemplate::Missing),
            (r#"{"chat_template": "{{ bos_token }}"}"#, &given),
            (
                r#"{"chat_template": [{"name": "rag", "template": ""}, {"name": "default", "template": "{{ bos_token }}"}]}"#,
                &given,
            ),
        ] {
            std::fs::write(dir.path().join("tokenizer_config.json"), json).unwrap();
            assert_eq!(read(), *expected, "{json}");
        }
        std::fs::write(dir.path().join("chat_template.jinja"), "own").unwrap();
        assert_eq!(read(), ChatTemplate::Given("own".into()));
    }
}
