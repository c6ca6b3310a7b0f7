//! Reads texts with the model, and returns ln p of continuations and of whole texts.
//!
//! It computes without rounding, for any format of the weights. The common beginning of all prompts of a task is read once. A
//! context is read once for all its continuations. Their tokens are then read in steps that the continuations of several
//! documents share.

use wmdetect::text::Tokenizer;

use super::EvalError;
use crate::logits::Logits;
use crate::model::{Cache, Gemma, RawLogits};

/// Number of positions whose logits are held at once, 1 MB each for 256,000 entries.
const ROWS: usize = 64;
/// Continuations with more tokens than this are read alone, because products of many rows gain nothing from sharing.
const LONG: usize = 24;
/// Number of tokens for which a copy of the cache is worthwhile.
const WORTH_IT: usize = 16;

/// Log-likelihood of a continuation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Likelihood {
    /// ln p, in nats.
    pub log: f64,
    /// Whether each token is the most likely one.
    pub greedy: bool,
    /// Number of tokens.
    pub tokens: usize,
}

/// A context and its continuations as ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    context: Vec<u32>,
    continuations: Vec<Vec<u32>>,
    /// Number of context ids that are cut off for each continuation, since the model has no room for them.
    cuts: Vec<usize>,
}

impl Request {
    /// Encodes a context and its continuations as the harness does. White space at the end of the context belongs to the
    /// continuation. The two are encoded together, and the continuation is what follows the context's number of tokens. What
    /// the model has no room for is cut off at the front, including `<bos>`.
    ///
    /// # Errors
    /// Returns an error if a continuation has no tokens.
    pub fn new(
        tokenizer: &Tokenizer,
        context: &str,
        continuations: &[String],
        room: usize,
    ) -> Result<Self, EvalError> {
        let kept = context.trim_end();
        let moved = &context[kept.len()..];
        let ids = |text: &str| Ok::<_, EvalError>(crate::text::plain_prompt(tokenizer, text)?);
        let before = ids(kept)?;
        if before.is_empty() {
            return Err(EvalError::Empty);
        }
        let mut encoded = Vec::with_capacity(continuations.len());
        for continuation in continuations {
            let whole = ids(&format!("{kept}{moved}{continuation}"))?;
            let continuation = whole.get(before.len()..).filter(|ids| !ids.is_empty());
            encoded.push(continuation.ok_or(EvalError::Empty)?.to_vec());
        }
        // The last token is scored but not read.
        let cut = |ids: &Vec<u32>| (before.len() + ids.len()).saturating_sub(room + 1).min(before.len() - 1);
        let cuts = encoded.iter().map(cut).collect();
        Ok(Self { context: before, continuations: encoded, cuts })
    }

    /// Returns whether the beginning was cut off for some continuation.
    pub fn truncated(&self) -> bool {
        self.cuts.iter().any(|cut| *cut > 0)
    }

    /// Returns the ids of the context.
    pub fn context(&self) -> &[u32] {
        &self.context
    }
}

/// A model that reads.
pub struct Reader {
    model: Gemma,
    /// What was read for all contexts: its ids, and the cache after them.
    common: Option<(Vec<u32>, Cache)>,
}

/// A continuation that is being read.
struct Open<'r> {
    /// Numbers of the request and of the continuation.
    place: (usize, usize),
    ids: &'r [u32],
    cache: Cache,
    sum: Likelihood,
}

impl Reader {
    /// Reads with a model.
    pub fn new(model: &Gemma) -> Self {
        Self { model: model.unrounded(), common: None }
    }

