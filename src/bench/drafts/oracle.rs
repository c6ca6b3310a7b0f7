//! A draft model that knows what will be written.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use wmdetect::split_mix;

use crate::engine::{Feed, LanguageModel};
use crate::logits::LogitRows;
use crate::model::{self, Cache, Gemma};

/// A model of an engine that is measured.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there are two of them")]
pub(super) enum Model {
    Gemma(Gemma),
    Oracle(Oracle),
}

/// A sequence of such a model.
pub(super) enum Sequence {
    Gemma(Cache),
    /// The ids of the sequence.
    Oracle(Vec<u32>),
}

/// Guesses what is known to come and, now and then, something else.
#[derive(Clone, Debug)]
pub(super) struct Oracle {
    /// Prompts and responses.
    texts: Arc<Vec<Vec<u32>>>,
    /// Probability that a guess is right.
    acceptance: f64,
    /// Time that a pass takes.
    time: Duration,
    vocab: usize,
    context: usize,
}

impl Oracle {
    pub(super) fn new(texts: Vec<Vec<u32>>, acceptance: f64, seconds: f64, target: &Gemma) -> Self {
        let time = Duration::from_secs_f64(seconds);
        Self {
            texts: Arc::new(texts),
            acceptance,
            time,
            vocab: target.config().vocab,
            context: target.config().max_position,
        }
    }

    /// Returns the guess after `ids`.
    fn next(&self, ids: &[u32]) -> u32 {
        let text = self.texts.iter().find(|text| text.len() > ids.len() && text.starts_with(ids));
        let Some(&next) = text.and_then(|text| text.get(ids.len())) else { return 0 };
        let mut state = ids.iter().fold(0, |state, id| split_mix::mix(state ^ u64::from(*id)));
        if split_mix::unit(&mut state) < self.acceptance { next } else { (next + 1) % self.vocab as u32 }
    }
}

impl LanguageModel for Model {
    type Cache = Sequence;
    type Error = model::Error;

    fn vocab(&self) -> usize {
        match self {
            Self::Gemma(model) => LanguageModel::vocab(model),
            Self::Oracle(oracle) => oracle.vocab,
        }
    }

    fn context(&self) -> usize {
        match self {
            Self::Gemma(model) => model.context(),
            Self::Oracle(oracle) => oracle.context,
        }
    }

    fn most_drafts(&self) -> usize {
        match self {
            Self::Gemma(model) => model.most_drafts(),
            Self::Oracle(_) => 0,
        }
    }

    fn cache_bytes(&self, positions: usize) -> usize {
        match self {
            Self::Gemma(model) => LanguageModel::cache_bytes(model, positions),
            Self::Oracle(_) => 4 * positions,
        }
    }

    fn new_cache(&self) -> Sequence {
        match self {
            Self::Gemma(model) => Sequence::Gemma(LanguageModel::new_cache(model)),
            Self::Oracle(_) => Sequence::Oracle(Vec::new()),
        }
    }

    fn len(&self, cache: &Sequence) -> usize {
        match cache {
            Sequence::Gemma(cache) => cache.len(),
            Sequence::Oracle(ids) => ids.len(),
        }
    }

    fn fork(&self, cache: &Sequence, len: usize) -> Result<Option<Sequence>, model::Error> {
        Ok(match cache {
            Sequence::Gemma(cache) => cache.fork_at(len)?.map(Sequence::Gemma),
            Sequence::Oracle(ids) => Some(Sequence::Oracle(ids[..len].to_vec())),
        })
    }

    fn truncate(&self, cache: &mut Sequence, len: usize) -> Result<bool, model::Error> {
        match cache {
            Sequence::Gemma(cache) => cache.truncate(len),
            Sequence::Oracle(ids) => {
                ids.truncate(len);
                Ok(true)
            }
        }
    }

    fn feed<T>(
        &self,
        batch: &mut [Feed<'_, Sequence>],
        read: impl FnOnce(LogitRows<'_>) -> T,
    ) -> Result<T, model::Error> {
        match self {
            Self::Gemma(model) => {
                let mut feeds = Vec::with_capacity(batch.len());
                for Feed { cache, ids, logits } in batch {
                    let Sequence::Gemma(cache) = cache else {
                        unreachable!("a model's cache is the model's")
                    };
                    feeds.push(Feed { cache, ids, logits: *logits });
                }
                model.feed(&mut feeds, read)
            }
            Self::Oracle(oracle) => {
                let mut rows = Vec::new();
                for Feed { cache, ids, logits } in batch {
                    let Sequence::Oracle(known) = cache else {
                        unreachable!("an oracle's cache is the oracle's")
                    };
                    for (place, id) in ids.iter().enumerate() {
                        known.push(*id);
                        if place + *logits >= ids.len() {
                            let row = rows.len();
                            rows.resize(row + oracle.vocab, 0.0);
                            rows[row + oracle.next(known) as usize] = 1000.0;
                        }
                    }
                }
                if !oracle.time.is_zero() {
                    thread::sleep(oracle.time);
                }
                Ok(read(LogitRows::new(&rows, oracle.vocab, None)))
            }
        }
    }
}
