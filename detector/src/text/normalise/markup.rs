//! Turns HTML and Markdown into the text that readers see.
//!
//! Neither function parses the whole language. Both undo what a web page or an editor puts around plain paragraphs,
//! which is what happens to a text that a model wrote. If the original had blank lines between paragraphs, so has the
//! result.

use std::ops::Range;

use super::Changes;
use super::map::Pass;

/// Elements whose content is not text.
const SILENT: [&str; 5] = ["script", "style", "head", "template", "noscript"];
/// Elements between paragraphs.
const BLOCK: [&str; 26] = [
    "p",
    "div",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "blockquote",
    "pre",
    "ul",
    "ol",
    "table",
    "section",
    "article",
    "header",
    "footer",
    "main",
    "nav",
    "aside",
    "figure",
    "hr",
    "body",
    "html",
    "dl",
    "form",
];
/// Elements that begin a line.
const LINE: [&str; 6] = ["li", "tr", "dt", "dd", "br", "option"];

/// Named character references that editors write. Others stay as they are.
const NAMED: &[(&str, &str)] = &[
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("apos", "'"),
    ("nbsp", " "),
    ("shy", "\u{AD}"),
    ("ndash", "–"),
    ("mdash", "—"),
    ("hellip", "…"),
    ("lsquo", "‘"),
    ("rsquo", "’"),
    ("sbquo", "‚"),
    ("ldquo", "“"),
    ("rdquo", "”"),
    ("bdquo", "„"),
    ("laquo", "«"),
    ("raquo", "»"),
    ("bull", "•"),
    ("middot", "·"),
    ("copy", "©"),
    ("reg", "®"),
    ("trade", "™"),
    ("deg", "°"),
    ("plusmn", "±"),
    ("times", "×"),
    ("divide", "÷"),
    ("frac12", "½"),
    ("euro", "€"),
    ("pound", "£"),
    ("sect", "§"),
    ("para", "¶"),
    ("zwj", "\u{200D}"),
    ("zwnj", "\u{200C}"),
    ("lrm", "\u{200E}"),
    ("rlm", "\u{200F}"),
    ("agrave", "à"),
    ("aacute", "á"),
    ("acirc", "â"),
    ("atilde", "ã"),
    ("auml", "ä"),
    ("aring", "å"),
    ("aelig", "æ"),
    ("ccedil", "ç"),
    ("egrave", "è"),
    ("eacute", "é"),
    ("ecirc", "ê"),
    ("euml", "ë"),
    ("igrave", "ì"),
    ("iacute", "í"),
    ("icirc", "î"),
    ("iuml", "ï"),
    ("ntilde", "ñ"),
    ("ograve", "ò"),
    ("oacute", "ó"),
    ("ocirc", "ô"),
    ("otilde", "õ"),
    ("ouml", "ö"),
    ("oslash", "ø"),
    ("ugrave", "ù"),
    ("uacute", "ú"),
    ("ucirc", "û"),
    ("uuml", "ü"),
    ("yacute", "ý"),
    ("szlig", "ß"),
    ("Auml", "Ä"),
    ("Ouml", "Ö"),
    ("Uuml", "Ü"),
    ("Eacute", "É"),
    ("Agrave", "À"),
    ("Aring", "Å"),
    ("Oslash", "Ø"),
    ("Ccedil", "Ç"),
];

