//! Guesses from the prompt and the text so far.

use super::{CLASSES, Guess};

/// Longest match that is distinguished from longer ones.
const LONGEST: usize = CLASSES;

/// All token ids of a response's prompt and of the response.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Lookup {
    ids: Vec<u32>,
}

impl Lookup {
    /// Starts with the ids of a prompt.
    pub(in crate::engine) fn new(prompt: &[u32]) -> Self {
        Self { ids: prompt.to_vec() }
    }

    /// Appends a token of the response.
    pub(in crate::engine) fn push(&mut self, token: u32) {
        self.ids.push(token);
    }

    /// Fills `guess` with the `most` tokens that followed the longest earlier match of the last tokens. Of several such matches,
    /// the latest counts. If they reach the end of the text, the guess repeats from its beginning, as a loop does. The class of
    /// a guess is the length of the match.
    pub(in crate::engine) fn guess(&self, most: usize, guess: &mut Guess) {
        guess.clear();
        let Some((last, before)) = self.ids.split_last() else { return };
        let (mut longest, mut from) = (0, 0);
        // `end` is the place after an earlier `last`, where its continuation begins.
        for end in (1..self.ids.len()).rev() {
            if self.ids[end - 1] != *last {
                continue;
            }
            let earlier = self.ids[..end - 1].iter().rev().zip(before.iter().rev());
            let matched = 1 + earlier.take(LONGEST - 1).take_while(|(a, b)| a == b).count();
            if matched > longest {
                (longest, from) = (matched, end);
            }
            if matched == LONGEST {
                break;
            }
        }
        if longest > 0 {
            for place in from..from + most {
                let token = self.ids.get(place).copied();
                guess.push(token.unwrap_or_else(|| guess.tokens[place - self.ids.len()]), longest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(ids: &[u32], most: usize) -> (Vec<u32>, usize) {
        let (mut lookup, mut guess) = (Lookup::new(&ids[..1]), Guess::default());
        for id in &ids[1..] {
            lookup.push(*id);
        }
        lookup.guess(most, &mut guess);
        (guess.tokens, guess.classes.first().copied().unwrap_or(0))
    }

    #[test]
    fn the_longest_match_is_found_and_of_several_the_latest() {
        // 3 occurs three times. The last 3 follows 1 2, as the first one does.
        assert_eq!(guess(&[1, 2, 3, 4, 5, 9, 3, 7, 8, 1, 2, 3], 3), (vec![4, 5, 9], 3));
        assert_eq!(guess(&[1, 3, 4, 2, 3, 5, 9, 3], 2), (vec![5, 9], 1));
        assert_eq!(guess(&[1, 2, 3, 4], 3), (vec![], 0));
        assert_eq!(guess(&[5], 3), (vec![], 0));
    }

    #[test]
    fn a_loop_goes_on() {
        assert_eq!(guess(&[6, 1, 2, 1, 2], 5), (vec![1, 2, 1, 2, 1], 3 - 1));
        assert_eq!(guess(&[7; 20], 4), (vec![7; 4], LONGEST));
    }
}
