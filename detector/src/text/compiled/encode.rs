//! Cuts text into tokens by the compiled tables, token for token as `tokenizers` does it:
//!
//! 1. added tokens are cut out of the text: the leftmost first, and the longest of several at one place. A control
//!    token is found in the same way, so that no other is found across it, but it stays text;
//! 2. spaces become `▁`, and the added tokens that are looked for after that are cut out;
//! 3. the text between them is one problem of byte-pair encoding. Each character is a token, or one token a byte if the
//!    vocabulary does not have it. Then the neighbours with the least rank are merged, the leftmost first, until none
//!    can be.
//!
//! Step 3 is the work, and is split further. **A cut where no merge reaches across changes nothing.** Every token that
//! a merge makes is spelled by the characters that it covers, since no byte token takes part in a merge ([`build`]
//! sees to that). So if no token that a merge makes has two characters next to each other, no merge ever covers both.
//! Whether a merge is possible depends on its two tokens alone. So the merges on one side never depend on the other
//! side, and the order in which the two sides take turns does not matter. In Gemma's vocabularies such cuts are between
//! words, before most punctuation, and almost everywhere in scripts that they hardly know. Except in one piece of Gemma
//! 3, `▁` only starts a piece.
//!
//! The pieces between cuts are short and come again and again. Most are tokens themselves, and the table knows whether
//! they are their own encoding. Others are remembered.
//!
//! [`build`]: super::build

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::symbol::Symbol;
use super::trie::{BLOCK as SPACE, PASSED_OVER, Trie};
use super::words::{WORD_TOKENS, WORDS, Word, WordKey};
use super::{Encoded, NONE, View};

/// Up to this number of characters the next merge is looked for among all pairs.
const FEW: usize = 32;

/// Number of segments that are looked up together.
const BATCH: usize = 32;
/// Number of ASCII characters that are cut together.
const BLOCK: usize = u32::BITS as usize;

/// Memory that calls pass on to each other.
#[derive(Default)]
pub(super) struct Scratch {
    words: Vec<Word>,
    nodes: Vec<Node>,
    queue: BinaryHeap<Reverse<u64>>,
    symbols: Vec<Symbol>,
}

/// Returns the tokens of a text; without `OFFSETS` only the ids, which take a fifth of the memory.
pub(super) fn encode<const OFFSETS: bool>(view: &View<'_>, scratch: &mut Scratch, text: &str) -> Encoded {
    let text = text.as_bytes();
    // English has four or five bytes a token.
    let capacity = text.len() / 4 + 8;
    let offsets = Vec::with_capacity(if OFFSETS { capacity } else { 0 });
    let mut out = Encoded { ids: Vec::with_capacity(capacity), offsets };
    if scratch.words.is_empty() {
        scratch.words.resize(WORDS, Word::default());
    }
    let (batch, keys) = (std::array::from_fn(|_| 0..0), [None; BATCH]);
    let mut encoder = Encoder::<OFFSETS> { view, scratch, text, out: &mut out, batch, waiting: 0, keys };
    cut(view.added, false, text, 0..text.len(), |id, range| match id {
        Some(id) => encoder.push(id, range),
        None => cut(view.normalised, true, text, range, |id, range| match id {
            Some(id) => encoder.push(id, range),
            None => encoder.segments(range),
        }),
    });
    out
}

/// Returns the tokens of `bytes`, which are whole characters, as step 3 gives them without any short cut.
pub(super) fn merged<'s>(view: &View<'_>, scratch: &'s mut Scratch, bytes: &[u8]) -> &'s [Symbol] {
    if !few(view, scratch, bytes) {
        many(view, scratch, bytes);
    }
    &scratch.symbols
}

/// Calls `each` with the added tokens in `range` of `text` and with the text between them.
fn cut(
    trie: Trie<'_>,
    spaces: bool,
    text: &[u8],
    range: Range<usize>,
    mut each: impl FnMut(Option<u32>, Range<usize>),
) {
    let (mut from, mut at) = (range.start, range.start);
    while let Some(skip) = trie.find_start(&text[at..range.end]) {
        at += skip;
        match trie.longest(&text[at..range.end], spaces) {
            None => at += 1,
            Some((len, PASSED_OVER)) => at += len,
            Some((len, id)) => {
                if from < at {
                    each(None, from..at);
                }
                each(Some(id), at..at + len);
                at += len;
                from = at;
            }
        }
    }
    if from < range.end {
        each(None, from..range.end);
    }
}

struct Encoder<'e, 'v, const OFFSETS: bool> {
    view: &'e View<'v>,
    scratch: &'e mut Scratch,
    text: &'e [u8],
    out: &'e mut Encoded,
    /// Segments that wait to be looked up together, and their number.
    batch: [Range<usize>; BATCH],
    waiting: usize,
    /// Their keys and places among the words.
    keys: [Option<(WordKey, usize)>; BATCH],
}

impl<const OFFSETS: bool> Encoder<'_, '_, OFFSETS> {
    fn push(&mut self, id: u32, range: Range<usize>) {
        self.out.ids.push(id);
        if OFFSETS {
            self.out.offsets.push(range);
        }
    }

