//! Findings in words, for pages and for the terminal.

use crate::counted::counted;
use crate::report::{Changes, Report, Span};
use crate::statistics::{PKind, PValue};
use crate::verdict::Verdict;

/// Says how many unmarked texts are called watermarked at the rate `fpr`.
pub(super) fn false_alarms(fpr: f64) -> String {
    format!("one in {} unmarked texts is called watermarked at the rate {fpr:?}", one_in(fpr.log10()))
}

/// Says what was changed in a text, and how many forms of it were tried; returns `None` if neither is worth a word.
pub fn changed(changes: Option<Changes>, forms_tried: Option<u64>) -> Option<String> {
    let kinds = changes.map(Changes::kinds).into_iter().flatten();
    let kinds: Vec<String> = kinds.map(|(kind, count)| counted(count, kind)).collect();
    let what = kinds.join(", ");
    match (forms_tried, kinds.is_empty()) {
        (Some(forms), true) => Some(format!(
            "nothing; plain quotes, dashes and spaces were tried, too, and p counts all {forms} forms"
        )),
        (Some(forms), false) => Some(format!("{what}; this is the best of the text's {forms} forms")),
        (None, true) => None,
        (None, false) => Some(what),
    }
}

/// Says how many effective tokens a text that is too short has, and how many it needs. Returns `None` for other verdicts.
pub(super) fn needed(report: &Report) -> Option<String> {
    let (effective, required) = (report.effective_tokens?, report.required_tokens?);
    (report.verdict == Verdict::TooShort)
        .then(|| format!("the scored tokens count as {effective}, and {required} are needed"))
}

/// Lists the first passages of a text, each with its place and its p. `kind` is that of the p-value of the whole text.
/// A passage's p-value is an upper bound.
pub(super) fn passages(spans: &[Span], kind: PKind) -> String {
    const SHOWN: usize = 3;
    let kind = if kind == PKind::Exact { PKind::Conservative } else { kind };
    let one = |span: &Span| {
        let (unit, [from, to]) = span.bytes.map_or(("tokens", span.tokens), |bytes| ("bytes", bytes));
        format!("{unit} {from} to {to} (p = {})", PValue { log10: span.log10_p, kind })
    };
    let mut text = spans.iter().take(SHOWN).map(one).collect::<Vec<_>>().join(", ");
    if spans.len() > SHOWN {
        text = format!("{text} and {} more", spans.len() - SHOWN);
    }
    text
}

/// Returns `¹⁷` for 17.
fn superscript(number: u64) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    number.to_string().bytes().map(|digit| DIGITS[usize::from(digit - b'0')]).collect()
}

/// Returns `3.2 million` for one in 3,210,000: 1/p from log₁₀ p, rounded so that it is never too large.
pub(super) fn one_in(log10_p: f64) -> String {
    const NAMES: [(f64, &str); 3] = [(12.0, "trillion"), (9.0, "billion"), (6.0, "million")];
    let exponent = -log10_p;
    if exponent >= 15.0 {
        return format!("10{}", superscript(exponent.floor() as u64));
    }
    // Two digits, rounded down.
    let digits = |power: f64| {
        let number = 10f64.powf(exponent - power) * (1.0 + 1e-12);
        if number < 10.0 { (number * 10.0).floor() / 10.0 } else { number.floor() }
    };
    match NAMES.iter().find(|(power, _)| exponent >= *power) {
        Some((power, name)) => format!("{} {name}", digits(*power)),
        None if exponent >= 3.0 => {
            let number = (digits(3.0) * 1000.0).round() as u64;
            format!("{},{:03}", number / 1000, number % 1000)
        }
        None => format!("{}", digits(0.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_named_with_their_numbers() {
        let changes = Changes { spaces: 56, line_ends: 6, confusables: 1, ..Changes::default() };
        let shown = changed(Some(changes), Some(2)).unwrap();
        assert_eq!(shown, "56 spaces, 6 line ends, 1 look-alike; this is the best of the text's 2 forms");
        assert_eq!(changed(Some(Changes::default()), None), None);
        assert_eq!(
            false_alarms(0.001),
            "one in 1,000 unmarked texts is called watermarked at the rate 0.001"
        );
    }

    #[test]
    fn one_in_is_never_too_large() {
        let cases = [
            (0.0, "1"),
            (-2.0, "100"),
            (-3.0, "1,000"),
            (-3.51, "3,200"),
            (-11.5, "316 billion"),
            (-40.2, "10⁴⁰"),
        ];
        for (log10, text) in cases {
            assert_eq!(one_in(log10), text);
        }
    }
}
