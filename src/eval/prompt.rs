//! Turns a line of a data set into what the model reads, and what is expected of it.

use serde_json::{Map, Value};

use super::task::{Choices, Kind, Task};
use super::template::{member, scalar, strings, wrong};
use super::{EvalError, Template};

/// A line of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Number of the document within its task, from 0.
    pub index: usize,
    /// Its fields.
    pub fields: Value,
}

/// What the model reads for a document, and what is expected of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Number of the document.
    pub index: usize,
    /// Value of the task's group field.
    pub group: Option<String>,
    /// Text before the answer: description, shots, question. Empty for perplexity.
    pub context: String,
    /// What is expected of the model.
    pub expected: Expected,
}

/// What is expected of a model.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// One of several continuations.
    Choice {
        /// The continuations, including the delimiter in front.
        continuations: Vec<String>,
        /// The choices without the delimiter. Their lengths count.
        choices: Vec<String>,
        /// Number of the right choice.
        right: usize,
    },
    /// A text to compare with; for a program, its tests.
    Reference(String),
    /// Anything is accepted.
    Anything,
    /// The text that is read.
    Text(String),
}

/// Examples for the shots.
#[derive(Clone, Debug, Default)]
pub struct Shots {
    /// Number of examples before a question.
    pub number: usize,
    /// Examples to take, the first ones first. A document is never used as an example for itself.
    pub examples: Vec<Value>,
}

impl Task {
    /// Returns whether a document of a data set belongs to the task.
    ///
    /// # Errors
    /// Returns an error if the field that decides is not a number.
    pub fn selects(&self, fields: &Value) -> Result<bool, EvalError> {
        let Some(select) = &self.select else { return Ok(true) };
        let number = scalar(fields, &select.field)?.parse::<i64>().map_err(|_| EvalError::Field {
            field: select.field.clone(),
            expected: "a whole number".into(),
            found: "another value".into(),
        })?;
        Ok((select.from..=select.to).contains(&number))
    }

    /// Makes the item of a document.
    ///
    /// # Errors
    /// Returns an error if the document or an example lacks a field, or if there are too few examples.
    pub fn item(&self, document: &Document, shots: &Shots) -> Result<Item, EvalError> {
        let fields = &document.fields;
        let group = self.group.as_deref().map(|field| scalar(fields, field)).transpose()?;
        self.check_lengths(fields)?;
        let expected = match self.kind {
            Kind::Perplexity => Expected::Text(self.text(fields)?),
            Kind::FreeText => Expected::Anything,
            Kind::Generate => Expected::Reference(self.target.of(fields)?),
            Kind::MultipleChoice => {
                let choices = self.choices_of(fields)?;
                let right = self.right(fields, &choices)?;
                let continuations =
                    choices.iter().map(|choice| format!("{}{choice}", self.target_delimiter)).collect();
                Expected::Choice { continuations, choices, right }
            }
        };
        let context = match self.kind {
            Kind::Perplexity => String::new(),
            _ => self.context(fields, group.as_deref(), shots)?,
        };
        Ok(Item { index: document.index, group, context, expected })
    }

    /// Returns description, shots and question.
    fn context(&self, fields: &Value, group: Option<&str>, shots: &Shots) -> Result<String, EvalError> {
        let mut context = self.description.of(fields)?;
        let in_group = |example: &Value| match (&self.group, group) {
            (Some(field), Some(group)) => scalar(example, field).is_ok_and(|other| other == group),
            _ => true,
        };
        let mut number = 0;
        let examples = shots.examples.iter().enumerate();
        let examples = examples.filter(|(_, example)| *example != fields && in_group(example));
        for (at, example) in examples.take(shots.number) {
            let shot = self.shot(example);
            context += &shot.map_err(|source| EvalError::Example { number: at, source: Box::new(source) })?;
            number += 1;
        }
        if number < shots.number {
            let of_group = group.map(|group| format!(" of {group}")).unwrap_or_default();
            return Err(EvalError::Shots { wanted: shots.number, of_group, found: number });
        }
        context += &self.prompt.of(fields)?;
        Ok(context)
    }

    /// Returns a question with its answer.
    fn shot(&self, example: &Value) -> Result<String, EvalError> {
        self.check_lengths(example)?;
        let (prompt, shown) = (self.prompt.of(example)?, self.shown(example)?);
        Ok(format!("{prompt}{}{shown}{}", self.target_delimiter, self.shot_delimiter))
    }

    /// Returns the text that is read.
    fn text(&self, fields: &Value) -> Result<String, EvalError> {
        let text = self.target.of(fields)?;
        if text.is_empty() {
            return Err(EvalError::Field {
                field: self.target.fields().collect::<Vec<_>>().join(", "),
                expected: "a text with at least one token to score".into(),
                found: "an empty text".into(),
            });
        }
        Ok(text)
    }

    fn check_lengths(&self, fields: &Value) -> Result<(), EvalError> {
        for (path, &len) in &self.lengths {
            let found = member(fields, path);
            if found.and_then(Value::as_array).is_none_or(|array| array.len() != len) {
                return Err(wrong(path, &format!("an array of {len}"), found));
            }
        }
        Ok(())
    }

    /// Returns the answer that a shot shows.
    fn shown(&self, example: &Value) -> Result<String, EvalError> {
        if self.kind == Kind::MultipleChoice {
            let mut choices = self.choices_of(example)?;
            let right = self.right(example, &choices)?;
            return Ok(choices.swap_remove(right));
        }
        self.shot_target.as_ref().unwrap_or(&self.target).of(example)
    }

    fn choices_of(&self, fields: &Value) -> Result<Vec<String>, EvalError> {
        match &self.choices {
            Some(Choices::Field(path)) => strings(fields, path),
            Some(Choices::Fixed(choices)) => {
                choices.iter().map(|choice: &Template| choice.of(fields)).collect()
            }
            None => Ok(Vec::new()),
        }
    }

