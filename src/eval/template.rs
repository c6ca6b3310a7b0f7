//! Texts that contain fields of a document: `Question: {question}`.

use serde::Deserialize;
use serde_json::Value;

use super::EvalError;

/// A text with fields in braces. `{a.b}` is the member `b` of the member `a`; in an array, numbers count from 0.
/// `{a|trim}` removes white space at both ends, and `{a|words}` replaces underscores by spaces. `{{` and `}}` stand
/// for braces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field { path: String, change: Change },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Nothing,
    Trim,
    Words,
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text.as_str());
        while let Some(at) = rest.find(['{', '}']) {
            let (before, behind) = rest.split_at(at);
            plain.push_str(before);
            if behind.starts_with("{{") || behind.starts_with("}}") {
                plain.push_str(&behind[..1]);
                rest = &behind[2..];
                continue;
            }
            let field = behind.strip_prefix('{').and_then(|inside| inside.split_once('}'));
            let Some((field, after)) = field else {
                return Err(format!(
                    "expected a field in braces, and {{{{ or }}}} for a brace, found {behind:?}"
                ));
            };
            let (path, change) = match field.split_once('|') {
                None => (field, Change::Nothing),
                Some((path, "trim")) => (path, Change::Trim),
                Some((path, "words")) => (path, Change::Words),
                Some((_, other)) => return Err(format!("expected trim or words after |, found {other:?}")),
            };
            if path.is_empty() {
                return Err(format!("expected the name of a field in braces, found {{{field}}}"));
            }
            parts.extend((!plain.is_empty()).then(|| Part::Text(std::mem::take(&mut plain))));
            parts.push(Part::Field { path: path.to_owned(), change });
            rest = after;
        }
        plain.push_str(rest);
        parts.extend((!plain.is_empty()).then_some(Part::Text(plain)));
        Ok(Self(parts))
    }
}

impl Template {
    /// Returns whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the paths of its fields.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Field { path, .. } => Some(path.as_str()),
        })
    }

    /// Returns the text for a document.
    ///
    /// # Errors
    /// Returns an error if the document lacks a field, or if the field is neither a string nor a number.
    pub fn of(&self, document: &Value) -> Result<String, EvalError> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Field { path, change } => {
                    let value = scalar(document, path)?;
                    match change {
                        Change::Nothing => text.push_str(&value),
                        Change::Trim => text.push_str(value.trim()),
                        Change::Words => text.push_str(&value.replace('_', " ")),
                    }
                }
            }
        }
        Ok(text)
    }
}

/// Returns the member of a document at a dotted path.
pub(super) fn member<'d>(document: &'d Value, path: &str) -> Option<&'d Value> {
    path.split('.').try_fold(document, |value, name| match value {
        Value::Object(object) => object.get(name),
        Value::Array(array) => name.parse::<usize>().ok().and_then(|index| array.get(index)),
        _ => None,
    })
}

/// Returns the text of a string or a number.
pub(super) fn scalar(document: &Value, path: &str) -> Result<String, EvalError> {
    match member(document, path) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        found => Err(wrong(path, "a string or a number", found)),
    }
}

/// Returns the strings of an array.
pub(super) fn strings(document: &Value, path: &str) -> Result<Vec<String>, EvalError> {
    let found = member(document, path);
    let strings = found.and_then(Value::as_array).and_then(|array| {
        array.iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
    });
    strings.filter(|strings| !strings.is_empty()).ok_or_else(|| wrong(path, "an array of strings", found))
}

pub(super) fn wrong(path: &str, expected: &str, found: Option<&Value>) -> EvalError {
    let found = match found {
        None => "no such field".into(),
        Some(Value::Null) => "null".into(),
        Some(Value::Bool(_)) => "a boolean".into(),
        Some(Value::Number(_)) => "a number".into(),
        Some(Value::String(_)) => "a string".into(),
        Some(Value::Array(array)) => format!("an array of {}", array.len()),
        Some(Value::Object(_)) => "an object".into(),
    };
    EvalError::Field { field: path.to_owned(), expected: expected.to_owned(), found }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_filled_in_and_mistakes_are_named() {
        let document = json!({"a": " x ", "b": {"c": ["p", "q_r"]}, "n": 3});
        for (template, text) in
            [("{a}-{a|trim}-{b.c.1}", " x -x-q_r"), ("{b.c.1|words} {{n}} {n}", "q r {n} 3"), ("", "")]
        {
            assert_eq!(Template::try_from(template.to_owned()).unwrap().of(&document).unwrap(), text);
        }
        for (template, expected) in [
            ("{a", "a field in braces"),
            ("a}", "{{ or }}"),
            ("{a|up}", "trim or words"),
            ("{}", "the name of a field"),
        ] {
            let error = Template::try_from(template.to_owned()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        for (path, found) in [("{x}", "no such field"), ("{b}", "an object"), ("{b.c}", "an array of 2")] {
            let error = Template::try_from(path.to_owned()).unwrap().of(&document).unwrap_err().to_string();
            assert!(error.contains(found), "{error}");
        }
    }
}
