//! The file format of LLM Comparator (PAIR-code/llm-comparator, last changed on 18 October 2024).
//!
//! LLM Comparator's page checks nothing: the fields that it needs must exist, even if they are empty. So these fields
//! are never left out.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use wmdetect::report::Explanation;

use super::Rating;
use super::rationales::{Group, Reason};
use super::summary::Rated;

/// A file of LLM Comparator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Origin of the file, and the fields of the examples.
    pub metadata: Metadata,
    /// The names of A and B.
    pub models: [Model; 2],
    /// The examples.
    pub examples: Vec<FileExample>,
    /// Groups of reasons.
    pub rationale_clusters: Vec<Cluster>,
}

/// Origin of a file, and the fields of its examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// Origin, as a text for people.
    pub source_path: String,
    /// Fields of each example's `custom_fields`.
    pub custom_fields_schema: Vec<Field>,
}

/// A field of the examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Name that the page shows.
    pub name: String,
    /// Form in which the page shows it.
    #[serde(rename = "type")]
    pub kind: FieldKind,
}

/// Form in which the page shows a field. Only the forms that wmgen writes are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// One text per example.
    String,
    /// A number for each response, or null.
    PerModelNumber,
    /// A word for each response.
    PerModelCategory,
}

/// A model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Name of the model.
    pub name: String,
}

/// An example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileExample {
    /// The prompt.
    pub input_text: String,
    /// Tags: the kinds of prompt that it belongs to.
    pub tags: Vec<String>,
    /// A's response.
    pub output_text_a: String,
    /// B's response.
    pub output_text_b: String,
    /// Mean of the ratings, positive if A is better; null without ratings. The page leaves such an example out of its
    /// rates.
    pub score: Option<f64>,
    /// The ratings.
    pub individual_rater_scores: Vec<FileRating>,
    /// The reasons for the winner.
    pub rationale_list: Vec<FileReason>,
    /// Values of the fields.
    pub custom_fields: Map<String, Value>,
}

/// A rating.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRating {
    /// Score, positive if A is better.
    pub score: f64,
    /// The judge's words, in the order in which it read the responses.
    pub rating_label: Option<String>,
    /// Whether the judge read B's response first.
    pub is_flipped: Option<bool>,
    /// The explanation, in which A and B are the models.
    pub rationale: String,
    /// Empty, because no field belongs to ratings.
    pub custom_fields: Map<String, Value>,
}

/// A reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileReason {
    /// The sentence.
    pub rationale: String,
    /// For each cluster, 1 if the reason belongs to it, else 0. The page counts 0.8 and more as membership.
    pub similarities: Vec<f64>,
}

/// A group of reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// What the reasons have in common.
    pub title: String,
}

/// Makes the file. `marks` are the detector's findings in the responses of each example; empty without a key.
pub fn file(
    source: &str,
    models: &[String; 2],
    all: &[Rated],
    (groups, reasons): (&[Group], &[Vec<Reason>]),
    marks: &[[Explanation; 2]],
) -> File {
    let columns = columns(all, marks);
    let example = |(at, rated): (usize, &Rated)| {
        let reasons = reasons.get(at).map_or(&[][..], Vec::as_slice);
        let reason = |reason: &Reason| FileReason {
            rationale: reason.text.clone(),
            similarities: reason.groups.iter().map(|belongs| f64::from(u8::from(*belongs))).collect(),
        };
        let example = &rated.example;
        let [a, b] = &example.responses;
        FileExample {
            input_text: example.prompt.clone(),
            tags: example.tags.clone(),
            output_text_a: a.text.clone(),
            output_text_b: b.text.clone(),
            score: rated.score(),
            individual_rater_scores: rated.ratings.iter().map(rating).collect(),
            rationale_list: reasons.iter().map(reason).collect(),
            custom_fields: columns
                .iter()
                .map(|(field, values)| (field.name.clone(), values[at].clone()))
                .collect(),
        }
    };
    let examples = all.iter().enumerate().map(example).collect();
    File {
        metadata: Metadata {
            source_path: source.to_owned(),
            custom_fields_schema: columns.into_iter().map(|(field, _)| field).collect(),
        },
        models: models.clone().map(|name| Model { name }),
        examples,
        rationale_clusters: groups.iter().map(|group| Cluster { title: group.title.clone() }).collect(),
    }
}

fn rating(rating: &Rating) -> FileRating {
    FileRating {
        score: rating.score,
        rating_label: rating.label.clone(),
        is_flipped: rating.flipped,
        rationale: rating.rationale.clone(),
        custom_fields: Map::new(),
    }
}

/// Returns the fields that any example has, each with its value for every example.
fn columns(all: &[Rated], marks: &[[Explanation; 2]]) -> Vec<(Field, Vec<Value>)> {
    let per_model = |value: &dyn Fn(usize, usize) -> Value| -> Vec<Value> {
        (0..all.len()).map(|at| json!([value(at, 0), value(at, 1)])).collect()
    };
    let response = |at: usize, side: usize| &all[at].example.responses[side];
    let report = |at: usize, side: usize| marks.get(at).map(|marks| &marks[side].report);
    let id = |rated: &Rated| json!(rated.example.id.as_deref().map(|id| id.trim_matches('"')));
    let number = FieldKind::PerModelNumber;
    let columns = [
        ("id", FieldKind::String, all.iter().map(id).collect()),
        ("characters", number, per_model(&|at, side| json!(response(at, side).text.chars().count()))),
        ("tokens", number, per_model(&|at, side| json!(response(at, side).tokens))),
        ("tokens per second", number, per_model(&|at, side| json!(response(at, side).tokens_per_s))),
        (
            "mark",
            FieldKind::PerModelCategory,
            per_model(&|at, side| json!(report(at, side).map(|report| report.verdict.name()))),
        ),
        ("p-value", number, per_model(&|at, side| json!(report(at, side).and_then(|report| report.p_value)))),
        (
            "log10 of p",
            number,
            per_model(&|at, side| json!(report(at, side).and_then(|report| report.log10_p))),
        ),
        (
            "scored tokens",
            number,
            per_model(&|at, side| json!(report(at, side).map(|report| report.scored_tokens))),
        ),
    ];
    let has_values =
        |values: &[Value]| values.iter().any(|value| !value.is_null() && *value != json!([null, null]));
    let named =
        |(name, kind, values): (&str, FieldKind, Vec<Value>)| (Field { name: name.to_owned(), kind }, values);
    columns.into_iter().filter(|(_, _, values)| has_values(values)).map(named).collect()
}