    /// Returns the number of the right choice.
    fn right(&self, fields: &Value, choices: &[String]) -> Result<usize, EvalError> {
        let answer = self.answer.of(fields)?;
        let labels = self.labels.as_deref().map(|path| strings(fields, path)).transpose()?;
        let (name, labels) = match &labels {
            Some(labels) => ("label", &labels[..]),
            None => ("choice", choices),
        };
        let at = labels.iter().position(|label| *label == answer);
        let number = || answer.parse::<usize>().ok().filter(|number| *number < choices.len());
        at.or_else(number).filter(|at| *at < choices.len()).ok_or_else(|| EvalError::Field {
            field: "of the answer".into(),
            expected: format!("a {name} among {labels:?}, or a number below {}", choices.len()),
            found: format!("{answer:?}"),
        })
    }
}

/// Converts a line to the layout that tasks expect. In ARC's first release, a question is an object that contains its
/// choices; it is converted to the layout of the hub's data set.
pub fn reshaped(mut fields: Value) -> Value {
    let inside = member(&fields, "question.stem").zip(member(&fields, "question.choices"));
    let Some((stem, Value::Array(choices))) = inside else { return fields };
    let column =
        |name: &str| -> Value { choices.iter().filter_map(|choice| choice.get(name).cloned()).collect() };
    let columns =
        Map::from_iter([("text".to_owned(), column("text")), ("label".to_owned(), column("label"))]);
    let (stem, columns) = (stem.clone(), Value::Object(columns));
    if let Value::Object(object) = &mut fields {
        object.insert("question".into(), stem);
        object.insert("choices".into(), columns);
    }
    fields
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(task: &str, fields: Value, number: usize, examples: &[Value]) -> Result<Item, EvalError> {
        let shots = Shots { number, examples: examples.to_vec() };
        Task::built_in(task).unwrap().item(&Document { index: 0, fields: reshaped(fields) }, &shots)
    }

    #[test]
    fn shots_are_the_first_others_of_the_group() {
        let line = |q: &str, subject: &str, answer: usize| json!({"question": q, "subject": subject, "choices": ["w", "x", "y", "z"], "answer": answer});
        let pool = [
            line("a", "law_of_war", 1),
            line("b", "art", 2),
            line("c", "law_of_war", 3),
            line("d", "law_of_war", 0),
        ];
        let found = item("mmlu", pool[0].clone(), 2, &pool).unwrap();
        let choices = "A. w\nB. x\nC. y\nD. z\nAnswer:";
        let context = format!(
            "The following are multiple choice questions (with answers) about law of war.\n\nc\n{choices} D\n\nd\n{choices} A\n\na\n{choices}"
        );
        assert_eq!(found.context, context);
        let Expected::Choice { continuations, right, .. } = found.expected else { panic!() };
        assert_eq!((continuations, right), ([" A", " B", " C", " D"].map(str::to_owned).to_vec(), 1));
        let mut long = pool[0].clone();
        long["choices"] = json!(["v", "w", "x", "y", "z"]);
        let error = item("mmlu", long.clone(), 0, &[]).unwrap_err().to_string();
        assert_eq!(error, "field choices: expected an array of 4, found an array of 5");
        let error = item("mmlu", pool[2].clone(), 1, &[pool[2].clone(), long]).unwrap_err();
        assert!(matches!(error, EvalError::Example { number: 1, .. }), "{error}");
        let error = item("perplexity", json!({"text": ""}), 0, &[]).unwrap_err().to_string();
        assert!(error.starts_with("field text: expected a text"), "{error}");
        let error = item("mmlu", pool[1].clone(), 1, &pool).unwrap_err().to_string();
        assert_eq!(error, "expected at least 1 examples for the shots of art, found 0");
    }

    /// Lines of the hub and of the first release give the same item.
    #[test]
    fn arc_has_two_layouts() {
        let hub = json!({"id": "1", "question": "Q?", "choices": {"text": ["u", "v"], "label": ["1", "2"]}, "answerKey": "2"});
        let first = json!({"id": "1", "question": {"stem": "Q?", "choices": [{"text": "u", "label": "1"}, {"text": "v", "label": "2"}]}, "answerKey": "2"});
        let found = item("arc_challenge", hub, 0, &[]).unwrap();
        assert_eq!(found, item("arc_challenge", first, 0, &[]).unwrap());
        assert!(matches!(found.expected, Expected::Choice { right: 1, .. }));
        let wrong = json!({"question": "Q?", "choices": {"text": ["u"], "label": ["A"]}, "answerKey": "C"});
        let error = item("arc_challenge", wrong, 0, &[]).unwrap_err().to_string();
        assert!(error.contains("a label among [\"A\"]"), "{error}");
    }

    #[test]
    fn mbpp_has_the_published_split_and_shots() {
        let task = Task::built_in("mbpp").unwrap();
        let ids = [2, 10, 11, 510, 511].map(|id| task.selects(&json!({"task_id": id})).unwrap());
        assert_eq!(ids, [false, false, true, true, false]);
        let shots = Shots { number: 3, examples: task.examples.clone() };
        let fields = json!({"text": "T", "code": "c", "task_id": 11, "test_list": ["assert a", "assert b", "assert c"]});
        let item = task.item(&Document { index: 0, fields }, &shots).unwrap();
        assert_eq!(item.context.matches("\n[DONE]\n\nYou are an expert Python programmer").count(), 3);
        assert!(item.context.ends_with("assert a\nassert b\nassert c\n[BEGIN]\n"));
        assert_eq!(item.expected, Expected::Reference("assert a\nassert b\nassert c".into()));
    }
}
