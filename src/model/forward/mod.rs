//! Runs the layers of [`Gemma`], from token ids to logits.
//!
//! The layers are computed in one of three ways. [`tensors`] uses candle's operations: any device, any weights, gradients. If all matrices
//! are [packed](super::packed), [`decode`] computes steps and [`prompt`] reads prompts. Both read earlier positions through [`attend`].

mod attend;
mod attention;
mod decode;
mod prompt;
mod tensors;

use super::cache::Cache;
use super::error::{Error, Result};
use super::gemma::Gemma;
use super::logits::RawLogits;
use crate::kernels::Activations;
use candle_core::{DType, Tensor};

/// Number of rows of activations that go through the layers at once; longer prompts are cut. It limits the memory of attention scores and
/// feed-forward activations. It is more than the matrix products need to run at full speed.
pub const CHUNK: usize = 256;

impl Gemma {
    /// Feeds the next tokens of each sequence, in `rows` of one length. Returns the logits after the last token, `[batch, vocab]` in f32.
    /// Serves prompts and single steps.
    ///
    /// # Errors
    /// Returns an error if the rows do not fit the cache or the context, or an id is outside the vocabulary.
    pub fn forward<R: AsRef<[u32]>>(&self, rows: &[R], cache: &mut Cache) -> Result<Tensor> {
        self.forward_raw(rows, cache)?.capped()
    }

    /// Does what [`Self::forward`] does, and returns the logits before the final soft cap. A sampler that keeps few of them need not
    /// cap the others.
    ///
    /// # Errors
    /// Returns the errors of [`Self::forward`].
    pub fn forward_raw<R: AsRef<[u32]>>(&self, rows: &[R], cache: &mut Cache) -> Result<RawLogits> {
        let mut last = None;
        self.visit_hidden(rows, cache, |hidden| {
            last = Some(hidden.narrow(1, hidden.dim(1)? - 1, 1)?);
            Ok::<(), Error>(())
        })?;
        // `visit_hidden` refuses empty rows, so there is a last one.
        let last = last.ok_or_else(|| Error::Batch { expected: "tokens".into(), found: "none".into() })?;
        Ok(RawLogits::new(self.head.forward(&last.squeeze(1)?)?.to_dtype(DType::F32)?, &self.config))
    }