    /// Reads the common beginning of all contexts once.
    ///
    /// # Errors
    /// Returns an error if the model cannot read it.
    pub fn share<'r>(&mut self, mut contexts: impl Iterator<Item = &'r [u32]>) -> Result<(), EvalError> {
        let Some(first) = contexts.next() else { return Ok(()) };
        // At least one token of each context is left to be read.
        let mut len = first.len() - 1;
        for context in contexts {
            let alike = first.iter().zip(context).take_while(|(a, b)| a == b).count();
            len = len.min(alike).min(context.len() - 1);
        }
        self.common = None;
        if len >= WORTH_IT {
            let mut cache = self.model.new_cache(1);
            self.model.read(&first[..len], &mut cache, 0)?;
            self.common = Some((first[..len].to_vec(), cache));
        }
        Ok(())
    }

    /// Returns ln p of each continuation of each request. The requests' continuations share the passes over the weights.
    ///
    /// # Errors
    /// Returns an error if the model cannot read a request, or if its logits are not finite.
    pub fn likelihoods(&self, requests: &[Request]) -> Result<Vec<Vec<Likelihood>>, EvalError> {
        let mut results: Vec<Vec<Likelihood>> =
            requests.iter().map(|request| vec![Likelihood::default(); request.continuations.len()]).collect();
        let mut open = Vec::new();
        for (number, request) in requests.iter().enumerate() {
            let mut read: Option<(usize, Cache, RawLogits)> = None;
            for (which, (ids, cut)) in request.continuations.iter().zip(&request.cuts).enumerate() {
                let (cache, logits) = match &mut read {
                    Some((before, cache, logits)) if before == cut => (cache, logits),
                    _ => {
                        let (cache, logits) = self.read_context(&request.context[*cut..])?;
                        let (_, cache, logits) = read.insert((*cut, cache, logits));
                        (cache, logits)
                    }
                };
                let mut sum = Likelihood { log: 0.0, greedy: true, tokens: 0 };
                score(logits, &ids[..1], &mut sum)?;
                if ids.len() == 1 {
                    results[number][which] = sum;
                } else if ids.len() > LONG {
                    results[number][which] = self.read_on(cache.fork()?, ids, sum)?;
                } else {
                    open.push(Open { place: (number, which), ids, cache: cache.fork()?, sum });
                }
            }
        }
        while !open.is_empty() {
            let tokens: Vec<u32> = open.iter().map(|open| open.ids[open.sum.tokens - 1]).collect();
            let mut caches: Vec<&mut Cache> = open.iter_mut().map(|open| &mut open.cache).collect();
            let logits = self.model.step(&tokens, &mut caches)?;
            logits.read(|rows| {
                open.iter_mut()
                    .enumerate()
                    .try_for_each(|(row, open)| add(rows.row(row), open.ids[open.sum.tokens], &mut open.sum))
            })?;
            open.retain(|open| {
                let goes_on = open.sum.tokens < open.ids.len();
                if !goes_on {
                    results[open.place.0][open.place.1] = open.sum;
                }
                goes_on
            });
        }
        Ok(results)
    }

    /// Reads a context, and returns the logits after it.
    fn read_context(&self, context: &[u32]) -> Result<(Cache, RawLogits), EvalError> {
        let common =
            self.common.as_ref().filter(|(ids, _)| ids.len() < context.len() && context.starts_with(ids));
        let (mut cache, read) = match common {
            Some((ids, cache)) => (cache.fork()?, ids.len()),
            None => (self.model.new_cache(1), 0),
        };
        let logits = self.model.read(&context[read..], &mut cache, 1)?;
        Ok((cache, logits.ok_or(EvalError::Empty)?))
    }

    /// Reads a continuation alone. Its first token is scored already.
    fn read_on(&self, mut cache: Cache, ids: &[u32], mut sum: Likelihood) -> Result<Likelihood, EvalError> {
        for start in (0..ids.len() - 1).step_by(ROWS) {
            let end = (start + ROWS).min(ids.len() - 1);
            let logits = self.model.read(&ids[start..end], &mut cache, end - start)?;
            score(&logits.ok_or(EvalError::Empty)?, &ids[start + 1..=end], &mut sum)?;
        }
        Ok(sum)
    }

    /// Returns ln p of a whole text, after a `bos` that is not scored: the harness's rolling log-likelihood. A text longer
    /// than the context is read in windows, and each token is scored in one of them. Every window except the first is full,
    /// and ends with the tokens that it scores.
    ///
    /// # Errors
    /// Returns an error if there is no token, or the model cannot read the text.
    pub fn text(&self, bos: u32, ids: &[u32]) -> Result<Likelihood, EvalError> {
        if ids.is_empty() {
            return Err(EvalError::Empty);
        }
        let mut sum = Likelihood { log: 0.0, greedy: true, tokens: 0 };
        self.visit(bos, ids, 0, |logits, ids| score(logits, ids, &mut sum))?;
        Ok(sum)
    }

    /// Returns the most likely token at each position of `ids` from `from` on, which is at least 1. It is what the model would
    /// write there after the tokens before it. Of equally likely tokens, the first counts. A text longer than the context is
    /// read in windows, as in [`text`](Self::text).
    ///
    /// # Errors
    /// Returns an error if there is no token before the first position, or if the model cannot read the text.
    pub fn first_choices(&self, ids: &[u32], from: usize) -> Result<Vec<u32>, EvalError> {
        let (&first, rest) = ids.split_first().ok_or(EvalError::Empty)?;
        let skip = from.checked_sub(1).ok_or(EvalError::Empty)?;
        let mut choices = Vec::with_capacity(rest.len().saturating_sub(skip));
        if skip < rest.len() {
            self.visit(first, rest, skip, |logits, ids| {
                logits.read(|rows| {
                    for row in 0..ids.len() {
                        choices.push(first_choice(rows.row(row))?);
                    }
                    Ok(())
                })
            })?;
        }
        Ok(choices)
    }

    /// Reads `ids`, preceded by `first`, in windows. Passes the logits before each token from `skip` on to `each`, with these
    /// tokens.
    fn visit(
        &self,
        first: u32,
        ids: &[u32],
        skip: usize,
        mut each: impl FnMut(&RawLogits, &[u32]) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        let mut done = 0;
        for (read, scored) in windows(first, ids, self.model.config().max_position) {
            let (all, skipped) = (scored.len(), skip.saturating_sub(done).min(scored.len()));
            done += all;
            let (mut cache, before) = (self.model.new_cache(1), read.len() - all + skipped);
            let scored = &scored[skipped..];
            if before > 0 && !scored.is_empty() {
                self.model.read(&read[..before], &mut cache, 0)?;
            }
            for start in (0..scored.len()).step_by(ROWS) {
                let end = (start + ROWS).min(scored.len());
                let logits = self.model.read(&read[before + start..before + end], &mut cache, end - start)?;
                each(&logits.ok_or(EvalError::Empty)?, &scored[start..end])?;
            }
        }
        Ok(())
    }
}

