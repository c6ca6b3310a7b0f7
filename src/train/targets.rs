//! A file of teacher targets: rows, and some ids with the teacher's log-probabilities for each learned token.
//!
//! The file is a safetensors file that other tools can also write. For each part, `train` and `held_out`, it has:
//!
//! | tensor | type, shape | what |
//! |---|---|---|
//! | `train.tokens` | U32 `[rows, len]` | tokens, with any padding at the end |
//! | `train.mask` | U8 `[rows, len − 1]` | 1 where the next token's distribution is learned |
//! | `train.ids` | U32 `[n, k]` | ids; n is the number of ones in the mask, row by row |
//! | `train.logprobs` | F32 `[n, k]` | the teacher's log-probabilities at temperature 1, in nats; −∞ marks a place without an entry |
//!
//! The metadata has `format` = `wmgen-teacher-targets`, `version` = `1`, `rule` = `top-k` or `sampled`, `tokenizer` = the tokenizer's
//! fingerprint in hexadecimal, and `teacher` = a name.

use super::error::{Error, Result};
use super::objective::support::largest;
use super::objective::{Divergence, ListRule};
use super::rows::{FixedRows, Listed, Row, Source};
use super::teacher::Teacher;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::Path;
use wmdetect::atomic_file;

/// Value of `format` in the metadata.
const FORMAT: &str = "wmgen-teacher-targets";

/// Choice of the ids of a teacher's distribution that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The most likely ids.
    TopK,
    /// Ids sampled by the teacher's probability, without replacement: the largest logits with Gumbel noise.
    Sampled,
}

impl Choice {
    fn name(self) -> &'static str {
        match self {
            Self::TopK => "top-k",
            Self::Sampled => "sampled",
        }
    }
}

/// Rows with a teacher's targets.
#[derive(Debug, Clone, PartialEq)]
pub struct Targets {
    train: Vec<Row>,
    held_out: Vec<Row>,
    choice: Choice,
    divergence: Divergence,
    fingerprint: String,
}

/// Asks a teacher for `k` entries for each learned token.
///
/// # Errors
/// Returns the errors of the model.
pub fn ask(teacher: &Teacher, row: &mut Row, k: usize, choice: Choice, rng: &mut ChaCha8Rng) -> Result<()> {
    let logits = teacher.logits(row)?;
    let k = k.min(teacher.vocab());
    let mut listed = Listed { k, ..Listed::default() };
    for logits in logits.chunks_exact(teacher.vocab()) {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|x| f64::from(x - max).exp()).sum();
        let ids = match choice {
            Choice::TopK => largest(logits, k),
            Choice::Sampled => {
                let mut noisy = |x: &f32| x - (-(1.0 - rng.random::<f64>()).ln()).ln() as f32;
                largest(&logits.iter().map(&mut noisy).collect::<Vec<f32>>(), k)
            }
        };
        let logprob = |id: &u32| (f64::from(logits[*id as usize] - max) - sum.ln()) as f32;
        listed.logprobs.extend(ids.iter().map(logprob));
        listed.ids.extend(ids);
    }
    row.listed = Some(listed);
    Ok(())
}

