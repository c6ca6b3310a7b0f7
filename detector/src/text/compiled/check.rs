//! Checks whether tables from a file can be used at all: every index that encoding follows lies inside its table, and
//! every search ends. Tables that fail are compiled again.

use super::trie::{NOTHING, PASSED_OVER, Trie};
use super::{Compiled, EMPTY, ID_BITS, NONE, PAIR_BITS, RANK_BITS, section};

/// Looks at each entry of each table once.
pub(super) fn is_sound(compiled: &Compiled) -> bool {
    let view = compiled.view();
    let count = compiled.vocab_size();
    let is_id = |id: u32| (id as usize) < count;
    let are_ids = |ids: &[u32]| ids.iter().all(|&id| id == NONE || is_id(id));
    let sizes = (1..1 << ID_BITS).contains(&count)
        && view.ends.len() == count
        && view.char_pages.len() == 0x1100
        && view.ascii_pairs.len() == 256
        && view.pairs.len() == 1 << (PAIR_BITS - 6)
        && view.byte_ids.len() == 256
        && compiled.store.section(section::META).len() == 40;
    sizes
        && view.ends.is_sorted()
        && view.ends.last().is_some_and(|&end| end as usize <= view.bytes.len())
        && view.char_pages.iter().all(|&page| (page as usize + 1) * 256 <= view.chars.len())
        && are_ids(view.chars)
        && are_ids(view.byte_ids)
        && view.merged.iter().all(|&id| is_id(id))
        && is_open_addressed(view.merges, |entry| (entry & ((1 << RANK_BITS) - 1)) < view.merged.len() as u64)
        && is_open_addressed(view.pieces, |entry| is_id(entry as u32 >> 1))
        && is_trie(&view.added, is_id)
        && is_trie(&view.normalised, is_id)
}

/// Returns whether the table has a power of two of slots, one of them empty. So a search for a missing entry ends.
fn is_open_addressed(table: &[u64], is_entry: impl Fn(u64) -> bool) -> bool {
    let is_used = |slot: &u64| *slot != EMPTY;
    table.len().is_power_of_two()
        && !table.iter().all(is_used)
        && table.iter().copied().filter(is_used).all(is_entry)
}

/// Returns whether edges lead to later nodes, and whether only whole characters end at a node. So no text is cut inside
/// a character.
fn is_trie(trie: &Trie<'_>, is_id: impl Fn(u32) -> bool) -> bool {
    let nodes = trie.values.len();
    let shape = trie.first.len() == 256
        && trie.edges.len() == nodes + 1
        && trie.bytes.len() + 1 == nodes
        && trie.edges.is_sorted()
        && trie.edges.last().is_some_and(|&end| end as usize == trie.bytes.len())
        && trie.edges.iter().take(nodes).enumerate().all(|(node, &edge)| edge as usize >= node);
    if !shape {
        return false;
    }
    let mut parents = vec![0; nodes];
    for (node, edges) in trie.edges.windows(2).enumerate() {
        parents[edges[0] as usize + 1..=edges[1] as usize].fill(node);
    }
    let spelling = |mut node: usize| {
        let mut bytes = Vec::new();
        while node > 0 {
            bytes.push(trie.bytes[node - 1]);
            node = parents[node];
        }
        bytes.reverse();
        bytes
    };
    (1..nodes).all(|node| {
        let value = trie.values[node];
        value == NOTHING
            || (value == PASSED_OVER || is_id(value)) && std::str::from_utf8(&spelling(node)).is_ok()
    })
}
