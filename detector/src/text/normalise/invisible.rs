//! Characters that nobody sees.
//!
//! Such a character stays only where correct writing needs it:
//!
//! - joiners in emoji, in Arabic and in Indic script;
//! - variation selectors after what they vary;
//! - tags in flags;
//! - direction controls on lines with right-to-left letters;
//! - zero-width spaces in scripts that write no spaces.
//!
//! The rules for joiners are those of RFC 5892, appendix A (CONTEXTJ): next to a virama, or where the letter before
//! would join. The other rules are those of Unicode: UAX #9 (direction), UTS #51 (emoji) and chapter 23 (variation
//! selectors). Anywhere else the character has no effect that a reader could see.
//!
//! Each decision depends on the nearest visible characters and on the character kept just before. So a second pass
//! changes nothing.

use unicode_normalization::char::{canonical_combining_class, is_combining_mark};

use super::Changes;
use super::map::Pass;
use super::plain::plain_prefix;

const ZWNJ: char = '\u{200C}';
const ZWJ: char = '\u{200D}';
const KEYCAP: char = '\u{20E3}';
const BLACK_FLAG: char = '\u{1F3F4}';
const CANCEL_TAG: char = '\u{E007F}';

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ZeroWidth,
    SoftHyphen,
    Bidi,
    Variation,
    Tag,
    Control,
}

/// Returns what sort of invisible character `c` is, or `None` if it can be seen or is white space.
pub(super) fn kind(c: char) -> Option<Kind> {
    Some(match c {
        '\t'..='\r' | ' '..='~' | '\u{85}' => return None,
        '\0'..='\u{9F}' => Kind::Control,
        '\u{AD}' => Kind::SoftHyphen,
        '\u{34F}'
        | '\u{17B4}'
        | '\u{17B5}'
        | '\u{180E}'
        | '\u{200B}'..='\u{200D}'
        | '\u{2060}'..='\u{2065}'
        | '\u{206A}'..='\u{206F}'
        | '\u{FEFF}'
        | '\u{FFF9}'..='\u{FFFB}' => Kind::ZeroWidth,
        '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => Kind::Bidi,
        '\u{180B}'..='\u{180D}' | '\u{180F}' | '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}' => {
            Kind::Variation
        }
        '\u{E0000}'..='\u{E007F}' => Kind::Tag,
        _ => return None,
    })
}

/// Removes what has no function.
pub(super) fn strip(text: &str, pass: &mut Pass<'_>, changes: &mut Changes) {
    let mut kept = Kept::default();
    let mut lines = Lines { text, start: 0, end: 0, right_to_left: false };
    let mut next = Next { text, visible: None, base: None };
    // End of a flag's tags that were found to be complete.
    let mut flag_end = 0;
    let mut next_pos = 0;
    while let Some(mut c) = text[next_pos..].chars().next() {
        if c.is_ascii() {
            // In a run of plain characters only the last one affects what follows.
            let run = &text[next_pos..][..plain_prefix(&text[next_pos..])];
            if let Some(last) = run.chars().next_back() {
                next_pos += run.len() - last.len_utf8();
                c = last;
            }
        }
        let pos = next_pos;
        next_pos += c.len_utf8();
        let Some(kind) = kind(c) else {
            kept.visible(c);
            continue;
        };
        let keep = match kind {
            Kind::ZeroWidth => kept.last != Some(c) && zero_width_works(c, &kept, pos, &mut next),
            Kind::Variation => kept.last.is_some_and(|base| varies(base, c, pos, &mut next)),
            Kind::Bidi => lines.right_to_left(pos),
            Kind::Tag => {
                if pos >= flag_end && kept.last == Some(BLACK_FLAG) {
                    flag_end = pos + flag_len(&text[pos..]);
                }
                pos < flag_end
            }
            Kind::SoftHyphen | Kind::Control => false,
        };
        if keep {
            kept.last = Some(c);
            continue;
        }
        pass.replace(pos..pos + c.len_utf8(), "");
        *match kind {
            Kind::ZeroWidth => &mut changes.zero_width,
            Kind::SoftHyphen => &mut changes.soft_hyphens,
            Kind::Bidi => &mut changes.bidi_controls,
            Kind::Variation => &mut changes.variation_selectors,
            Kind::Tag => &mut changes.tags,
            Kind::Control => &mut changes.controls,
        } += 1;
    }
}

