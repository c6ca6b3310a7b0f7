//! The JSON schema of what a command prints.

use std::fmt::Write as _;

use anyhow::Result;
use clap::{Args, ValueEnum};
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use super::print;

/// Arguments of `schema`. `W` lists the outputs that have a schema.
#[derive(Args, Clone, Copy, Debug)]
pub struct SchemaArgs<W: ValueEnum + Send + Sync + 'static> {
    /// Output that the schema describes
    #[arg(value_name = "WHAT")]
    pub of: W,
}

/// Prints the JSON schema (draft 2020-12) of a `T` as it is written. The help of `of` is its title, and the fields' doc comments are
/// its descriptions.
///
/// A reader must accept fields that it does not know, so no object is closed.
///
/// # Errors
/// Returns an error if [`print`] would.
pub fn print_schema<T: JsonSchema>(of: &impl ValueEnum) -> Result<()> {
    let help = of.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string));
    let schema = json_schema::<T>(&help.unwrap_or_default());
    Ok(print(format!("{:#}\n", schema.as_value()).as_bytes())?)
}

fn json_schema<T: JsonSchema>(title: &str) -> Schema {
    let mut schema = SchemaSettings::draft2020_12()
        .for_serialize()
        .with_transform(PlainDescriptions)
        .into_generator()
        .into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    schema
}

/// Makes rustdoc's links plain in descriptions: ``[`Name`](path)`` becomes `Name` between backticks.
#[derive(Clone)]
struct PlainDescriptions;

impl Transform for PlainDescriptions {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(Value::String(description)) = schema.get_mut("description") {
            *description = plain(description);
        }
        transform_subschemas(self, schema);
    }
}

fn plain(doc: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(doc.len()), doc);
    while let Some((before, link)) = rest.split_once("[`") {
        let Some((name, after)) = link.split_once("`]") else { break };
        let _ = write!(out, "{before}`{name}`");
        let target = after.strip_prefix('(').and_then(|target| target.split_once(')'));
        rest = target.map_or(after, |(_, after)| after);
    }
    (out + rest).replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Report, Row};

    #[test]
    fn links_in_descriptions_are_plain() {
        let doc = "Where [`a`] is,\nthere is [`b`](crate::b) (and c).";
        assert_eq!(plain(doc), "Where `a` is, there is `b` (and c).");
        assert_eq!(plain("An open [`bracket"), "An open [`bracket");
    }

    #[test]
    fn a_field_that_may_be_absent_is_not_required_and_one_that_may_be_null_is() {
        let schema = json_schema::<Row<Report>>("A title");
        let schema = schema.as_value();
        let required = schema["required"].as_array().unwrap();
        for field in ["schema_version", "input", "p_value", "warnings", "warning_codes"] {
            assert!(required.contains(&field.into()), "{field}");
        }
        assert!(!required.contains(&"channel".into()));
        assert_eq!(schema["properties"]["p_value"]["type"], serde_json::json!(["number", "null"]));
        assert_eq!(schema["title"], "A title");
    }
}
