//! Two texts side by side in a terminal.

use terminal_size::{Width, terminal_size};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};
use wmdetect::render::terminal::Run;

/// Separator of the columns.
const BETWEEN: &str = " │ ";

/// Widths of the line and the columns.
pub(super) struct Layout {
    /// Number of cells in a line.
    width: usize,
    /// Number of cells in each column.
    column: usize,
}

/// A line of a column.
struct Line {
    painted: String,
    /// Number of cells that it takes.
    width: usize,
}

impl Layout {
    /// Returns the layout for the terminal's width, or for 100 cells if there is no terminal.
    pub(super) fn for_terminal() -> Self {
        Self::new(terminal_size().map_or(100, |(Width(width), _)| usize::from(width)))
    }

    /// Limits the width: lines longer than 140 are hard to read, and columns below 28 cannot hold a
    /// sentence.
    fn new(width: usize) -> Self {
        let width = width.clamp(60, 140);
        Self { width, column: (width - BETWEEN.width()) / 2 }
    }

    /// Wraps plain text over the whole width.
    pub(super) fn paragraph(&self, text: &str) -> String {
        let lines: Vec<String> =
            wrap(&plain(text), self.width, false).into_iter().map(|line| line.painted).collect();
        lines.join("\n")
    }

    /// Writes two texts, each in its column.
    pub(super) fn beside(&self, out: &mut String, texts: [Vec<Run>; 2], colours: bool) {
        let [left, right] = texts.map(|runs| wrap(&runs, self.column, colours));
        let none = Line { painted: String::new(), width: 0 };
        for i in 0..left.len().max(right.len()) {
            let (left, right) = (left.get(i).unwrap_or(&none), right.get(i).unwrap_or(&none));
            out.push_str(&left.painted);
            out.extend(std::iter::repeat_n(' ', self.column - left.width));
            out.push_str(BETWEEN.trim_end());
            if right.width > 0 {
                out.push(' ');
                out.push_str(&right.painted);
            }
            out.push('\n');
        }
    }

    /// Writes a line above or below the columns.
    pub(super) fn rule(&self, out: &mut String) {
        let dashes = |n: usize| "─".repeat(n);
        out.push_str(&dashes(self.column + 1));
        out.push('┼');
        out.push_str(&dashes(self.width - self.column - 2));
        out.push('\n');
    }
}

/// Makes a run of text without a style.
pub(super) fn plain(text: &str) -> Vec<Run> {
    vec![Run::plain(text)]
}

/// Wraps runs into lines of at most `width` cells, broken at spaces where possible.
fn wrap(runs: &[Run], width: usize, colours: bool) -> Vec<Line> {
    let letters: Vec<(usize, char)> =
        runs.iter().enumerate().flat_map(|(i, run)| run.text.chars().map(move |c| (i, c))).collect();
    let cells = |c: char| if c == '\t' { 1 } else { c.width().unwrap_or(0) };
    let mut lines = Vec::new();
    let mut start = 0;
    while start < letters.len() {
        // The text that fits, and the last space in it.
        let (mut end, mut used, mut space) = (start, 0, None);
        while end < letters.len() && letters[end].1 != '\n' && used + cells(letters[end].1) <= width {
            used += cells(letters[end].1);
            if letters[end].1 == ' ' {
                space = Some(end);
            }
            end += 1;
        }
        let mut next = end;
        if end < letters.len() {
            match letters[end].1 {
                '\n' | ' ' => next = end + 1,
                _ => {
                    if let Some(space) = space.filter(|&space| space > start) {
                        (end, next) = (space, space + 1);
                    }
                }
            }
        }
        // Take at least one letter, however narrow the column.
        let end = if next == start { start + 1 } else { end };
        lines.push(paint(runs, &letters[start..end], colours));
        start = next.max(end);
    }
    lines
}

fn paint(runs: &[Run], letters: &[(usize, char)], colours: bool) -> Line {
    let mut painted = String::new();
    let mut width = 0;
    for part in letters.chunk_by(|a, b| a.0 == b.0) {
        let text: String = part.iter().map(|&(_, c)| if c == '\t' { ' ' } else { c }).collect();
        width += text.width();
        painted.push_str(&runs[part[0].0].paint(&text, colours));
    }
    Line { painted, width }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, width: usize) -> Vec<String> {
        wrap(&plain(text), width, false).into_iter().map(|line| line.painted).collect()
    }

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(lines("one two three", 7), ["one two", "three"]);
        assert_eq!(lines("one two three", 8), ["one two", "three"]);
        assert_eq!(lines("a\n\nb", 5), ["a", "", "b"]);
        assert_eq!(lines("incomprehensible", 6), ["incomp", "rehens", "ible"]);
        assert_eq!(lines("漢字漢字", 4), ["漢字", "漢字"]);
        assert_eq!(lines("漢字", 1), ["漢", "字"], "a letter that is wider than the column");
        assert_eq!(lines("", 5), [""; 0]);
    }

    #[test]
    fn columns_stand_beside_each_other() {
        let layout = Layout::new(0);
        let mut out = String::new();
        layout.beside(&mut out, [plain("left\nlast"), plain("漢字")], true);
        layout.rule(&mut out);
        let bars: Vec<usize> =
            out.lines().map(|line| line.split(['│', '┼']).next().unwrap().width()).collect();
        assert_eq!(bars, [29, 29, 29]);
        assert!(out.lines().all(|line| line.width() <= 60));
    }
}
