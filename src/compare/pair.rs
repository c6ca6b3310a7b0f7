//! Pairs the rows of two models.

use std::collections::HashMap;

use super::{CompareError, Response, Row};

/// A prompt with the answers of both models.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Example {
    /// Id as it was written, if the rows have one.
    pub id: Option<String>,
    /// The prompt.
    pub prompt: String,
    /// Token ids of the prompt, if the rows have them.
    pub prompt_tokens: Option<Vec<u32>>,
    /// Tags: the kinds of prompt that it belongs to.
    pub tags: Vec<String>,
    /// The answers of A and B.
    pub responses: [Response; 2],
    /// Number of the prompt, from 0. Examples with the same prompt are not independent.
    pub cluster: usize,
}

/// Result of pairing two files of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairs {
    /// Paired rows, in the order of A's rows.
    pub examples: Vec<Example>,
    /// Places of the rows of A and of B that have no counterpart.
    pub unpaired: [Vec<String>; 2],
}

/// Pairs rows by their ids if all rows have one, else by their prompts. If several rows have the same id or prompt, the first is
/// paired with the first, the second with the second.
///
/// # Errors
/// Returns an error if rows with the same id have different prompts.
pub fn pair(a: Vec<Row>, b: Vec<Row>) -> Result<Pairs, CompareError> {
    let by_id = a.iter().chain(&b).all(|row| row.id.is_some());
    let mut waiting: HashMap<String, Vec<Option<Row>>> = HashMap::new();
    let order: Vec<String> = b.iter().map(|row| row.response.place.clone()).collect();
    for row in b {
        waiting.entry(key(&row, by_id)).or_default().push(Some(row));
    }
    let mut taken: HashMap<String, usize> = HashMap::new();
    let (mut pairs, mut clusters) = (Pairs::default(), HashMap::new());
    for row in a {
        let key = key(&row, by_id);
        let next = taken.entry(key.clone()).or_default();
        let other = waiting.get_mut(&key).and_then(|rows| rows.get_mut(*next)).and_then(Option::take);
        *next += 1;
        let Some(other) = other else {
            pairs.unpaired[0].push(row.response.place);
            continue;
        };
        if prompt(&row) != prompt(&other) {
            let id = row.id.unwrap_or_default();
            return Err(CompareError::Prompts { a: row.response.place, b: other.response.place, id });
        }
        let count = clusters.len();
        let cluster = *clusters.entry(prompt(&row)).or_insert(count);
        let mut tags = row.tags;
        for tag in other.tags {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        pairs.examples.push(Example {
            id: row.id,
            prompt: row.prompt.unwrap_or_default(),
            prompt_tokens: row.prompt_tokens,
            tags,
            responses: [row.response, other.response],
            cluster,
        });
    }
    let mut left: Vec<String> =
        waiting.into_values().flatten().flatten().map(|row| row.response.place).collect();
    left.sort_by_key(|place| order.iter().position(|other| other == place));
    pairs.unpaired[1] = left;
    Ok(pairs)
}

fn key(row: &Row, by_id: bool) -> String {
    match &row.id {
        Some(id) if by_id => id.clone(),
        _ => prompt(row),
    }
}

/// Returns the prompt, or its ids if the text is not known.
fn prompt(row: &Row) -> String {
    match &row.prompt {
        Some(prompt) => prompt.clone(),
        None => format!("{:?}", row.prompt_tokens.as_deref().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: Option<&str>, prompt: &str, place: &str) -> Row {
        Row {
            id: id.map(str::to_owned),
            prompt: Some(prompt.to_owned()),
            response: Response { place: place.to_owned(), ..Response::default() },
            ..Row::default()
        }
    }

    fn places(pairs: &Pairs) -> Vec<[&str; 2]> {
        pairs.examples.iter().map(|example| example.responses.each_ref().map(|r| r.place.as_str())).collect()
    }

    #[test]
    fn rows_are_paired_by_id_or_by_prompt_and_number() {
        let a = vec![row(Some("1"), "p", "a1"), row(Some("2"), "q", "a2"), row(Some("3"), "r", "a3")];
        let b = vec![row(Some("3"), "r", "b1"), row(Some("1"), "p", "b2"), row(Some("9"), "s", "b3")];
        let pairs = pair(a, b).unwrap();
        assert_eq!(places(&pairs), [["a1", "b2"], ["a3", "b1"]]);
        assert_eq!(pairs.unpaired, [vec!["a2".to_owned()], vec!["b3".to_owned()]]);
        // One row has no id, so prompts decide; each prompt has two answers.
        let a = vec![row(None, "p", "a1"), row(Some("1"), "q", "a2"), row(None, "p", "a3")];
        let b = vec![row(None, "p", "b1"), row(None, "p", "b2"), row(None, "q", "b3"), row(None, "p", "b4")];
        let pairs = pair(a, b).unwrap();
        assert_eq!(places(&pairs), [["a1", "b1"], ["a2", "b3"], ["a3", "b2"]]);
        assert_eq!(pairs.examples.iter().map(|example| example.cluster).collect::<Vec<_>>(), [0, 1, 0]);
        assert_eq!(pairs.unpaired[1], ["b4"]);
        let error =
            pair(vec![row(Some("7"), "p", "a1")], vec![row(Some("7"), "q", "b1")]).unwrap_err().to_string();
        assert_eq!(error, "a1 and b1 have one id, 7, and different prompts; expected one prompt");
    }
}
