//! Guesses out of the prompt and the text so far.

/// The longest match that is told from longer ones.
pub(in crate::engine) const LONGEST: usize = 8;

/// All ids of a response's prompt and of the response.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Lookup {
    ids: Vec<u32>,
}

/// What may come next.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(in crate::engine) struct Guess {
    /// The tokens, the next one first.
    pub(in crate::engine) tokens: Vec<u32>,
    /// How many of the last tokens stood before what was found, from 1 to [`LONGEST`]; 0 of nothing.
    pub(in crate::engine) matched: usize,
}

impl Lookup {
    /// Starts with a prompt.
    pub(in crate::engine) fn new(prompt: &[u32]) -> Self {
        Self { ids: prompt.to_vec() }
    }

    /// Appends a token of the response.
    pub(in crate::engine) fn push(&mut self, token: u32) {
        self.ids.push(token);
    }

    /// Makes `guess` the `most` tokens that followed the last ones where the longest run of them stood before, or the latest of
    /// several such places. A text that has come back to its own end goes on as it did since.
    pub(in crate::engine) fn guess(&self, most: usize, guess: &mut Guess) {
        guess.tokens.clear();
        guess.matched = 0;
        let Some((last, before)) = self.ids.split_last() else { return };
        let mut from = 0;
        // `end` is where the tokens after an earlier `last` begin.
        for end in (1..self.ids.len()).rev() {
            if self.ids[end - 1] != *last {
                continue;
            }
            let earlier = self.ids[..end - 1].iter().rev().zip(before.iter().rev());
            let matched = 1 + earlier.take(LONGEST - 1).take_while(|(a, b)| a == b).count();
            if matched > guess.matched {
                (guess.matched, from) = (matched, end);
            }
            if matched == LONGEST {
                break;
            }
        }
        if guess.matched > 0 {
            for place in from..from + most {
                let token = self.ids.get(place).copied();
                guess.tokens.push(token.unwrap_or_else(|| guess.tokens[place - self.ids.len()]));
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
        (guess.tokens, guess.matched)
    }

    #[test]
    fn the_longest_match_is_found_and_of_several_the_latest() {
        // 3 stands at three places; before the last 3 there are 1 2, as at the first.
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