/// Writes a teacher's targets for all rows of the first epoch and for `held_out` held-out rows, atomically. Returns the number of
/// targets.
///
/// # Errors
/// Returns the errors of the model and of the file system.
#[expect(clippy::too_many_arguments, reason = "a file's contents, one by one")]
pub fn write(
    path: &Path,
    source: &dyn Source,
    teacher: &Teacher,
    (context, held_out): (usize, usize),
    (k, choice): (usize, Choice),
    seed: u64,
    tokenizer: &str,
    mut progress: impl FnMut(usize, usize),
) -> Result<usize> {
    let places = source.places(context, 0);
    let parts = [
        ("train", places.iter().map(|place| source.row(*place, context)).collect::<Vec<_>>()),
        ("held_out", source.held_out(context, held_out)),
    ];
    let total = parts.iter().map(|(_, rows)| rows.len()).sum();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut done, mut targets) = (0, 0);
    let mut tensors = Vec::new();
    for (part, mut rows) in parts {
        let len = rows.iter().map(|row| row.ids.len()).max().unwrap_or(1);
        let (mut tokens, mut mask, mut ids, mut logprobs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut count = 0;
        for (i, row) in rows.iter_mut().enumerate() {
            ask(teacher, row, k, choice, &mut rng)?;
            tokens.extend(row.ids.iter().flat_map(|id| id.to_le_bytes()));
            tokens.resize(4 * len * (i + 1), 0);
            mask.extend(row.mask.iter().map(|learned| u8::from(*learned)));
            mask.resize((len - 1) * (i + 1), 0);
            count += row.count();
            let listed = row.listed.take().unwrap_or_default();
            ids.extend(listed.ids.iter().flat_map(|id| id.to_le_bytes()));
            logprobs.extend(listed.logprobs.iter().flat_map(|l| l.to_le_bytes()));
            done += 1;
            progress(done, total);
        }
        let k = k.min(teacher.vocab());
        targets += count;
        tensors.push((format!("{part}.tokens"), Dtype::U32, vec![rows.len(), len], tokens));
        tensors.push((format!("{part}.mask"), Dtype::U8, vec![rows.len(), len - 1], mask));
        tensors.push((format!("{part}.ids"), Dtype::U32, vec![count, k], ids));
        tensors.push((format!("{part}.logprobs"), Dtype::F32, vec![count, k], logprobs));
    }
    let library = |e: safetensors::SafeTensorError| Error::write(path)(std::io::Error::other(e.to_string()));
    let mut views = Vec::new();
    for (name, dtype, shape, bytes) in &tensors {
        views.push((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).map_err(library)?));
    }
    let metadata = [
        ("format", FORMAT),
        ("version", "1"),
        ("rule", choice.name()),
        ("tokenizer", tokenizer),
        ("teacher", teacher.fingerprint()),
    ];
    let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    let file = safetensors::serialize(views, Some(metadata.collect::<HashMap<_, _>>())).map_err(library)?;
    atomic_file::write(path, &file).map_err(Error::write(path))?;
    Ok(targets)
}

impl Targets {
    /// Reads a file for a tokenizer with this fingerprint and a vocabulary of `vocab` entries.
    ///
    /// # Errors
    /// Returns an error if the file is damaged or belongs to another tokenizer, or if an entry is not a log-probability of the
    /// vocabulary. Also returns an error if `divergence` cannot be computed from a list.
    pub fn read(path: &Path, tokenizer: &str, vocab: usize, divergence: Divergence) -> Result<Self> {
        let file = std::fs::read(path).map_err(Error::read(path))?;
        let wrong = |reason: String| Error::Targets { path: path.into(), reason };
        let (_, metadata) =
            SafeTensors::read_metadata(&file).map_err(|e| wrong(format!("cannot be read: {e}")))?;
        let entry = |key: &str| metadata.metadata().as_ref().and_then(|m| m.get(key)).map_or("", |v| v);
        for (key, expected) in [("format", FORMAT), ("version", "1")] {
            if entry(key) != expected {
                return Err(wrong(format!("have the {key} {:?}, expected {expected:?}", entry(key))));
            }
        }
        let choice = match entry("rule") {
            "top-k" => Choice::TopK,
            "sampled" => Choice::Sampled,
            other => {
                return Err(wrong(format!("have the rule {other:?}, expected \"top-k\" or \"sampled\"")));
            }
        };
        if entry("tokenizer") != tokenizer {
            let found = entry("tokenizer");
            return Err(wrong(format!(
                "are of another tokenizer: expected fingerprint {tokenizer}, found {found}"
            )));
        }
        let needs = match choice {
            Choice::Sampled => divergence.temperature != 1.0 || divergence.beta != 0.0,
            Choice::TopK => divergence.temperature != 1.0 && divergence.loss_add_tail,
        };
        if needs {
            let rule = match choice {
                Choice::Sampled => "were sampled, so that beta must be 0 and temperature 1",
                Choice::TopK => {
                    "have no tail at another temperature than 1, expected --loss-add-tail false with it"
                }
            };
            return Err(wrong(rule.into()));
        }
        let tensors = SafeTensors::deserialize(&file).map_err(|e| wrong(format!("are damaged: {e}")))?;
        let part = |name: &str| read_part(&tensors, name, vocab).map_err(wrong);
        let (train, held_out) = (part("train")?, part("held_out")?);
        let fingerprint = wmdetect::hex::encode(&Sha256::digest(&file));
        Ok(Self { train, held_out, choice, divergence, fingerprint })
    }

