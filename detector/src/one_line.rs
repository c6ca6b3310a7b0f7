//! Foreign names and messages, shown to people on one line.

use std::fmt::{self, Write as _};

/// Shows a foreign text on one line: an id, a path, a name or a message.
///
/// Control characters, line breaks, marks that change the direction of writing, and invisible characters are written as
/// escapes such as `\n` or `\u{1b}`. Everything else stays, also backslashes, so that a text may pass through here
/// twice.
#[allow(unreachable_pub, reason = "the feature `shell` hands it on")]
#[derive(Clone, Copy, Debug)]
pub struct OneLine<'a>(pub &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if is_obeyed(c) || is_invisible(c) {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// Returns whether a terminal or a page obeys the character instead of showing it. Such are control characters, with
/// line breaks and tabs, and marks that open or close a stretch of another direction.
pub(crate) fn is_obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns whether the character is invisible, so that two names with and without it look the same, or is one of
/// Unicode's own line breaks. Joiners are not among these, since some scripts need them.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}'
        | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_is_obeyed_and_nothing_is_escaped_twice() {
        let hostile = "a\nb\r\t\u{1b}[31m\u{9b}2J\u{7f}\u{202e}c\u{2066}\u{2028}\u{feff}\u{200b}";
        let shown = OneLine(hostile).to_string();
        assert_eq!(shown, r"a\nb\r\t\u{1b}[31m\u{9b}2J\u{7f}\u{202e}c\u{2066}\u{2028}\u{feff}\u{200b}");
        assert_eq!(OneLine(&shown).to_string(), shown);
    }

    #[test]
    fn names_in_any_script_stay() {
        for name in [
            r"C:\texts\a.txt",
            "naïve café e\u{301}",
            "می\u{200c}خواهم",
            "👩\u{200d}🚀",
            "日本語",
            "it's \"x\"",
        ] {
            assert_eq!(OneLine(name).to_string(), name);
        }
    }
}