/// Returns for each window the ids to read, and the tokens that follow its last positions. Works like the harness's
/// `get_rolling_token_windows` with one token of context.
fn windows(bos: u32, ids: &[u32], len: usize) -> Vec<(Vec<u32>, &[u32])> {
    let first = len.min(ids.len());
    let mut windows = vec![([&[bos], &ids[..first - 1]].concat(), &ids[..first])];
    let mut done = first;
    while done < ids.len() {
        let end = (done + len).min(ids.len());
        // The first window has `len` tokens, so no window begins before the text.
        windows.push((ids[end - len - 1..end - 1].to_vec(), &ids[done..end]));
        done = end;
    }
    windows
}

fn score(logits: &RawLogits, ids: &[u32], sum: &mut Likelihood) -> Result<(), EvalError> {
    logits.read(|rows| ids.iter().enumerate().try_for_each(|(row, &id)| add(rows.row(row), id, sum)))
}

/// Returns the logits before the soft cap, which must be finite.
fn finite(logits: Logits<'_>) -> Result<&[f32], EvalError> {
    let values = logits.uncapped();
    crate::model::first_non_finite(values).map_or(Ok(values), |token| Err(EvalError::NotFinite { token }))
}

/// Returns the most likely token. The soft cap does not change the order.
fn first_choice(logits: Logits<'_>) -> Result<u32, EvalError> {
    let values = finite(logits)?;
    let most = values.iter().enumerate().max_by(|(i, a), (j, b)| a.total_cmp(b).then(j.cmp(i)));
    Ok(most.map_or(0, |(token, _)| token as u32))
}