    /// Returns the number of positions of the longest row.
    pub fn context(&self) -> usize {
        self.train.iter().chain(&self.held_out).map(|row| row.mask.len()).max().unwrap_or(0)
    }
}

/// Reads the rows of one part.
fn read_part(tensors: &SafeTensors<'_>, part: &str, vocab: usize) -> Result<Vec<Row>, String> {
    let matrix = |name: &str, dtype: Dtype| {
        let name = format!("{part}.{name}");
        let view = tensors.tensor(&name).map_err(|_| format!("have no tensor {name:?}"))?;
        match (view.dtype() == dtype, view.shape()) {
            (true, &[rows, cols]) => Ok((view.data().to_vec(), rows, cols)),
            _ => Err(format!(
                "have {name:?} as {:?} {:?}, expected {dtype:?} of two dimensions",
                view.dtype(),
                view.shape()
            )),
        }
    };
    let (tokens, rows, len) = matrix("tokens", Dtype::U32)?;
    let (mask, mask_rows, mask_len) = matrix("mask", Dtype::U8)?;
    let (ids, count, k) = matrix("ids", Dtype::U32)?;
    let (logprobs, logprob_count, logprob_k) = matrix("logprobs", Dtype::F32)?;
    let ones = mask.iter().filter(|m| **m != 0).count();
    if len < 2
        || (mask_rows, mask_len + 1) != (rows, len)
        || (logprob_count, logprob_k) != (count, k)
        || count != ones
        || k == 0
    {
        return Err(format!(
            "have shapes that do not fit in {part}: tokens [{rows}, {len}], mask [{mask_rows}, {mask_len}] with {ones} ones, \
             ids [{count}, {k}], logprobs [{logprob_count}, {logprob_k}]; expected [rows, len], [rows, len - 1], and twice \
             [ones, k]"
        ));
    }
    let numbers =
        |bytes: &[u8]| bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect::<Vec<_>>();
    let (tokens, ids) = (numbers(&tokens), numbers(&ids));
    let logprobs: Vec<f32> = numbers(&logprobs).into_iter().map(f32::from_bits).collect();
    if let Some(id) = tokens.iter().chain(&ids).find(|id| **id as usize >= vocab) {
        return Err(format!("have the id {id} in {part}, expected ids below {vocab}"));
    }
    for (target, (ids, logprobs)) in ids.chunks_exact(k).zip(logprobs.chunks_exact(k)).enumerate() {
        let sum: f64 = logprobs.iter().map(|l| f64::from(*l).exp()).sum();
        let mut sorted: Vec<u32> =
            ids.iter().zip(logprobs).filter(|(_, l)| **l > f32::NEG_INFINITY).map(|(id, _)| *id).collect();
        let entries = sorted.len();
        sorted.sort_unstable();
        sorted.dedup();
        if !(sum > 0.0 && sum < 1.001) || sorted.len() != entries {
            return Err(format!(
                "have a target, {target} of {part}, with {entries} entries of probability {sum}; expected different ids, \
                 whose probabilities add up to at most 1"
            ));
        }
    }
    let (mut out, mut at) = (Vec::new(), 0);
    for (ids_of_row, mask) in tokens.chunks_exact(len).zip(mask.chunks_exact(len - 1)) {
        let end = mask.iter().rposition(|m| *m != 0).map_or(0, |at| at + 1);
        let mask: Vec<bool> = mask[..end].iter().map(|m| *m != 0).collect();
        let entries = at..at + k * mask.iter().filter(|m| **m).count();
        at = entries.end;
        if end > 0 {
            let listed =
                Listed { k, ids: ids[entries.clone()].to_vec(), logprobs: logprobs[entries].to_vec() };
            out.push(Row { ids: ids_of_row[..=end].to_vec(), mask, prompt: None, listed: Some(listed) });
        }
    }
    if out.is_empty() { Err(format!("have no rows in {part}, expected at least one")) } else { Ok(out) }
}

impl FixedRows for Targets {
    fn train(&self) -> &[Row] {
        &self.train
    }

    fn held_out(&self) -> &[Row] {
        &self.held_out
    }

    fn name(&self) -> &'static str {
        "rows of targets"
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn rule(&self) -> Option<ListRule> {
        Some(match self.choice {
            Choice::TopK => ListRule::Divergence(self.divergence),
            Choice::Sampled => ListRule::Sampled,
        })
    }
}
