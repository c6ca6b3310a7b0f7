//! The added tokens: which of many strings starts here, the longest if several do.

use std::collections::{BTreeMap, VecDeque};

/// The bytes of `▁`, which the normaliser writes for a space.
pub(super) const BLOCK: [u8; 3] = [0xE2, 0x96, 0x81];

/// The value of a node where nothing ends.
pub(super) const NOTHING: u32 = u32::MAX;
/// The end of a token that is looked for and then treated as text: a control token.
pub(super) const PASSED_OVER: u32 = u32::MAX - 1;

/// A trie in breadth-first order: the edges of node i are `edges[i]..edges[i + 1]`, and edge e leads to node e + 1.
#[derive(Clone, Copy)]
pub(super) struct Trie<'a> {
    /// For each byte whether a string starts with it.
    pub(super) first: &'a [u8],
    pub(super) edges: &'a [u32],
    /// The byte of each edge; the edges of one node are in ascending order.
    pub(super) bytes: &'a [u8],
    /// What ends at each node: an id, [`NOTHING`] or [`PASSED_OVER`].
    pub(super) values: &'a [u32],
}

impl Trie<'_> {
    /// Returns the index of the first byte of `text` that a string starts with.
    pub(super) fn find_start(&self, text: &[u8]) -> Option<usize> {
        if self.bytes.is_empty() {
            return None;
        }
        // An array of 256 entries needs no bounds check.
        let first: &[u8; 256] = self.first.try_into().ok()?;
        text.iter().position(|&byte| first[usize::from(byte)] != 0)
    }

    fn child(&self, node: usize, byte: u8) -> Option<usize> {
        let (start, end) = (self.edges[node] as usize, self.edges[node + 1] as usize);
        let edge = self.bytes[start..end].binary_search(&byte).ok()?;
        Some(start + edge + 1)
    }

    /// Returns the length and value of the longest string that `text` starts with. With `spaces`, a space and `▁` are
    /// both the byte 0x20 of the strings.
    pub(super) fn longest(&self, text: &[u8], spaces: bool) -> Option<(usize, u32)> {
        let (mut node, mut at, mut best) = (0, 0, None);
        while let Some(&byte) = text.get(at) {
            let (byte, len) = if spaces && text[at..].starts_with(&BLOCK) { (b' ', 3) } else { (byte, 1) };
            let Some(child) = self.child(node, byte) else { break };
            (node, at) = (child, at + len);
            if self.values[node] != NOTHING {
                best = Some((at, self.values[node]));
            }
        }
        best
    }
}

/// Returns the sections of a trie over `strings`: `first`, `edges`, `bytes`, `values`.
pub(super) fn build(strings: &[(Vec<u8>, u32)]) -> (Vec<u8>, Vec<u32>, Vec<u8>, Vec<u32>) {
    #[derive(Default)]
    struct Node {
        children: BTreeMap<u8, usize>,
        value: Option<u32>,
    }
    let mut nodes = vec![Node::default()];
    for (string, value) in strings {
        let mut node = 0;
        for &byte in string {
            let next = nodes.len();
            node = *nodes[node].children.entry(byte).or_insert(next);
            if node == next {
                nodes.push(Node::default());
            }
        }
        nodes[node].value = Some(*value);
    }
    let mut first = vec![0; 256];
    for &byte in nodes[0].children.keys() {
        first[usize::from(byte)] = 1;
    }
    if first[usize::from(b' ')] == 1 {
        first[usize::from(BLOCK[0])] = 1;
    }
    let (mut edges, mut bytes, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let mut queue = VecDeque::from([0]);
    while let Some(node) = queue.pop_front() {
        let node = &nodes[node];
        edges.push(bytes.len() as u32);
        values.push(node.value.unwrap_or(NOTHING));
        bytes.extend(node.children.keys());
        queue.extend(node.children.values());
    }
    edges.push(bytes.len() as u32);
    (first, edges, bytes, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wins() {
        let strings: Vec<(Vec<u8>, u32)> = [("<a>", 1), ("<a>b", 2), ("\n", 3), ("\n\n", 4), ("  x", 5)]
            .map(|(text, id)| (text.into(), id))
            .into();
        let (first, edges, bytes, values) = build(&strings);
        let trie = Trie { first: &first, edges: &edges, bytes: &bytes, values: &values };
        for (text, found) in [
            ("<a>c", Some((3, 1))),
            ("<a>bc", Some((4, 2))),
            ("<a", None),
            ("\n\n\n", Some((2, 4))),
            ("", None),
            ("é", None),
            ("  x", Some((3, 5))),
        ] {
            assert_eq!(trie.longest(text.as_bytes(), false), found, "{text:?}");
        }
        assert_eq!(trie.longest("▁ x".as_bytes(), true), Some((5, 5)));
        assert_eq!(trie.longest("▁ x".as_bytes(), false), None);
        assert_eq!(trie.find_start(b"ab<a"), Some(2));
        assert_eq!([trie.find_start(&BLOCK), trie.find_start(b"abc")], [Some(0), None]);
    }
}
