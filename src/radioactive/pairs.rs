//! Decides which of a student's first choices count, and with which context.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use wmdetect::scheme::{ContextRule, ContextTracker, DistinctNgrams, PositionKind};

use super::Document;

/// How the corpus may depend on the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Independence {
    /// It may: parts of it may be marked with the key. A context counts once in the corpus, where it first occurs.
    Unknown,
    /// It does not: nobody marked it with the key, or chose it by the key. A pair of context and choice counts once.
    Known,
}

/// Number of positions that do not count, by the first reason that applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Excluded {
    /// The context is not completely part of the answer.
    pub incomplete_context: u64,
    /// The student has read the context before, in the prompt or in the answer, and with it the token that followed.
    pub repeated_context: u64,
    /// An earlier document has the context. If the corpus does not depend on the key: the pair of context and choice was
    /// counted before.
    pub earlier_document: u64,
    /// The requested number of pairs has been counted.
    pub beyond_pairs: u64,
}

/// The pairs of context and first choice that count. The corpus comes document by document, and all keys have the same rule
/// for contexts.
pub struct Pairs {
    rule: ContextRule,
    independence: Independence,
    most: usize,
    /// Every context of any document, with the number of the last document that had it.
    read: HashMap<Box<[u32]>, usize>,
    documents: usize,
    /// The contexts, each followed by the student's choice.
    chosen: Vec<Box<[u32]>>,
    /// The same pairs as a set, if a context may count again.
    taken: HashSet<Box<[u32]>>,
    /// The same contexts, each followed by the token that the corpus has there.
    own: Vec<Box<[u32]>>,
    excluded: Excluded,
}

impl Pairs {
    /// Returns an empty set, which takes at most `most` pairs.
    pub fn new(rule: ContextRule, independence: Independence, most: Option<usize>) -> Self {
        Self {
            rule,
            independence,
            most: most.unwrap_or(usize::MAX),
            read: HashMap::new(),
            documents: 0,
            chosen: Vec::new(),
            taken: HashSet::new(),
            own: Vec::new(),
            excluded: Excluded::default(),
        }
    }

    /// Takes the next document with the student's first choice at each position of an answer, in order.
    ///
    /// # Panics
    /// Panics if the number of choices is not that of these positions.
    pub fn add(&mut self, document: &Document, choices: &[u32]) {
        assert_eq!(choices.len(), document.answer_tokens(), "one choice for each token of an answer");
        self.documents += 1;
        let Document { ids, said } = document;
        let mut choices = choices.iter();
        let mut answer: Option<ContextTracker> = None;
        for at in 0..ids.len() {
            if said[at] {
                let tracker = answer.get_or_insert_with(|| ContextTracker::new(self.rule, &ids[..at]));
                let choice = choices.next().copied().unwrap_or_default();
                match tracker.next_position() {
                    PositionKind::Marked => self.take(tracker.context(), choice, ids[at]),
                    PositionKind::IncompleteContext => self.excluded.incomplete_context += 1,
                    PositionKind::RepeatedContext => self.excluded.repeated_context += 1,
                }
                tracker.push(ids[at]);
            } else {
                answer = None;
            }
            // If the token was marked at all, one of these contexts was used for it.
            for len in self.rule.shortest()..=self.rule.longest().min(at) {
                self.read.insert(ids[at - len..at].into(), self.documents);
            }
        }
    }

    /// Takes a position's context with the choice, if it counts. The decision depends only on what the student has read
    /// before.
    fn take(&mut self, context: &[u32], choice: u32, token: u32) {
        let with = |last: u32| -> Box<[u32]> { [context, &[last]].concat().into() };
        let last = self.read.get(context);
        if last == Some(&self.documents) {
            self.excluded.repeated_context += 1;
            return;
        }
        let earlier = match self.independence {
            Independence::Unknown => last.is_some(),
            Independence::Known => self.taken.contains(&with(choice)),
        };
        if earlier {
            self.excluded.earlier_document += 1;
        } else if self.chosen.len() == self.most {
            self.excluded.beyond_pairs += 1;
        } else {
            self.chosen.push(with(choice));
            self.own.push(with(token));
            if self.independence == Independence::Known {
                self.taken.insert(with(choice));
            }
        }
    }

