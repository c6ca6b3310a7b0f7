//! Reports as pages for people. Each is one file, needs no network and no scripts, is light or dark, and can be
//! printed.
//!
//! Everything that comes from outside (texts, names, warnings) goes through `Escaped`.

#[doc(hidden)]
pub mod ask;
mod attack;
mod calibration;
mod score;
mod segments;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::one_line::is_obeyed;
use crate::report::Warning;

pub use attack::attack;
pub use calibration::calibration;
pub use score::{Scored, report, score, sentence};
pub use segments::{Segmented, segments};

/// Writes to a string, which cannot fail; this keeps that in one place.
macro_rules! put {
    ($page:expr, $($format:tt)*) => {{
        use std::fmt::Write as _;
        let _ = write!($page, $($format)*);
    }};
}
use put;

/// Parts from which other programs build their own pages. They are outside the promises of the version number.
#[doc(hidden)]
pub mod parts {
    pub use super::score::{coloured, legend, meaning, shown_p};
    pub use super::{Escaped, Page, page, warnings};
}

/// A text as HTML shows it, in an element or in a quoted attribute. Control characters that HTML forbids, and those
/// that change the direction of what follows, become U+FFFD. So a text cannot rearrange the page around it.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\t' => f.write_char(c)?,
                // A separate line break, or half of one.
                '\r' => {}
                c if is_obeyed(c) => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// The beginning of every page. After it the policy may allow a script.
pub const OPENING: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
     <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
     <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'";

/// A page with a script.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The title and the heading, which are text.
    pub title: &'a str,
    /// What stands under the heading, as HTML.
    pub body: &'a str,
    /// Style rules after those that all pages have.
    pub style: &'a str,
    /// The script, which runs when the page is loaded.
    pub script: &'a str,
    /// SHA-256 of a line feed and the script, in base64. The policy allows no other script.
    pub script_sha256: &'a str,
}

impl Page<'_> {
    /// Returns the page.
    pub fn html(&self) -> String {
        let Self { body, style, script, script_sha256, .. } = self;
        let (shared, title) = (include_str!("style.css"), Escaped(self.title));
        format!(
            "{OPENING}; script-src 'sha256-{script_sha256}'\">\n<title>{title}</title>\n<style>\n{shared}{style}</style>\n</head>\n\
             <body>\n<main>\n<h1>{title}</h1>\n{body}</main>\n<script>\n{script}</script>\n</body>\n</html>\n"
        )
    }
}

/// Returns the page around `body`, which is HTML.
pub fn page(title: &str, body: &str) -> String {
    let style = include_str!("style.css");
    let title = Escaped(title);
    format!(
        "{OPENING}\">\n<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}</main>\n\
         </body>\n</html>\n"
    )
}

/// Writes a row of a table of facts; `value` is text.
fn fact(body: &mut String, name: &str, value: &str) {
    put!(body, "<tr><th>{}</th><td>{}</td></tr>\n", Escaped(name), Escaped(value));
}

/// Writes the warnings as a list, if there are any.
pub fn warnings(body: &mut String, warnings: &[Warning]) {
    if warnings.is_empty() {
        return;
    }
    body.push_str("<ul class=\"warnings\">\n");
    for warning in warnings {
        put!(body, "<li>{}</li>\n", Escaped(&warning.message));
    }
    body.push_str("</ul>\n");
}
