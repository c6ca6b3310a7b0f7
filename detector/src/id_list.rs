//! Token ids as JSON: one array, or one array a line.

/// What is wrong with a list of token ids.
#[derive(Debug, thiserror::Error)]
#[error("not token ids: {source}; expected a JSON array such as [2, 651, 235248]")]
pub struct IdListError {
    #[from]
    source: serde_json::Error,
}

/// A list of token ids and its line.
#[derive(Debug)]
pub struct IdList {
    /// The line, from 1. `None` if the input is one list.
    pub line: Option<usize>,
    /// The ids, or what is wrong with them.
    pub ids: Result<Vec<u32>, IdListError>,
}

/// Returns the lists of an input: its one array, which may cover many lines, or else the array of each line that is not
/// empty. An input with at most one such line is one list, valid or not.
pub fn lists(json: &[u8]) -> impl Iterator<Item = IdList> {
    let mut lines = json
        .split(|&byte| byte == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.trim_ascii().is_empty())
        .map(|(index, line)| (index + 1, line));
    let whole = parse(json);
    let one = whole.is_ok() || lines.clone().nth(1).is_none();
    let whole = one.then_some(IdList { line: None, ids: whole });
    if one {
        lines.by_ref().for_each(drop);
    }
    whole.into_iter().chain(lines.map(|(line, json)| IdList { line: Some(line), ids: parse(json) }))
}

/// Reads one array.
///
/// # Errors
/// Returns an error if the JSON is not an array of numbers from 0 to 2^32 − 1.
pub fn parse(json: &[u8]) -> Result<Vec<u32>, IdListError> {
    Ok(serde_json::from_slice(json)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str) -> Vec<(Option<usize>, Option<Vec<u32>>)> {
        lists(json.as_bytes()).map(|list| (list.line, list.ids.ok())).collect()
    }

    #[test]
    fn one_array_may_be_spread_over_lines() {
        assert_eq!(found("[1,\n2,\n\n3]\n"), [(None, Some(vec![1, 2, 3]))]);
        assert_eq!(found("[]"), [(None, Some(vec![]))]);
    }

    #[test]
    fn each_line_is_judged_alone_and_named_by_its_number() {
        assert_eq!(
            found("[1]\n\n[2\n[3]\n"),
            [(Some(1), Some(vec![1])), (Some(3), None), (Some(4), Some(vec![3]))]
        );
    }

    #[test]
    fn what_is_wrong_alone_is_one_list() {
        for json in ["", "\n", "[1, -1]", "[4294967296]\n", "words"] {
            assert_eq!(found(json), [(None, None)], "{json:?}");
        }
        let error = lists(b"words").next().unwrap().ids.unwrap_err().to_string();
        assert!(error.starts_with("not token ids: ") && error.contains("[2, 651, 235248]"), "{error}");
    }
}