/// Turns HTML into text: see [`Markup::Html`](super::Markup::Html).
pub(super) fn html(text: &str, pass: &mut Pass<'_>, changes: &mut Changes) {
    let mut pos = 0;
    // White space and tags between two visible characters, and the kind of break that they make.
    let mut gap = Gap { start: 0, space: Space::None, markup: false };
    let mut seen = false;
    let mut pre = 0_u32;
    while let Some(c) = text[pos..].chars().next() {
        let rest = &text[pos..];
        if c == '<'
            && let Some(tag) = Tag::read(rest)
        {
            let mut end = pos + tag.len;
            gap.markup = true;
            if SILENT.contains(&tag.name.as_str()) && !tag.closing {
                end += skip_element(&text[end..], &tag.name);
            }
            if tag.name == "pre" {
                pre = if tag.closing { pre.saturating_sub(1) } else { pre + 1 };
            }
            if BLOCK.contains(&tag.name.as_str()) {
                gap.space = Space::Paragraph;
            } else if LINE.contains(&tag.name.as_str()) {
                gap.space = gap.space.max(Space::Line);
            }
            pos = end;
        } else if c.is_ascii_whitespace() && pre == 0 {
            gap.space = gap.space.max(Space::Word);
            pos += 1;
        } else {
            gap.close(text, pos, seen, pass, changes);
            seen = true;
            match (c == '&').then(|| reference(rest)).flatten() {
                Some((len, with)) => {
                    pass.replace(pos..pos + len, &with);
                    changes.markup += 1;
                    pos += len;
                }
                None => pos += c.len_utf8(),
            }
            gap = Gap { start: pos, space: Space::None, markup: false };
        }
    }
    gap.space = Space::None;
    gap.close(text, pos, seen, pass, changes);
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Space {
    None,
    Word,
    Line,
    Paragraph,
}

struct Gap {
    start: usize,
    space: Space,
    markup: bool,
}

impl Gap {
    fn close(&self, text: &str, end: usize, seen: bool, pass: &mut Pass<'_>, changes: &mut Changes) {
        let with = match self.space {
            _ if !seen => "",
            Space::None => "",
            Space::Word => " ",
            Space::Line => "\n",
            Space::Paragraph => "\n\n",
        };
        if &text[self.start..end] != with {
            pass.replace(self.start..end, with);
            changes.markup += u64::from(self.markup);
        }
    }
}

struct Tag {
    name: String,
    closing: bool,
    len: usize,
}

impl Tag {
    /// Reads a tag, comment or declaration at the start of `text`, which begins with `<`. A `<` that does not begin one
    /// is text.
    fn read(text: &str) -> Option<Self> {
        let none = |len| Some(Self { name: String::new(), closing: false, len });
        if let Some(comment) = text.strip_prefix("<!--") {
            return none(comment.find("-->").map_or(text.len(), |at| at + 7));
        }
        if text.starts_with("<!") || text.starts_with("<?") {
            return none(text.find('>').map_or(text.len(), |at| at + 1));
        }
        let closing = text.as_bytes().get(1) == Some(&b'/');
        let start = 1 + usize::from(closing);
        let name: String = text[start..].chars().take(32).take_while(char::is_ascii_alphanumeric).collect();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return None;
        }
        // A `>` inside a quoted attribute does not end the tag.
        let mut quote = None;
        for (at, byte) in text.bytes().enumerate().skip(start + name.len()) {
            match (quote, byte) {
                (None, b'>') => return Some(Self { name: name.to_ascii_lowercase(), closing, len: at + 1 }),
                (None, b'<') => return None,
                (None, b'"' | b'\'') => quote = Some(byte),
                (Some(open), _) if open == byte => quote = None,
                // No tag is this long; what looks like one is text. The bound keeps the walk linear.
                _ if at > MAX_TAG => return None,
                _ => {}
            }
        }
        None
    }
}

/// Number of bytes in the longest tag that is accepted.
const MAX_TAG: usize = 16 << 10;

/// Returns the number of bytes up to the end tag of `name`, which the caller meets next; all of `text` if there is
/// none.
fn skip_element(text: &str, name: &str) -> usize {
    let mut from = 0;
    while let Some(at) = text[from..].find("</") {
        let end = from + at;
        let found = text.as_bytes().get(end + 2..end + 2 + name.len());
        if found.is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes())) {
            return end;
        }
        from = end + 2;
    }
    text.len()
}

/// Returns a character reference at the start of `text`: its length and what it stands for.
fn reference(text: &str) -> Option<(usize, String)> {
    let end = text.bytes().take(12).position(|byte| byte == b';')?;
    let name = &text[1..end];
    let found = match name.strip_prefix('#') {
        Some(number) => {
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            match code.ok()? {
                0xA0 => " ".to_owned(),
                0 => return None,
                code => char::from_u32(code)?.to_string(),
            }
        }
        None => NAMED.iter().find(|known| known.0 == name)?.1.to_owned(),
    };
    Some((end + 1, found))
}