/// Adds ln p of a token.
fn add(logits: Logits<'_>, id: u32, sum: &mut Likelihood) -> Result<(), EvalError> {
    let values = finite(logits)?;
    let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    // The vocabulary contains every id of the tokenizer; the model has checked the others.
    let value = values.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY);
    let max = f64::from(logits.of(most));
    let total: f64 = values.iter().map(|value| (f64::from(logits.of(*value)) - max).exp()).sum();
    sum.log += f64::from(logits.of(value)) - max - total.ln();
    sum.greedy &= logits.of(value) >= logits.of(most);
    sum.tokens += 1;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Format;
    use crate::model::random;

    /// Values of `lm_eval.utils.get_rolling_token_windows` and `make_disjoint_window` for 0 … 9 with prefix 100, and lengths
    /// of 4 and 10.
    #[test]
    fn windows_are_the_harness_s() {
        let ids: Vec<u32> = (0..10).collect();
        let found = windows(100, &ids, 4);
        assert_eq!(found[0], (vec![100, 0, 1, 2], &ids[..4]));
        assert_eq!(found[1], (vec![3, 4, 5, 6], &ids[4..8]));
        assert_eq!(found[2], (vec![5, 6, 7, 8], &ids[8..]));
        assert_eq!(windows(100, &ids, 10), [(vec![100, 0, 1, 2, 3, 4, 5, 6, 7, 8], &ids[..])]);
    }

    /// Reads a text of several windows, from its beginning and from within: each choice is that of a pass over everything
    /// before it.
    #[test]
    fn first_choices_are_those_of_a_pass_over_what_is_before() {
        let mut config = random::config();
        config.max_position = 100;
        let model = random::model(config, Format::F32);
        let ids: Vec<u32> = (0..250).map(|i| (5 + i * 37) as u32 % 2048).collect();
        let reader = Reader::new(&model);
        let all = reader.first_choices(&ids, 1).unwrap();
        assert_eq!(all.len(), 249);
        for from in [2, 60, 101, 180, 249] {
            assert_eq!(reader.first_choices(&ids, from).unwrap(), all[from - 1..], "{from}");
        }
        assert!(reader.first_choices(&ids, 250).unwrap().is_empty());
        // Positions within the first window, and at the end of the last window, which is full.
        for (start, at) in [(0, 1), (0, 40), (0, 100), (149, 249)] {
            let logits = model.forward(&[&ids[start..at]], &mut model.new_cache(1)).unwrap();
            let row = logits.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let best = row.iter().copied().fold(f32::MIN, f32::max);
            assert!((row[all[at - 1] as usize] - best).abs() < 1e-4, "{at}");
        }
        assert!(reader.first_choices(&ids, 0).is_err());
    }

    /// Reads short and long continuations, with and without a shared beginning, together and alone. The definition is one pass
    /// over context and continuation.
    #[test]
    fn ways_of_reading_agree() {
        let model = random::model(random::config(), Format::Q8_0);
        let id = |i: usize| (5 + i * 37) as u32 % 2048;
        let requests: Vec<Request> = (0..3)
            .map(|n| Request {
                context: (0..30).map(id).chain((0..=n).map(|i| id(i + 100 * n))).collect(),
                continuations: [1, 2, 7, LONG + ROWS + 3]
                    .map(|len| (0..len).map(|i| id(i + n * 7 + len)).collect())
                    .to_vec(),
                cuts: vec![0; 4],
            })
            .collect();
        let mut reader = Reader::new(&model);
        let alone: Vec<_> = requests
            .iter()
            .map(|one| reader.likelihoods(std::slice::from_ref(one)).unwrap().remove(0))
            .collect();
        reader.share(requests.iter().map(Request::context)).unwrap();
        assert_eq!(reader.common.as_ref().unwrap().0.len(), 30);
        let together = reader.likelihoods(&requests).unwrap();
        for (request, (alone, together)) in requests.iter().zip(alone.iter().zip(&together)) {
            for (ids, (alone, together)) in request.continuations.iter().zip(alone.iter().zip(together)) {
                let whole = [&request.context[..], ids].concat();
                let logits = model.forward_all(&[&whole], &mut model.new_cache(1)).unwrap();
                let rows = logits.squeeze(0).unwrap().to_vec2::<f32>().unwrap();
                let mut want = Likelihood { log: 0.0, greedy: true, tokens: 0 };
                for (at, &id) in ids.iter().enumerate() {
                    add(Logits::capped(&rows[request.context.len() + at - 1]), id, &mut want).unwrap();
                }
                for found in [alone, together] {
                    assert!((found.log - want.log).abs() < 1e-3, "{found:?} {want:?}");
                    assert_eq!((found.tokens, found.greedy), (want.tokens, want.greedy));
                }
            }
        }
    }
}