/// What the output ends with.
#[derive(Default)]
struct Kept {
    /// The last character.
    last: Option<char>,
    /// The last that can be seen.
    visible: Option<char>,
    /// The last that can be seen and is not a combining mark.
    base: Option<char>,
    /// Whether a virama is among the marks after the last letter.
    virama: bool,
}

impl Kept {
    fn visible(&mut self, c: char) {
        self.last = Some(c);
        self.visible = Some(c);
        let class = if c.is_ascii() { 0 } else { canonical_combining_class(c) };
        self.virama = class == 9 || self.virama && class != 0;
        if c.is_ascii() || !is_combining_mark(c) {
            self.base = Some(c);
        }
    }
}

/// The characters that follow. Each answer is kept until the walk has passed it, so a long run of invisible characters
/// is read only once.
struct Next<'a> {
    text: &'a str,
    visible: Option<(usize, Option<char>)>,
    base: Option<(usize, Option<char>)>,
}

impl Next<'_> {
    /// Returns the next character after `pos` that can be seen.
    fn visible(&mut self, pos: usize) -> Option<char> {
        look(self.text, &mut self.visible, pos, |_| true)
    }

    /// Returns the next visible character that is not a combining mark.
    fn base(&mut self, pos: usize) -> Option<char> {
        look(self.text, &mut self.base, pos, |c| !is_combining_mark(c))
    }
}

fn look(
    text: &str,
    cache: &mut Option<(usize, Option<char>)>,
    pos: usize,
    wanted: impl Fn(char) -> bool,
) -> Option<char> {
    if let Some((at, c)) = *cache
        && at > pos
    {
        return c;
    }
    let found = text[pos..].char_indices().find(|&(_, c)| kind(c).is_none() && wanted(c));
    *cache = Some(found.map_or((usize::MAX, None), |(at, c)| (pos + at, Some(c))));
    found.map(|(_, c)| c)
}

fn zero_width_works(c: char, kept: &Kept, pos: usize, next: &mut Next<'_>) -> bool {
    let Some(before) = kept.visible else { return false };
    match c {
        '\u{200B}' => writes_no_spaces(before) || next.visible(pos).is_some_and(writes_no_spaces),
        ZWNJ | ZWJ => {
            // Combining classes 7 and 9: a nukta may stand before the virama.
            let after = next.visible(pos).map_or(0, canonical_combining_class);
            if kept.virama || matches!(after, 7 | 9) {
                return true;
            }
            let joins_before = kept.base.is_some_and(joins_following);
            if c == ZWNJ {
                return joins_before;
            }
            let after = next.base(pos);
            joins_before != after.is_some_and(joins_preceding)
                || is_emoji(before) && after.is_some_and(is_emoji)
        }
        '\u{17B4}' | '\u{17B5}' => matches!(before, '\u{1780}'..='\u{17FF}'),
        '\u{180E}' => is_mongolian(before),
        _ => false,
    }
}

/// Returns whether the variation selector `c` after `base` is one that Unicode defines, judged by block and not by
/// character.
fn varies(base: char, c: char, pos: usize, next: &mut Next<'_>) -> bool {
    match c {
        '\u{180B}'..='\u{180D}' | '\u{180F}' => is_mongolian(base),
        '\u{FE0E}' | '\u{FE0F}' => {
            is_emoji(base) || matches!(base, '0'..='9' | '#' | '*') && next.visible(pos) == Some(KEYCAP)
        }
        '\u{FE00}'..='\u{FE02}' => {
            is_han(base)
                || matches!(base, '\u{2200}'..='\u{22FF}' | '\u{2A00}'..='\u{2AFF}' | '\u{1000}'..='\u{109F}'
                    | '\u{A840}'..='\u{A87F}' | '\u{3000}'..='\u{30FF}' | '\u{FF00}'..='\u{FFEF}' | '0')
        }
        '\u{E0100}'..='\u{E01EF}' => is_han(base),
        _ => false,
    }
}

/// Returns the number of bytes of the tags with which `tags` begins, if they end as a subdivision's flag does; else 0.
fn flag_len(tags: &str) -> usize {
    // UTS #51 allows no more than six; a bound keeps the walk linear.
    let letters: usize = tags
        .chars()
        .take(8)
        .take_while(|c| matches!(c, '\u{E0030}'..='\u{E0039}' | '\u{E0061}'..='\u{E007A}'))
        .map(char::len_utf8)
        .sum();
    if letters > 0 && tags[letters..].starts_with(CANCEL_TAG) { letters + CANCEL_TAG.len_utf8() } else { 0 }
}

