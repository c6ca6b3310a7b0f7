//! A text in the terminal, with the evidence of its words as colour.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

use wmdetect::detect::explain::{Explanation, LEVELS, TokenEvidence};

use super::args::ColorChoice;

/// Background of each level, black on green so that it reads on light and on dark terminals.
const COLOURS: [&str; 4] =
    ["\x1b[38;5;16;48;5;194m", "\x1b[38;5;16;48;5;151m", "\x1b[38;5;16;48;5;114m", "\x1b[38;5;231;48;5;29m"];
const DIM: &str = "\x1b[2m";
const UNDERLINED: &str = "\x1b[4m";
const RESET: &str = "\x1b[0m";

/// Whether to write colours: as asked for, else where standard output is a terminal and `NO_COLOR` is not set.
pub(super) fn colours(choice: ColorChoice) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        }
    }
}

/// The text, or the token ids where there is none, and what the colours mean.
pub(super) fn view(bytes: Option<&[u8]>, explanation: &Explanation, colours: bool) -> String {
    let mut out = Painter { text: String::from("\n"), style: String::new(), colours };
    match bytes {
        Some(bytes) => {
            for piece in explanation.pieces(bytes.len()) {
                let text = String::from_utf8_lossy(&bytes[piece.bytes.clone()]);
                out.put(&piece.token.map_or_else(|| DIM.into(), style), &text);
            }
        }
        None => {
            for token in &explanation.tokens {
                out.put(&style(token), &format!("{} ", token.id));
            }
        }
    }
    out.end();
    let mut text = out.text;
    text.push_str("\n\n");
    if colours {
        text.push_str("  with the words around it, as likely with the mark as without it, times ");
        for ((name, _), colour) in LEVELS.iter().zip(COLOURS) {
            let _ = write!(text, "{colour} {name} {RESET} ");
        }
        let _ = writeln!(text, "{DIM}does not count{RESET} {UNDERLINED}marked passage{RESET}");
    } else {
        text.push_str("  (colours are off; --color always turns them on)\n");
    }
    text
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

struct Painter {
    text: String,
    /// What is switched on.
    style: String,
    colours: bool,
}

impl Painter {
    fn put(&mut self, style: &str, shown: &str) {
        if self.colours && style != self.style {
            self.end();
            self.text.push_str(style);
            style.clone_into(&mut self.style);
        }
        // A text must not give orders to the terminal, nor turn the lines around it.
        self.text.extend(shown.chars().filter(|&c| c != '\r').map(|c| match c {
            '\n' | '\t' => c,
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            c if c.is_control() => '\u{fffd}',
            c => c,
        }));
    }

    fn end(&mut self) {
        if !self.style.is_empty() {
            self.text.push_str(RESET);
            self.style.clear();
        }
    }
}
