//! A text in the terminal, with the evidence of its words as colour.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

use crate::one_line::is_obeyed;
use crate::report::{Explanation, LEVELS, TokenEvidence};

/// Background of each level, black on green so that it reads on light and on dark terminals.
const COLOURS: [&str; 4] =
    ["\x1b[38;5;16;48;5;194m", "\x1b[38;5;16;48;5;151m", "\x1b[38;5;16;48;5;114m", "\x1b[38;5;231;48;5;29m"];
const DIM: &str = "\x1b[2m";
const UNDERLINED: &str = "\x1b[4m";
const RESET: &str = "\x1b[0m";

/// Returns whether to write colours: standard output is a terminal, and `NO_COLOR` is not set.
pub fn colours_are_welcome() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A stretch of a text that looks the same throughout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The text to write. It cannot control the terminal or change the direction of the lines around it; line breaks
    /// stay.
    pub text: String,
    /// The escape sequences that switch its look on.
    style: String,
}

impl Run {
    /// Returns `text` without colour.
    pub fn plain(text: &str) -> Self {
        let mut run = Self { text: String::new(), style: String::new() };
        run.extend(text);
        run
    }

    fn extend(&mut self, text: &str) {
        self.text.extend(text.chars().filter(|&c| c != '\r').map(|c| match c {
            '\n' | '\t' => c,
            c if is_obeyed(c) => '\u{fffd}',
            c => c,
        }));
    }

    /// Returns `part` of the text with the escape sequences of its look, or without them if `colours` is false.
    pub fn paint(&self, part: &str, colours: bool) -> String {
        if colours && !self.style.is_empty() {
            format!("{}{part}{RESET}", self.style)
        } else {
            part.to_owned()
        }
    }
}

/// Returns the original text, or the token ids if there is no text, in stretches.
pub fn runs(bytes: Option<&[u8]>, explanation: &Explanation) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut put = |style: String, text: &str| {
        if runs.last().is_none_or(|last| last.style != style) {
            runs.push(Run { text: String::new(), style });
        }
        if let Some(last) = runs.last_mut() {
            last.extend(text);
        }
    };
    match bytes {
        Some(bytes) => {
            for piece in explanation.pieces(bytes.len()) {
                let text = String::from_utf8_lossy(&bytes[piece.bytes.clone()]);
                // What lies between two tokens was removed before the text was cut.
                put(piece.token.map_or_else(|| DIM.into(), style), &text);
            }
        }
        None => {
            for token in &explanation.tokens {
                put(style(token), &format!("{} ", token.id));
            }
        }
    }
    runs
}

/// Returns what the colours mean, as one line.
pub fn legend(colours: bool) -> String {
    if !colours {
        return "  (colours are off; --color always turns them on)\n".into();
    }
    let mut text = String::from("  how much more likely the words there are with the mark than without it: ");
    for ((name, _), colour) in LEVELS.iter().zip(COLOURS) {
        let _ = write!(text, "{colour} {name} {RESET} ");
    }
    let _ = writeln!(text, "{DIM}does not count{RESET} {UNDERLINED}marked passage{RESET}");
    text
}

/// Returns the whole view: the text and what its colours mean.
pub fn view(bytes: Option<&[u8]>, explanation: &Explanation, colours: bool) -> String {
    let text: String = runs(bytes, explanation).iter().map(|run| run.paint(&run.text, colours)).collect();
    format!("\n{text}\n\n{}", legend(colours))
}

fn style(token: &TokenEvidence) -> String {
    let mut style = match token.level() {
        0 if token.counts() => String::new(),
        0 => DIM.to_owned(),
        level => COLOURS[level.min(COLOURS.len()) - 1].to_owned(),
    };
    if token.in_span {
        style.push_str(UNDERLINED);
    }
    style
}