/// Finds out once for each line whether it has right-to-left letters.
struct Lines<'a> {
    text: &'a str,
    start: usize,
    end: usize,
    right_to_left: bool,
}

impl Lines<'_> {
    /// Returns whether the line around `pos` has right-to-left letters.
    fn right_to_left(&mut self, pos: usize) -> bool {
        if !(self.start..self.end).contains(&pos) {
            self.start = self.text[..pos].rfind('\n').map_or(0, |at| at + 1);
            self.end = self.text[pos..].find('\n').map_or(self.text.len(), |at| pos + at);
            self.right_to_left = self.text[self.start..self.end].chars().any(|c| {
                matches!(c, '\u{590}'..='\u{61B}' | '\u{61D}'..='\u{8FF}' | '\u{FB1D}'..='\u{FDFF}'
                    | '\u{FE70}'..='\u{FEFC}' | '\u{10800}'..='\u{10FFF}' | '\u{1E800}'..='\u{1EFFF}')
            });
        }
        self.right_to_left
    }
}

/// Returns whether `c` is of Thai, Lao, Tibetan, Myanmar, Khmer or a neighbouring script.
fn writes_no_spaces(c: char) -> bool {
    matches!(c, '\u{E00}'..='\u{FFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}' | '\u{1950}'..='\u{19FF}'
        | '\u{1A20}'..='\u{1AAF}' | '\u{A9E0}'..='\u{A9FF}' | '\u{AA60}'..='\u{AADF}')
}

fn is_mongolian(c: char) -> bool {
    matches!(c, '\u{1800}'..='\u{18AF}' | '\u{11660}'..='\u{1167F}')
}

fn is_han(c: char) -> bool {
    matches!(c, '\u{2E80}'..='\u{2FDF}' | '\u{3005}'..='\u{3007}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}'
        | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFD}')
}

/// Returns whether `c` is in a block of pictographs, or is a single character that has an emoji form.
fn is_emoji(c: char) -> bool {
    matches!(c, '©' | '®' | '\u{203C}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2190}'..='\u{21FF}'
        | '\u{2300}'..='\u{23FF}' | '\u{24C2}' | '\u{25A0}'..='\u{27BF}' | '\u{2900}'..='\u{297F}'
        | '\u{2B00}'..='\u{2BFF}' | '\u{3030}' | '\u{303D}' | '\u{3297}' | '\u{3299}' | '\u{1F000}'..='\u{1FAFF}')
}

/// Returns whether `c` is a letter of a joining script (such as Arabic or N'Ko) that joins at least with what precedes
/// it.
fn joins_preceding(c: char) -> bool {
    let letter = matches!(c, '\u{620}'..='\u{64A}' | '\u{66E}'..='\u{6D5}' | '\u{6EE}'..='\u{6FF}'
        | '\u{710}'..='\u{72F}' | '\u{74D}'..='\u{7A5}' | '\u{7CA}'..='\u{7EA}' | '\u{840}'..='\u{858}'
        | '\u{860}'..='\u{8C9}' | '\u{1807}' | '\u{1820}'..='\u{18AA}');
    letter && !matches!(c, '\u{621}' | '\u{674}' | '\u{6D4}') && !is_combining_mark(c)
}

/// Returns whether `c` is one of them that joins with what follows too: all except those that Unicode's
/// ArabicShaping.txt calls right-joining.
fn joins_following(c: char) -> bool {
    joins_preceding(c)
        && !matches!(c, '\u{622}'..='\u{625}' | '\u{627}' | '\u{629}' | '\u{62F}'..='\u{632}' | '\u{648}'
            | '\u{671}'..='\u{673}' | '\u{675}'..='\u{677}' | '\u{688}'..='\u{699}' | '\u{6C0}'
            | '\u{6C3}'..='\u{6CB}' | '\u{6CD}' | '\u{6CF}' | '\u{6D2}' | '\u{6D3}' | '\u{6D5}' | '\u{6EE}' | '\u{6EF}'
            | '\u{710}' | '\u{715}'..='\u{719}' | '\u{71E}' | '\u{728}' | '\u{72A}' | '\u{72C}' | '\u{72F}'
            | '\u{759}'..='\u{75B}' | '\u{76B}' | '\u{76C}' | '\u{771}' | '\u{773}' | '\u{774}' | '\u{778}' | '\u{779}')
}