    /// Returns the pairs of context and choice.
    pub fn chosen(&self) -> DistinctNgrams<'_> {
        DistinctNgrams::new(self.chosen.iter().map(|pair| &**pair))
    }

    /// Returns the pairs of the same contexts with the tokens that the corpus has there.
    pub fn own(&self) -> DistinctNgrams<'_> {
        DistinctNgrams::new(self.own.iter().map(|pair| &**pair))
    }

    /// Returns how many choices are the corpus's token.
    pub fn agreeing(&self) -> usize {
        self.chosen.iter().zip(&self.own).filter(|(chosen, own)| chosen == own).count()
    }

    /// Returns the number of pairs.
    pub fn len(&self) -> usize {
        self.chosen.len()
    }

    /// Returns whether no pair counts.
    pub fn is_empty(&self) -> bool {
        self.chosen.is_empty()
    }

    /// Returns whether the requested number of pairs is reached.
    pub fn is_full(&self) -> bool {
        self.chosen.len() == self.most
    }

    /// Returns the numbers of positions that do not count.
    pub fn excluded(&self) -> Excluded {
        self.excluded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::radioactive::judge;
    use wmdetect::scheme::{Distribution, Key, Preset, Secret, Watermark};
    use wmdetect::split_mix::unit;
    use wmdetect::statistics::{Decider, PValue};

    const WHOLE: ContextRule = ContextRule::Whole { len: 2 };
    const SHORTEST: ContextRule = ContextRule::Shortest { shortest: 1, longest: 2 };

    fn document(prompt: &[u32], answer: &[u32]) -> Document {
        let said = (0..prompt.len() + answer.len()).map(|at| at >= prompt.len()).collect();
        Document { ids: [prompt, answer].concat(), said }
    }

    /// Returns the pairs that count, and the numbers of incomplete, repeated and earlier positions.
    fn counted(pairs: &Pairs) -> (Vec<Vec<u32>>, [u64; 3]) {
        let Excluded { incomplete_context, repeated_context, earlier_document, .. } = pairs.excluded();
        let chosen = pairs.chosen.iter().map(|pair| pair.to_vec()).collect();
        (chosen, [incomplete_context, repeated_context, earlier_document])
    }

    #[test]
    fn a_context_counts_once_where_the_corpus_may_be_marked() {
        let mut pairs = Pairs::new(WHOLE, Independence::Unknown, None);
        // (1, 2) is in the prompt, (5, 6) twice in the answer.
        pairs.add(
            &document(&[0, 1, 2, 3], &[1, 2, 9, 5, 6, 7, 5, 6, 8]),
            &[40, 41, 42, 43, 44, 45, 46, 47, 48],
        );
        let first = vec![vec![2, 9, 43], vec![9, 5, 44], vec![5, 6, 45], vec![6, 7, 46], vec![7, 5, 47]];
        assert_eq!(counted(&pairs), (first.clone(), [2, 2, 0]));
        // (5, 6) and the prompt's (2, 3) have been read, with other choices; (3, 5) is new.
        pairs.add(&document(&[0], &[2, 3, 5, 6, 1]), &[50, 51, 52, 53, 54]);
        assert_eq!(counted(&pairs), ([first, vec![vec![3, 5, 53]]].concat(), [4, 2, 2]));
        assert_eq!(pairs.own[0][..], [2, 9, 5]);
    }

    #[test]
    fn a_pair_counts_once_where_the_corpus_does_not_depend_on_the_key() {
        let mut pairs = Pairs::new(WHOLE, Independence::Known, Some(4));
        pairs.add(&document(&[0], &[5, 6, 7, 8]), &[0, 0, 40, 41]);
        // Another choice after (5, 6), the same after (6, 7); then the requested number is reached.
        pairs.add(&document(&[0], &[5, 6, 7, 8, 9]), &[0, 0, 42, 41, 43]);
        let (found, excluded) = counted(&pairs);
        assert_eq!(found, [vec![5, 6, 40], vec![6, 7, 41], vec![5, 6, 42], vec![7, 8, 43]]);
        assert_eq!((excluded, pairs.is_full()), ([4, 0, 1], true));
        pairs.add(&document(&[0], &[1, 2, 3]), &[0, 0, 40]);
        assert_eq!((pairs.len(), pairs.excluded().beyond_pairs), (4, 1));
    }

    /// A position keeps the context that the generator took for it, even if a shorter or longer one would be new.
    #[test]
    fn shortest_contexts_are_the_generators() {
        let mut pairs = Pairs::new(SHORTEST, Independence::Unknown, None);
        // By the rule: (1), (2), then 1 is taken, so (2 1), then (1 3)... The prompt's 3 has been read.
        pairs.add(&document(&[0, 3, 3], &[1, 2, 1, 3, 1]), &[40, 41, 42, 43, 44]);
        assert_eq!(counted(&pairs), (vec![vec![1, 41], vec![2, 42], vec![2, 1, 43]], [1, 1, 0]));
        // 4 is new; 1 and (1, 2) have been read before, at whatever length they were taken.
        pairs.add(&document(&[0], &[4, 1, 2, 4, 1]), &[50, 51, 52, 53, 54]);
        assert_eq!(counted(&pairs).0[3..], [vec![4, 51], vec![2, 4, 54]]);
    }

    /// Two answers in one document: the contexts of the second begin in the second.
    #[test]
    fn every_answer_of_a_conversation_counts() {
        let ids = vec![0, 1, 2, 3, 9, 4, 5, 6];
        let said = ids.iter().map(|id| ![0, 9].contains(id)).collect();
        let mut pairs = Pairs::new(WHOLE, Independence::Unknown, None);
        pairs.add(&Document { ids, said }, &[0, 0, 40, 0, 0, 41]);
        assert_eq!(counted(&pairs), (vec![vec![1, 2, 40], vec![4, 5, 41]], [4, 0, 0]));
    }

    /// A student that copies what it has read, in the prompt or in the answer, is not a student of the mark. A test of all
    /// positions would take it for one.
    #[test]
    fn a_student_that_copies_is_innocent_and_one_that_prefers_is_not() {
        for preset in Preset::ALL {
            let key = Key::new(preset, Secret::new(vec![3; 32].into())).unwrap();
            let statistic = Decider::default().statistic(key.scheme().evidence_kind()).unwrap();
            let (mut state, mut marking) = (5, Watermark::new(key.prf()).start(&[], 1));
            let mut text = vec![];
            for _ in 0..300 {
                let mut candidates =
                    Distribution::from_probabilities((1..41).collect(), vec![1.0 / 40.0; 40]).unwrap();
                marking.apply(&mut candidates);
                text.push(candidates.draw(unit(&mut state)));
                marking.push(*text.last().unwrap());
            }
            let p = |documents: &[Document], independence| {
                let mut pairs = Pairs::new(key.scheme().context_rule(), independence, None);
                for document in documents {
                    pairs.add(document, &text);
                }
                judge(&key, &*statistic, &pairs.chosen()).unwrap().p.map(PValue::p)
            };
            let quoted = document(&[&[0], &text[..]].concat(), &text);
            assert!(p(&[quoted], Independence::Unknown).is_none_or(|p| p > 1e-3), "{preset}");
            // Without the prompt, nothing shows that the choices are copies.
            let alone = [document(&[0], &text)];
            assert!(p(&alone, Independence::Unknown).unwrap() < 1e-6, "{preset}");
            // The same text again adds nothing.
            let again = [alone[0].clone(), alone[0].clone()];
            assert_eq!(p(&again, Independence::Known), p(&alone, Independence::Known), "{preset}");
        }
    }
}
