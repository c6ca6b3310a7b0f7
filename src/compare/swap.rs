//! Rewrites explanations of judges that read the responses in the other order.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Returns an explanation with A and B exchanged where they mean responses: `Response A`, `than B`, `A is`.
pub(super) fn swapped(explanation: &str) -> String {
    static NAMES: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = r"(?x)
            \b(?:[Rr]esponses?|[Aa]ssistants?|[Aa]nswers?|[Mm]odels?|[Tt]exts?|[Oo]ptions?)\ (?:A\ (?:and|or)\ B|B\ (?:and|or)\ A|[AB])\b
            | \b(?:[Tt]han|[Ww]hile|[Bb]oth)\ (?:A\ (?:and|or)\ B|[AB])\b
            | \b[AB]\ (?:is|was|has|does|gives|provides|and\ [AB]|or\ [AB])\b
            | \b[AB](?:'s|’s)";
        Regex::new(pattern).expect("the pattern is fixed and well-formed")
    });
    let letters = |found: &Captures<'_>| {
        // The names of responses are the only words of one capital letter.
        let words = found[0].split_inclusive(|c: char| !c.is_alphanumeric());
        words
            .map(|word| match word.strip_prefix(['A', 'B']) {
                Some(rest) if rest.chars().all(|c| !c.is_alphanumeric()) => {
                    format!("{}{rest}", if word.starts_with('A') { "B" } else { "A" })
                }
                _ => word.to_owned(),
            })
            .collect::<String>()
    };
    NAMES.replace_all(explanation, letters).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_exchanged_where_they_are_responses() {
        for (from, to) in [
            ("Response A is clear, while B is vague.", "Response B is clear, while A is vague."),
            ("A's list is longer than B's.", "B's list is longer than A's."),
            ("Responses A and B are alike; A and B agree.", "Responses B and A are alike; B and A agree."),
            ("A clear answer. Vitamin B helps. Plan A.", "A clear answer. Vitamin B helps. Plan A."),
        ] {
            assert_eq!(swapped(from), to);
            assert_eq!(swapped(to), from);
        }
    }
}