    /// Cuts `range` where no token reaches across.
    fn segments(&mut self, range: Range<usize>) {
        let (text, view) = (self.text, self.view);
        let ascii: Option<&[u64; 256]> = view.ascii_pairs.try_into().ok();
        let mut start = range.start;
        let (mut last, len) = character(text, start);
        let mut at = start + len;
        // Up to here a character at a time.
        let mut slowly = at;
        while let Some(&byte) = text[..range.end].get(at) {
            if at >= slowly {
                // Many at a time, so that the processor need not predict the lengths of words.
                if let Some(ascii) = ascii
                    && last < 0x80
                    && let Some(block) = text[at..range.end].first_chunk::<BLOCK>()
                    && block.is_ascii()
                {
                    let mut cuts = 0_u32;
                    for (i, &byte) in block.iter().enumerate() {
                        let next = u32::from(byte);
                        let joins = ascii[(last << 1 | next >> 6) as usize & 255] >> (next & 63) & 1;
                        cuts |= (joins as u32 ^ 1) << i;
                        last = next;
                    }
                    while cuts != 0 {
                        start = self.cut_at(start, at + cuts.trailing_zeros() as usize);
                        cuts &= cuts - 1;
                    }
                    at += BLOCK;
                    continue;
                }
                slowly = at + BLOCK;
            }
            let (next, len) = if byte < 0x80 { (byte.into(), 1) } else { character(text, at) };
            if !view.may_join(last, next) {
                start = self.cut_at(start, at);
            }
            last = next;
            at += len;
        }
        self.cut_at(start, range.end);
        self.encode_batch();
    }

    /// Adds a segment to the batch; its end is where the next one starts.
    fn cut_at(&mut self, start: usize, end: usize) -> usize {
        self.batch[self.waiting] = start..end;
        self.waiting += 1;
        if self.waiting == BATCH {
            self.encode_batch();
        }
        end
    }

    /// Encodes the segments that wait.
    fn encode_batch(&mut self) {
        let count = std::mem::take(&mut self.waiting);
        let mut touched = 0;
        for i in 0..count {
            let range = self.batch[i].clone();
            self.keys[i] = WordKey::new(self.text, range).map(|key| (key, key.slot()));
            // All places are read before any is needed: the waits for memory overlap.
            if let Some((_, slot)) = self.keys[i] {
                touched |= self.scratch.words[slot].count;
            }
        }
        std::hint::black_box(touched);
        for i in 0..count {
            self.segment(self.batch[i].clone(), self.keys[i]);
        }
    }

    fn segment(&mut self, range: Range<usize>, key: Option<(WordKey, usize)>) {
        if let Some((key, slot)) = key {
            let word = &self.scratch.words[slot];
            if word.key == key {
                if word.count == 1 {
                    return self.push(word.ids[0], range);
                }
                let mut start = range.start;
                for (&id, &len) in word.ids.iter().zip(&word.lens).take(word.count.into()) {
                    let end = start + usize::from(len);
                    self.out.ids.push(id);
                    if OFFSETS {
                        self.out.offsets.push(start..end);
                    }
                    start = end;
                }
                return;
            }
        }
        self.new_segment(range, key);
    }

    /// Encodes a segment that is not remembered.
    fn new_segment(&mut self, range: Range<usize>, key: Option<(WordKey, usize)>) {
        let bytes = &self.text[range.clone()];
        if let &[byte] = bytes {
            let id = self.view.char(byte.into());
            if let Some((key, slot)) = key
                && id != NONE
            {
                self.scratch.words[slot] = Word::new(key, &[Symbol { id, start: 0, end: 1 }]);
                return self.push(id, range);
            }
        }
        // A piece has a space where the text may have `▁`; then the bytes differ, and merging is right as always.
        if let Some((id, true)) = self.view.piece(bytes) {
            if let Some((key, slot)) = key {
                let symbols = [Symbol { id, start: 0, end: bytes.len() as u32 }];
                self.scratch.words[slot] = Word::new(key, &symbols);
            }
            return self.push(id, range);
        }
        let simple = few(self.view, self.scratch, bytes);
        if !simple {
            many(self.view, self.scratch, bytes);
        }
        let symbols = &self.scratch.symbols;
        self.out.ids.extend(symbols.iter().map(|symbol| symbol.id));
        if OFFSETS {
            let at = |place: u32| range.start + place as usize;
            self.out.offsets.extend(symbols.iter().map(|symbol| at(symbol.start)..at(symbol.end)));
        }
        if let Some((key, slot)) = key
            && simple
            && symbols.len() <= WORD_TOKENS
        {
            self.scratch.words[slot] = Word::new(key, symbols);
        }
    }
}

/// Returns the character at `at` of UTF-8 text, and its length; `▁` is a space.
fn character(text: &[u8], at: usize) -> (u32, usize) {
    let first = u32::from(text[at]);
    let rest = |i: usize| u32::from(text[at + i]) & 0x3F;
    match first {
        0..0x80 => (first, 1),
        0x80..0xE0 => ((first & 0x1F) << 6 | rest(1), 2),
        0xE0..0xF0 if text[at..at + 3] == SPACE => (0x20, 3),
        0xE0..0xF0 => ((first & 0xF) << 12 | rest(1) << 6 | rest(2), 3),
        _ => ((first & 7) << 18 | rest(1) << 12 | rest(2) << 6 | rest(3), 4),
    }
}