/// Turns Markdown into text: see [`Markup::Markdown`](super::Markup::Markdown).
pub(super) fn markdown(text: &str, pass: &mut Pass<'_>, changes: &mut Changes) {
    let mut remove = |range: Range<usize>| {
        if !range.is_empty() {
            pass.replace(range, "");
            changes.markup += 1;
        }
    };
    // The fence that ends the code block, if the line lies in one.
    let mut fence: Option<&str> = None;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        let indent = line.len() - line.trim_start_matches(' ').len();
        let content = line.trim();
        let ticks = content.len() - content.trim_start_matches('`').len();
        let tildes = content.len() - content.trim_start_matches('~').len();
        if ticks.max(tildes) >= 3 {
            match fence {
                None => {
                    fence = Some(&content[..ticks.max(tildes)]);
                    remove(start..end);
                }
                Some(open) if content.starts_with(open) && content.trim_matches(['`', '~']).is_empty() => {
                    fence = None;
                    remove(start..end);
                }
                Some(_) => {}
            }
        } else if fence.is_none() {
            let mark = indent + block_mark(&line[indent..]);
            if mark > indent {
                remove(start..start + mark);
            }
            inline(text, start + mark..end, &mut remove);
        }
        start = end;
    }
}

/// Returns the number of bytes of the quotation, heading or list marks with which a line begins.
fn block_mark(line: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = &line[at..];
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        if let Some(after) = rest.strip_prefix('>') {
            at += 1 + usize::from(after.starts_with(' '));
        } else if (1..=6).contains(&hashes) && rest[hashes..].starts_with(' ') {
            return at + hashes + 1;
        } else if rest.starts_with("- ") || rest.starts_with("* ") || rest.starts_with("+ ") {
            return at + 2;
        } else {
            return at;
        }
    }
}

/// Removes the marks of emphasis, code, escapes and links in one line.
fn inline(text: &str, line: Range<usize>, remove: &mut impl FnMut(Range<usize>)) {
    // Targets of links that lie ahead: `](` to `)`.
    let mut pos = line.start;
    while let Some(c) = text[pos..line.end].chars().next() {
        let rest = &text[pos..line.end];
        let before = text[line.start..pos].chars().next_back();
        match c {
            '\\' if rest[1..].starts_with(|c: char| c.is_ascii_punctuation()) => {
                remove(pos..pos + 1);
                pos += 2;
            }
            '*' | '_' | '~' | '`' => {
                let run = rest.len() - rest.trim_start_matches(c).len();
                let after = rest[run..].chars().next();
                let outside = |c: Option<char>| c.is_none_or(char::is_whitespace);
                let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
                // As in CommonMark: not between spaces, `_` not inside a word, and a single `~` is not a mark.
                let mark = match c {
                    '~' => run == 2,
                    '_' => run <= 3 && !(inside(before) && inside(after)),
                    _ => run <= 3,
                };
                if mark && !(outside(before) && outside(after)) {
                    remove(pos..pos + run);
                }
                pos += run;
            }
            '!' | '[' => {
                let bracket = usize::from(c == '!');
                if rest[bracket..].starts_with('[') && link_text(&rest[bracket..]).is_some() {
                    remove(pos..pos + bracket + 1);
                    pos += bracket + 1;
                } else {
                    pos += 1;
                }
            }
            ']' if rest.starts_with("](") => match target(rest) {
                Some(len) => {
                    remove(pos..pos + len);
                    pos += len;
                }
                None => pos += 1,
            },
            _ => pos += c.len_utf8(),
        }
    }
}

/// Returns the length of a link's text, if `text`, which begins with `[`, is a link.
fn link_text(text: &str) -> Option<usize> {
    let end = text.as_bytes().iter().take(MAX_LINK).position(|&byte| byte == b']')?;
    target(&text[end..]).map(|_| end)
}

/// Returns the number of bytes of `](target)` at the start of `text`.
fn target(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("](")?;
    inner.bytes().take(MAX_LINK).position(|byte| byte == b')').map(|at| at + 3)
}

/// Number of bytes in the longest text and in the longest target of a link. The bound keeps the walk linear.
const MAX_LINK: usize = 1 << 10;