    /// Feeds the next ids of one sequence. Returns the logits after the last `wanted` ids, `[wanted, vocab]`, before the final soft cap, or
    /// `None` if `wanted` is 0.
    ///
    /// The ids go through the layers in the same chunks whether a text is fed at once or in parts that end at multiples of [`CHUNK`].
    ///
    /// # Errors
    /// Returns an error if there are no ids, or fewer than `wanted`, and the errors of [`Self::forward`].
    pub fn read(&self, ids: &[u32], cache: &mut Cache, wanted: usize) -> Result<Option<RawLogits>> {
        let len = self.check(&[ids], cache.batch(), cache.len())?;
        let Some(first) = len.checked_sub(wanted) else {
            let expected = format!("at least {wanted} tokens, after which logits are wanted");
            return Err(Error::Batch { expected, found: len.to_string() });
        };
        let (mut at, mut rows) = (0, Vec::new());
        while at < len {
            let start = cache.len();
            let end = (at + CHUNK - start % CHUNK).min(len);
            let hidden = self.chunk(&[ids], at..end, Some(cache), start)?;
            cache.len = start + (end - at);
            if first < end {
                let skipped = first.saturating_sub(at);
                rows.push(hidden.narrow(1, skipped, end - at - skipped)?.squeeze(0)?);
            }
            at = end;
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let hidden = if rows.len() == 1 { rows.swap_remove(0) } else { Tensor::cat(&rows, 0)? };
        let logits = self.head.forward(&hidden)?.to_dtype(DType::F32)?;
        Ok(Some(RawLogits::new(logits, &self.config)))
    }

    /// Feeds the next tokens of each sequence and returns the logits after each of them, `[batch, positions, vocab]` in f32.
    ///
    /// Computes [unrounded](super::LoadOptions::unrounded), because the logits serve to score texts. They take 4 · vocab bytes per token;
    /// [`Self::visit_logits`] does not keep them.
    ///
    /// # Errors
    /// Returns the errors of [`Self::forward`].
    pub fn forward_all<R: AsRef<[u32]>>(&self, rows: &[R], cache: &mut Cache) -> Result<Tensor> {
        let (model, mut parts) = (self.unrounded(), Vec::new());
        model.visit_hidden(rows, cache, |hidden| {
            parts.push(model.logits(hidden)?);
            Ok::<(), Error>(())
        })?;
        Ok(Tensor::cat(&parts, 1)?)
    }

    /// Does what [`Self::forward_all`] does, `chunk` positions at a time. `visit` gets the index in `rows` of the chunk's first token, and
    /// the logits after each of its tokens, `[batch, at most chunk, vocab]` in f32.
    ///
    /// # Errors
    /// Returns the errors of [`Self::forward`] and those of `visit`.
    pub fn visit_logits<R: AsRef<[u32]>, E: From<Error>>(
        &self,
        rows: &[R],
        cache: &mut Cache,
        chunk: usize,
        mut visit: impl FnMut(usize, &Tensor) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let (model, mut at) = (self.unrounded(), 0);
        model.visit_hidden(rows, cache, |hidden| {
            let len = hidden.dim(1).map_err(Error::from)?;
            for start in (0..len).step_by(chunk.max(1)) {
                let part = hidden.narrow(1, start, chunk.max(1).min(len - start)).map_err(Error::from)?;
                visit(at + start, &model.logits(&part)?)?;
            }
            at += len;
            Ok(())
        })
    }

    /// Returns the logits after each token of `rows`, `[batch, positions, vocab]`, without a cache and in one piece. Gradients flow
    /// to the tensors of [`Self::from_tensors`].
    ///
    /// # Errors
    /// Returns the errors of [`Self::forward`].
    pub fn forward_train<R: AsRef<[u32]>>(&self, rows: &[R]) -> Result<Tensor> {
        let len = self.check(rows, rows.len(), 0)?;
        let hidden = self.chunk(rows, 0..len, None, 0)?;
        self.logits(&hidden)
    }

    /// Returns the length of the rows, if they all have the same length and it fits.
    pub(super) fn check<R: AsRef<[u32]>>(&self, rows: &[R], batch: usize, start: usize) -> Result<usize> {
        let len = rows.first().map_or(0, |r| r.as_ref().len());
        if rows.len() != batch || len == 0 || rows.iter().any(|r| r.as_ref().len() != len) {
            let lengths: Vec<_> = rows.iter().map(|r| r.as_ref().len()).collect();
            let expected = format!("{batch} rows of tokens of one length, at least 1");
            return Err(Error::Batch { expected, found: format!("rows of {lengths:?}") });
        }
        let (needed, limit) = (start + len, self.config.max_position);
        if needed > limit {
            return Err(Error::Context { needed, limit });
        }
        // Checked before anything is written to the cache.
        let vocab = self.config.vocab;
        for row in rows {
            if let Some(&id) = row.as_ref().iter().find(|id| **id as usize >= vocab) {
                return Err(Error::Token { id, vocab });
            }
        }
        Ok(len)
    }

    /// Runs the layers over `rows` in chunks, and passes the normalised residual stream of each chunk to `visit`,
    /// `[batch, positions, hidden]`.
    fn visit_hidden<R: AsRef<[u32]>, E: From<Error>>(
        &self,
        rows: &[R],
        cache: &mut Cache,
        mut visit: impl FnMut(&Tensor) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let len = self.check(rows, cache.batch(), cache.len())?;
        let step = (CHUNK / rows.len()).max(1);
        for at in (0..len).step_by(step) {
            let end = (at + step).min(len);
            let start = cache.len();
            let hidden = self.chunk(rows, at..end, Some(cache), start)?;
            cache.len = start + (end - at);
            visit(&hidden)?;
        }
        Ok(())
    }

    /// Returns the initial residual stream, `[batch, positions, hidden]`.
    pub(super) fn embed(&self, ids: &[u32], (batch, len): (usize, usize)) -> Result<Tensor> {
        let xs = self.embedding.forward(ids, &self.device, self.dtype)?;
        // The reference rounds the factor to the dtype of the activations.
        let factor = Tensor::new(&[self.config.embedding_factor()], &self.device)?.to_dtype(self.dtype)?;
        Ok(xs.broadcast_mul(&factor)?.reshape((batch, len, self.config.hidden))?)
    }

    /// Feeds one token to each of several sequences. Returns the logits after it, `[sequences, vocab]`, before the final soft cap.
    ///
    /// Each sequence has a cache, and their lengths may differ. They share the passes over the weights, so eight sequences take little
    /// longer than one.
    ///
    /// # Errors
    /// Returns an error if there is not exactly one token for each cache, a cache has several sequences, a context is full, or an id is
    /// outside the vocabulary.
    pub fn step(&self, tokens: &[u32], caches: &mut [&mut Cache]) -> Result<RawLogits> {
        let tokens: Vec<&[u32]> = tokens.iter().map(std::slice::from_ref).collect();
        self.steps(&tokens, caches)
    }

    /// Does the work of one call of [`Self::step`] per token, with bit-identical results. Returns the logits after each token,
    /// `[all tokens, vocab]`: those of the first sequence in order, then those of the second, and so on.
    ///
    /// If all matrices are packed for the CPU's kernels, the tokens of a sequence also share the passes over the weights
    /// ([`Self::takes_several`]).
    ///
    /// # Errors
    /// Returns an error if there are no tokens for a cache, and the errors of [`Self::step`].
    pub fn steps(&self, tokens: &[&[u32]], caches: &mut [&mut Cache]) -> Result<RawLogits> {
        if tokens.is_empty() || tokens.len() != caches.len() || caches.iter().any(|cache| cache.batch() != 1)
        {
            let expected = "tokens for each cache, and caches of one sequence each".into();
            let batches: Vec<usize> = caches.iter().map(|cache| cache.batch()).collect();
            let found = format!("tokens for {} caches, caches of {batches:?} sequences", tokens.len());
            return Err(Error::Batch { expected, found });
        }
        for (tokens, cache) in tokens.iter().zip(caches.iter()) {
            self.check(&[tokens], 1, cache.len())?;
        }
        let ids = tokens.concat();
        let xs = self.embed(&ids, (ids.len(), 1))?;
        if let Some(logits) = self.step_of_packed(&xs, tokens, caches)? {
            return Ok(logits);
        }
        if ids.len() == tokens.len() {
            return self.step_of_tensors(xs, caches);
        }
        let mut rows = Vec::with_capacity(ids.len());
        for (tokens, cache) in tokens.iter().zip(caches) {
            for token in *tokens {
                rows.push(self.step(&[*token], &mut [cache])?);
            }
        }
        let Some(logits) = RawLogits::cat(rows)? else { unreachable!("there are tokens") };
        Ok(logits)
    }

    /// Returns whether [`Self::steps`] reads the weights only once for several tokens of a sequence.
    pub fn takes_several(&self) -> bool {
        self.packed.is_some()
    }

    /// Runs the layers over the tokens `range` of each row, at positions from `start` on.
    pub(super) fn chunk<R: AsRef<[u32]>>(
        &self,
        rows: &[R],
        range: std::ops::Range<usize>,
        mut cache: Option<&mut Cache>,
        start: usize,
    ) -> Result<Tensor> {
        let (batch, len) = (rows.len(), range.len());
        let ids: Vec<u32> = rows.iter().flat_map(|r| r.as_ref()[range.clone()].iter().copied()).collect();
        let xs = self.embed(&ids, (batch, len))?;
        if let (Some(packed), Some(cache), 2..) = (&self.packed, &mut cache, len)
            && batch == 1
            && cache.layers.iter().all(|layer| layer.past(start).is_some())
        {
            let mut numbers = xs.flatten_all()?.to_vec1()?;
            packed.read(&self.config, &mut numbers, start, &mut cache.layers, Activations::new())?;
            return self.norm.forward(&Tensor::from_vec(numbers, xs.shape(), &self.device)?);
        }
        self.chunk_of_tensors(xs, cache, start)
    }

    /// Maps `[batch, positions, hidden]` to the logits after the final soft cap, `[batch, positions, vocab]` in f32.
    fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        RawLogits::new(self.head.forward(hidden)?.to_dtype(DType::F32)?, &self.config).capped()
    }
}