/// Encodes a few characters, all of which are tokens. Returns false, with nothing done, if there are more or others.
fn few(view: &View<'_>, scratch: &mut Scratch, bytes: &[u8]) -> bool {
    let (mut ids, mut ends, mut ranks) = ([0; FEW], [0_u32; FEW], [NONE; FEW]);
    let (mut n, mut at) = (0, 0);
    while at < bytes.len() {
        let (c, len) = character(bytes, at);
        let id = view.char(c);
        if n == FEW || id == NONE {
            return false;
        }
        at += len;
        (ids[n], ends[n]) = (id, at as u32);
        n += 1;
    }
    for i in 1..n {
        ranks[i - 1] = view.rank(ids[i - 1], ids[i]);
    }
    loop {
        let mut best = (NONE, 0);
        for (i, &rank) in ranks[..n.saturating_sub(1)].iter().enumerate() {
            if rank < best.0 {
                best = (rank, i);
            }
        }
        let (rank, i) = best;
        if rank == NONE {
            break;
        }
        ids.copy_within(i + 2..n, i + 1);
        ends.copy_within(i + 1..n, i);
        ranks.copy_within(i + 1..n, i);
        n -= 1;
        ids[i] = view.merged[rank as usize];
        if i > 0 {
            ranks[i - 1] = view.rank(ids[i - 1], ids[i]);
        }
        ranks[i] = if i + 1 < n { view.rank(ids[i], ids[i + 1]) } else { NONE };
    }
    scratch.symbols.clear();
    let mut start = 0;
    for (&id, &end) in ids.iter().zip(&ends).take(n) {
        scratch.symbols.push(Symbol { id, start, end });
        start = end;
    }
    true
}

/// A token in a list of them.
#[derive(Clone, Copy)]
struct Node {
    symbol: Symbol,
    prev: u32,
    next: u32,
    /// Rank of the merge with the next, [`NONE`] if there is none or if the node has been merged away.
    rank: u32,
}

/// Encodes any number of characters, n of them in time n log n.
fn many(view: &View<'_>, scratch: &mut Scratch, bytes: &[u8]) {
    let Scratch { nodes, queue, symbols, .. } = scratch;
    nodes.clear();
    let mut at = 0;
    while at < bytes.len() {
        let (c, len) = character(bytes, at);
        let (start, end) = (at as u32, (at + len) as u32);
        let id = view.char(c);
        let mut push = |id| {
            let i = nodes.len() as u32;
            let symbol = Symbol { id, start, end };
            nodes.push(Node { symbol, prev: i.wrapping_sub(1), next: i + 1, rank: NONE });
        };
        if id == NONE {
            // `build` has seen that each byte has a token.
            bytes[at..at + len].iter().for_each(|&byte| push(view.byte_ids[usize::from(byte)]));
        } else {
            push(id);
        }
        at += len;
    }
    let n = nodes.len();
    for i in 1..n {
        nodes[i - 1].rank = view.rank(nodes[i - 1].symbol.id, nodes[i].symbol.id);
    }
    // By rank, and among equals from left to right.
    let entry = |rank: u32, i: usize| Reverse(u64::from(rank) << 32 | i as u64);
    let mut entries = std::mem::take(queue).into_vec();
    entries.clear();
    entries.extend(
        nodes.iter().enumerate().filter(|(_, node)| node.rank != NONE).map(|(i, node)| entry(node.rank, i)),
    );
    *queue = BinaryHeap::from(entries);
    while let Some(Reverse(top)) = queue.pop() {
        let (rank, i) = ((top >> 32) as u32, top as u32 as usize);
        // The pair may be gone, or be another one by now; each rank belongs to one pair.
        if nodes[i].rank != rank {
            continue;
        }
        let gone = nodes[i].next as usize;
        let after = nodes[gone].next as usize;
        nodes[i].symbol.id = view.merged[rank as usize];
        nodes[i].symbol.end = nodes[gone].symbol.end;
        nodes[i].next = after as u32;
        nodes[gone].rank = NONE;
        nodes[i].rank = NONE;
        let mut pairs = [None, None];
        if after < n {
            nodes[after].prev = i as u32;
            pairs[0] = Some((i, after));
        }
        let before = nodes[i].prev as usize;
        if before < n {
            pairs[1] = Some((before, i));
        }
        for (left, right) in pairs.into_iter().flatten() {
            let rank = view.rank(nodes[left].symbol.id, nodes[right].symbol.id);
            nodes[left].rank = rank;
            if rank != NONE {
                queue.push(entry(rank, left));
            }
        }
    }
    symbols.clear();
    let mut i = 0;
    while let Some(node) = nodes.get(i) {
        symbols.push(node.symbol);
        i = node.next as usize;
    }
}
