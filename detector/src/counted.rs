//! Numbers with their nouns.

/// Returns a number with its noun, given in the singular: `1 key`, `2 keys`, `0 entries`, `3 pieces of markup`.
pub fn counted(number: u64, one: &str) -> String {
    if number == 1 {
        return format!("1 {one}");
    }
    let (noun, rest) = one.find(" of ").map_or((one, ""), |at| one.split_at(at));
    let (stem, ending) = if let Some(stem) = noun.strip_suffix("sis") {
        (stem, "ses")
    } else if let Some(stem) = noun.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u'])) {
        (stem, "ies")
    } else if noun.ends_with('s') || noun.ends_with('x') || noun.ends_with("sh") || noun.ends_with("ch") {
        (noun, "es")
    } else {
        (noun, "s")
    };
    format!("{number} {stem}{ending}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_every_other_number_is_plural() {
        let all = [
            (1, "key", "1 key"),
            (0, "key", "0 keys"),
            (2, "entry", "2 entries"),
            (21, "class", "21 classes"),
            (2, "dash", "2 dashes"),
            (3, "ellipsis", "3 ellipses"),
            (2, "piece of markup", "2 pieces of markup"),
            (1, "piece of markup", "1 piece of markup"),
        ];
        for (number, one, shown) in all {
            assert_eq!(counted(number, one), shown);
        }
    }
}
