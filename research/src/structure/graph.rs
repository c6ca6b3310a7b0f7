//! Circles of a directed graph.

use std::collections::{BTreeMap, BTreeSet};

/// Returns the strongly connected components of more than one node (Tarjan 1972), each sorted.
pub fn circles<N: Ord + Clone>(arrows: &BTreeMap<N, BTreeSet<N>>) -> Vec<Vec<N>> {
    let mut search =
        Search { arrows, index: BTreeMap::new(), low: BTreeMap::new(), stack: Vec::new(), found: Vec::new() };
    for node in arrows.keys() {
        if !search.index.contains_key(node) {
            search.visit(node);
        }
    }
    search.found
}

struct Search<'a, N> {
    arrows: &'a BTreeMap<N, BTreeSet<N>>,
    /// The order in which nodes were reached.
    index: BTreeMap<&'a N, usize>,
    /// The earliest node on the stack that a node reaches.
    low: BTreeMap<&'a N, usize>,
    stack: Vec<&'a N>,
    found: Vec<Vec<N>>,
}

impl<'a, N: Ord + Clone> Search<'a, N> {
    fn visit(&mut self, node: &'a N) -> usize {
        let index = self.index.len();
        self.index.insert(node, index);
        self.low.insert(node, index);
        self.stack.push(node);
        let mut low = index;
        for target in self.arrows.get(node).into_iter().flatten() {
            if !self.index.contains_key(target) {
                low = low.min(self.visit(target));
            } else if self.stack.contains(&target) {
                low = low.min(self.index[target]);
            }
        }
        if low == index {
            let start = self.stack.iter().position(|&other| other == node).unwrap_or(0);
            let mut component: Vec<N> = self.stack.split_off(start).into_iter().cloned().collect();
            if component.len() > 1 {
                component.sort();
                self.found.push(component);
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_circles_that_share_a_node_are_one_component() {
        let arrows =
            [(1, vec![2]), (2, vec![3, 4]), (3, vec![1]), (4, vec![2]), (5, vec![1, 6]), (6, vec![])];
        let arrows = arrows.into_iter().map(|(from, to)| (from, to.into_iter().collect())).collect();
        assert_eq!(circles::<i32>(&arrows), [[1, 2, 3, 4]]);
    }
}
