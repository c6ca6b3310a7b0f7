//! Cuts prompts into slices, so that growing responses wait only for a slice and not for the whole prompt.

/// Minimum number of tokens in a last slice. A model multiplies a few rows differently from many, with other roundings.
/// So a prompt must not end in a few rows if it would not when read whole.
const LEAST: usize = 16;

/// Borders of slices: multiples of a size, counted from the beginning of the prompt.
///
/// They depend only on the prompt's length, so the model's results depend on nothing else either.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slices(usize);

impl Slices {
    /// Makes slices of `size` tokens; the last one of a prompt may differ.
    pub(super) fn new(size: usize) -> Self {
        Self(size.max(1))
    }

    /// Returns the end of the slice that begins at the border `at` of a prompt of `len` tokens.
    pub(super) fn end(self, at: usize, len: usize) -> usize {
        let next = (at / self.0 + 1).saturating_mul(self.0);
        if next.saturating_add(LEAST) <= len { next } else { len }
    }

    /// Returns the last border that prompts of both lengths have and that is at most `common`; 0 if there is none.
    pub(super) fn last_in_common(self, common: usize, lengths: [usize; 2]) -> usize {
        let shorter = lengths[0].min(lengths[1]);
        common.min(shorter.saturating_sub(LEAST)) / self.0 * self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn borders(size: usize, len: usize) -> Vec<usize> {
        let slices = Slices::new(size);
        let next = |at: &usize| (*at < len).then(|| slices.end(*at, len));
        std::iter::successors(Some(0), next).collect()
    }

    #[test]
    fn borders_are_multiples_and_the_last_slice_is_never_short() {
        assert_eq!(borders(64, 1), [0, 1]);
        assert_eq!(borders(64, 79), [0, 79]);
        assert_eq!(borders(64, 80), [0, 64, 80]);
        assert_eq!(borders(64, 143), [0, 64, 143]);
        assert_eq!(borders(64, 144), [0, 64, 128, 144]);
        assert_eq!(borders(usize::MAX, 5000), [0, 5000]);
    }

    /// Checks the definition: a border that both prompts have, within their common beginning.
    #[test]
    fn the_border_in_common_is_a_border_of_both_prompts() {
        for (common, a, b) in [(0, 9, 9), (70, 70, 200), (79, 79, 80), (80, 80, 80), (150, 160, 400)] {
            let [of_a, of_b] = [a, b].map(|len| borders(8, len));
            let shared = of_a[..of_a.len() - 1]
                .iter()
                .filter(|border| **border <= common && of_b[..of_b.len() - 1].contains(border));
            let found = Slices::new(8).last_in_common(common, [a, b]);
            assert_eq!(Some(&found), shared.max(), "{common} of {a} and {b}");
        }
    }
}
