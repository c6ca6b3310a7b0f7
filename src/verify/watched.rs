//! A reader that reports its progress.

use std::ops::ControlFlow;

use wmdetect::model_ratio::NextTokens;
use wmdetect::scheme::Distribution;

use super::{Reader, VerifyError};

/// Callback for progress: the number of tokens read, and of all tokens.
pub(super) type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// A [`Reader`] with a progress callback.
pub(super) struct Watched<'a> {
    reader: Reader,
    progress: Progress<'a>,
    /// Number of tokens that were read before, and of all tokens to read.
    done: usize,
    total: usize,
}

impl<'a> Watched<'a> {
    /// Watches a reader of texts that have `total` tokens in total.
    pub(super) fn new(reader: Reader, progress: Progress<'a>, total: usize) -> Self {
        Self { reader, progress, done: 0, total }
    }
}

impl NextTokens for Watched<'_> {
    type Error = VerifyError;

    fn settings(&self) -> usize {
        self.reader.settings()
    }

    fn for_each(
        &mut self,
        prompt: &[u32],
        ids: &[u32],
        visit: &mut dyn FnMut(usize, &[Distribution]) -> ControlFlow<()>,
    ) -> Result<(), VerifyError> {
        let Self { reader, progress, done, total } = self;
        let read = reader.for_each(prompt, ids, &mut |t, next| {
            progress(*done + t + 1, *total);
            visit(t, next)
        });
        *done += ids.len();
        read
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::kernels::Format;
    use crate::model::random;
    use crate::sample::Sampling;

    /// Also tries a text that is read in several parts, and the text after it.
    #[test]
    fn each_token_is_heard_of_once() {
        let mut config = random::config();
        config.max_position = 64;
        let model = random::model(config, Format::Q8_0);
        let ids: Vec<u32> = (0..150).map(|i| 5 + i * 37 % 2000).collect();
        let heard = Mutex::new(Vec::new());
        let progress = |done, total| heard.lock().unwrap().push((done, total));
        let (first, second) = ids.split_at(130);
        let reader = Reader::new(&model, Some(2), vec![Sampling::default()]).unwrap();
        let mut visited = 0;
        let mut visit = |_: usize, _: &[Distribution]| {
            visited += 1;
            ControlFlow::Continue(())
        };
        let mut watched = Watched::new(reader, &progress, ids.len());
        watched.for_each(&[], first, &mut visit).unwrap();
        watched.for_each(&[], second, &mut visit).unwrap();
        assert_eq!(visited, ids.len());
        assert_eq!(heard.into_inner().unwrap(), (1..=150).map(|done| (done, 150)).collect::<Vec<_>>());
    }
}
