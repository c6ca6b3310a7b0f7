//! Where each part of a changed text came from.

use std::ops::Range;

/// Bytes `new` of the changed text stand for bytes `old` of the original.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Edit {
    new: Range<usize>,
    old: Range<usize>,
}

/// The edits in order; between them the text is the original's. Starts and ends never fall in either text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Map {
    edits: Vec<Edit>,
}

impl Map {
    /// Appends an edit. Neighbouring removals become one.
    pub(super) fn push(&mut self, new: Range<usize>, old: Range<usize>) {
        match self.edits.last_mut() {
            Some(last)
                if new.is_empty()
                    && last.new.is_empty()
                    && last.new.end == new.start
                    && last.old.end == old.start =>
            {
                last.old.end = old.end;
            }
            _ => self.edits.push(Edit { new, old }),
        }
    }

    /// Returns whether the two texts are the same, byte for byte.
    pub(super) fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// See [`Normalised::original_range`](super::Normalised::original_range).
    pub(super) fn original(&self, range: Range<usize>) -> Range<usize> {
        // The first edit that does not end at or before the start: removals at the start lie before it.
        let next = self.edits.partition_point(|edit| edit.new.end <= range.start);
        let start = match self.edits.get(next) {
            Some(edit) if edit.new.start <= range.start => edit.old.start,
            _ => plain(self.edits[..next].last(), range.start),
        };
        if range.is_empty() {
            return start..start;
        }
        // The last edit that starts before the end: removals at the end lie behind it.
        let after = self.edits.partition_point(|edit| edit.new.start < range.end);
        let end = match self.edits[..after].last() {
            Some(edit) if edit.new.end > range.end => edit.old.end,
            last => plain(last, range.end),
        };
        start..end
    }
}

/// Returns the original position of `pos`, which lies outside all edits; `last` is the last edit before it.
fn plain(last: Option<&Edit>, pos: usize) -> usize {
    last.map_or(pos, |edit| edit.old.end + (pos - edit.new.end))
}

/// One walk through a text that replaces parts of it, and composes its edits with those made before.
pub(super) struct Pass<'a> {
    text: &'a str,
    /// The edits of `text` that lie ahead; the first may be cut.
    front: Option<Edit>,
    ahead: &'a [Edit],
    /// The last edit that lies behind.
    behind: Option<Edit>,
    /// First byte of `text` that has not been dealt with.
    pos: usize,
    out: String,
    map: Map,
    changed: bool,
}

impl<'a> Pass<'a> {
    pub(super) fn new(text: &'a str, map: &'a Map) -> Self {
        let mut pass = Self {
            text,
            front: None,
            ahead: &map.edits,
            behind: None,
            pos: 0,
            out: String::new(),
            map: Map::default(),
            changed: false,
        };
        pass.refill();
        pass
    }

    fn refill(&mut self) {
        self.front = self.ahead.split_first().map(|(first, rest)| {
            self.ahead = rest;
            first.clone()
        });
    }

    /// Puts `with` in the place of `range`. Ranges come in order, do not overlap, and lie on character boundaries.
    pub(super) fn replace(&mut self, range: Range<usize>, with: &str) {
        if !self.changed {
            self.out.reserve(self.text.len());
            self.changed = true;
        }
        self.copy_to(range.start);
        let start = match &self.front {
            Some(edit) if edit.new.start <= range.start && range.start < edit.new.end => edit.old.start,
            _ => plain(self.behind.as_ref(), range.start),
        };
        let mut end = None;
        while let Some(edit) = self.front.take_if(|edit| edit.new.start < range.end) {
            if edit.new.end > range.end {
                end = Some(edit.old.end);
                self.front = Some(Edit { new: range.end..edit.new.end, old: edit.old });
                break;
            }
            self.behind = Some(edit);
            self.refill();
        }
        let end = end.unwrap_or_else(|| plain(self.behind.as_ref(), range.end));
        let new = self.out.len();
        self.out.push_str(with);
        self.map.push(new..self.out.len(), start..end);
        self.pos = range.end;
    }

    /// Returns the changed text and its map, or `None` if nothing was replaced.
    pub(super) fn finish(mut self) -> Option<(String, Map)> {
        self.changed.then(|| {
            self.copy_to(self.text.len());
            (self.out, self.map)
        })
    }

    /// Copies up to `to`, with the edits on the way.
    fn copy_to(&mut self, to: usize) {
        while let Some(edit) = self.front.take_if(|edit| edit.new.start < to || edit.new.end <= to) {
            self.out.push_str(&self.text[self.pos..edit.new.start]);
            let (new, end) = (self.out.len(), edit.new.end.min(to));
            self.out.push_str(&self.text[edit.new.start..end]);
            self.map.push(new..self.out.len(), edit.old.clone());
            self.pos = end;
            if edit.new.end > to {
                self.front = Some(Edit { new: to..edit.new.end, old: edit.old });
                return;
            }
            self.behind = Some(edit);
            self.refill();
        }
        self.out.push_str(&self.text[self.pos..to]);
        self.pos = to;
    }
}
