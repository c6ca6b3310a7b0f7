//! Spaces, line ends, quotes and dashes as typists write them.
//!
//! Word processors, chat programs, web pages and operating systems put other spaces, line ends, quotes and dashes in
//! the place of those that were typed. A model writes them, too, so neither form is right for every text. A detector
//! [tries both](super::Normaliser::forms).

use super::Changes;
use super::map::Pass;

/// What becomes of spaces, line ends, quotes and dashes that software substitutes for typed ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Typography {
    /// They stay.
    #[default]
    Kept,
    /// Spaces of every kind become U+0020, and line ends of every kind become line feeds.
    PlainSpaces,
    /// Quotes, dashes and ellipses also become what a keyboard has.
    Plain,
}

/// Sort of a typographic character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Space,
    LineEnd,
    Quote,
    Dash,
    Ellipsis,
}

/// Returns what `c` stands for, if it is one of these characters. A carriage return before a line feed is part of it.
fn plain(c: char) -> Option<(Kind, &'static str)> {
    Some(match c {
        '\r' | '\u{B}' | '\u{85}' | '\u{2028}' | '\u{2029}' => (Kind::LineEnd, "\n"),
        // The last three are blanks of Braille and Hangul that are not white space.
        '\u{A0}'
        | '\u{2000}'..='\u{200A}'
        | '\u{202F}'
        | '\u{205F}'
        | '\u{3000}'
        | '\u{2800}'
        | '\u{3164}'
        | '\u{FFA0}' => (Kind::Space, " "),
        '\u{2018}'..='\u{201B}' => (Kind::Quote, "'"),
        '\u{201C}'..='\u{201F}' => (Kind::Quote, "\""),
        '\u{2010}'..='\u{2013}' | '\u{2212}' => (Kind::Dash, "-"),
        '\u{2014}' | '\u{2015}' => (Kind::Dash, "--"),
        '\u{2026}' => (Kind::Ellipsis, "..."),
        _ => return None,
    })
}

/// Returns what `c` becomes under `typography`.
fn replacement(c: char, typography: Typography) -> Option<(Kind, &'static str)> {
    let found = plain(c)?;
    let wanted = match typography {
        Typography::Kept => false,
        Typography::PlainSpaces => matches!(found.0, Kind::Space | Kind::LineEnd),
        Typography::Plain => true,
    };
    wanted.then_some(found)
}

/// Returns whether `typography` changes anything in `text`.
pub(super) fn changes(text: &str, typography: Typography) -> bool {
    if typography == Typography::Kept {
        return false;
    }
    if text.is_ascii() {
        return text.bytes().any(|byte| matches!(byte, b'\r' | 0x0B));
    }
    text.chars().any(|c| replacement(c, typography).is_some())
}

/// Makes spaces and line ends plain.
pub(super) fn spaces(text: &str, pass: &mut Pass<'_>, changes: &mut Changes) {
    replace(text, pass, changes, Typography::PlainSpaces);
}

/// Makes spaces, line ends, quotes, dashes and ellipses plain.
pub(super) fn all(text: &str, pass: &mut Pass<'_>, changes: &mut Changes) {
    replace(text, pass, changes, Typography::Plain);
}

fn replace(text: &str, pass: &mut Pass<'_>, changes: &mut Changes, typography: Typography) {
    for (at, c) in text.char_indices() {
        let Some((kind, with)) = replacement(c, typography) else { continue };
        let end = at + c.len_utf8();
        // The line feed stays, and the carriage return goes.
        let with = if c == '\r' && text[end..].starts_with('\n') { "" } else { with };
        pass.replace(at..end, with);
        *match kind {
            Kind::Space => &mut changes.spaces,
            Kind::LineEnd => &mut changes.line_ends,
            Kind::Quote => &mut changes.quotes,
            Kind::Dash => &mut changes.dashes,
            Kind::Ellipsis => &mut changes.ellipses,
        } += 1;
    }
}
