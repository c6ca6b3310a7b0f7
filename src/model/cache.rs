//! Keys and values of the positions so far.
//!
//! A global layer keeps them all, in buffers that grow by doubling and are written in place. A local layer keeps the last
//! W, in a ring: position p lies in slot p mod W. A decode step writes its slot and then attends over the ring as it lies:
//! after W positions each slot holds a key that the query sees, and attention does not ask for an order, since the
//! rotation by position is already in the keys. What a slot held before is [set aside](aside) for a while, so that the last
//! positions can be taken back.
//!
//! A model whose matrices lie in [panels](crate::kernels::panels) keeps them in bf16, the dtype that Gemma was trained in:
//! attention over a long text reads half the memory. All others keep them in the dtype that they compute in.

mod aside;
mod past;

use self::aside::Aside;
pub(super) use self::past::{Past, Run};
use super::config::{Config, LayerKind};
use super::error::{Error, Result};
use candle_core::{DType, Device, Tensor, shape::Dim};
use half::bf16;
use std::ops::Range;

/// Slots of a fresh buffer.
const FIRST_CAPACITY: usize = 64;
/// Positions that can always be taken back, also where a ring has overwritten what they were preceded by.
pub const TAKE_BACK: usize = 80;
/// The dimension of the positions in `[batch, kv_heads, positions, head_dim]`.
const POSITIONS: usize = 2;

/// One layer's keys and values, `[batch, kv_heads, capacity, head_dim]` each.
#[derive(Debug)]
pub struct LayerCache {
    /// Positions that are ever kept: W of a local layer, the context of a global one.
    limit: usize,
    buffers: Option<(Tensor, Tensor)>,
    capacity: usize,
    /// Positions that later ones have overwritten, or are about to overwrite.
    aside: Aside,
}

impl LayerCache {
    fn new(kind: LayerKind, max_position: usize) -> Self {
        let limit = kind.window().unwrap_or(max_position).min(max_position);
        Self { limit, buffers: None, capacity: 0, aside: Aside::default() }
    }

    /// Adds the keys and values of positions `start` and following, `[batch, kv_heads, positions, head_dim]`, and returns
    /// those that the positions' queries may see.
    ///
    /// For more than one position these are in order, the earliest first: the last min(start, limit − 1) from before
    /// and then the new ones; which of them a query sees is the mask's business. For one position a full ring is
    /// returned as it lies.
    ///
    /// A cache that is empty keeps them as `stored`, others as before; they come back in the dtype of `k`.
    ///
    /// # Errors
    /// Shapes other than before.
    pub fn extend(
        &mut self,
        start: usize,
        k: &Tensor,
        v: &Tensor,
        stored: DType,
    ) -> Result<(Tensor, Tensor)> {
        let computed = k.dtype();
        let stored = self.buffers.as_ref().map_or(stored, |(keys, _)| keys.dtype());
        let (keys, values) = self.extend_stored(start, &k.to_dtype(stored)?, &v.to_dtype(stored)?)?;
        Ok((keys.to_dtype(computed)?, values.to_dtype(computed)?))
    }

    /// Adds the keys and the values of positions `start` and following of one sequence, `[positions, kv_heads, head_dim]` each.
    ///
    /// # Errors
    /// Shapes other than before.
    pub(super) fn push(
        &mut self,
        start: usize,
        keys: &[bf16],
        values: &[bf16],
        kv_heads: usize,
        dim: usize,
    ) -> Result<()> {
        let heads_first = |numbers: &[bf16]| -> Result<Tensor> {
            let shape = (1, numbers.len() / (kv_heads * dim), kv_heads, dim);
            Ok(Tensor::from_slice(numbers, shape, &Device::Cpu)?.transpose(1, POSITIONS)?)
        };
        self.extend_stored(start, &heads_first(keys)?, &heads_first(values)?)?;
        Ok(())
    }

    /// As [`Self::extend`], in the dtype of the buffers.
    fn extend_stored(&mut self, start: usize, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let len = POSITIONS.to_index(k.shape(), "kv-cache").and_then(|d| k.dim(d))?;
        let end = start + len;
        // Read before anything is overwritten.
        let past = start.min(self.limit.saturating_sub(1));
        let wraps = end > self.limit;
        let before = match &self.buffers {
            Some(buffers) if wraps && len > 1 && past > 0 => {
                Some(self.in_order(buffers, start - past, past)?)
            }
            _ => None,
        };
        self.set_aside(start, end, k, v)?;
        self.grow(end.min(self.limit), start.min(self.limit), k, v)?;
        let Some((keys, values)) = &self.buffers else {
            return Err(Error::Batch { expected: "a cache with room".into(), found: "a limit of 0".into() });
        };
        // Of a chunk longer than the ring only the end stays.
        let kept = len.min(self.limit);
        self.write(keys, k, end - kept, kept)?;
        self.write(values, v, end - kept, kept)?;
        if wraps && len > 1 {
            return Ok(match before {
                Some((keys, values)) => {
                    (Tensor::cat(&[&keys, k], POSITIONS)?, Tensor::cat(&[&values, v], POSITIONS)?)
                }
                None => (k.clone(), v.clone()),
            });
        }
        let stored = end.min(self.limit);
        Ok((keys.narrow(POSITIONS, 0, stored)?, values.narrow(POSITIONS, 0, stored)?))
    }

    /// Copies `len` stored positions from `start` on into order.
    fn in_order(&self, buffers: &(Tensor, Tensor), start: usize, len: usize) -> Result<(Tensor, Tensor)> {
        let slot = start % self.limit;
        let first = len.min(self.limit - slot);
        let pick = |buffer: &Tensor| -> Result<Tensor> {
            let head = buffer.narrow(POSITIONS, slot, first)?;
            // The buffer is about to be overwritten, so this must be a copy in either case.
            Ok(if first == len {
                head.force_contiguous()?
            } else {
                Tensor::cat(&[&head, &buffer.narrow(POSITIONS, 0, len - first)?], POSITIONS)?
            })
        };
        Ok((pick(&buffers.0)?, pick(&buffers.1)?))
    }

    /// Writes the last `len` positions of `source`, which are `start` and following, into their slots.
    fn write(&self, buffer: &Tensor, source: &Tensor, start: usize, len: usize) -> Result<()> {
        let skip = source.dim(POSITIONS)? - len;
        let slot = start % self.limit;
        let first = len.min(self.limit - slot);
        buffer.slice_set(&source.narrow(POSITIONS, skip, first)?.contiguous()?, POSITIONS, slot)?;
        if first < len {
            buffer.slice_set(
                &source.narrow(POSITIONS, skip + first, len - first)?.contiguous()?,
                POSITIONS,
                0,
            )?;
        }
        Ok(())
    }

    /// Copies what positions `start` to `end`, whose keys and values are given, are about to overwrite, as far as it may be
    /// needed again.
    fn set_aside(&mut self, start: usize, end: usize, k: &Tensor, v: &Tensor) -> Result<()> {
        if end <= self.limit {
            return Ok(());
        }
        // The first position that is seen after as many as possible have been taken back.
        let first = (end + 1).saturating_sub(self.limit + TAKE_BACK);
        self.aside.forget_before(first);
        let overwritten = end - self.limit;
        if overwritten <= self.aside.end() {
            return Ok(());
        }
        let from = first.max(self.aside.end()).max(start.saturating_sub(self.limit));
        // Several at a time, so that a step seldom has to copy.
        let to = overwritten.max((from + aside::BLOCK).min(start));
        if let Some(buffers) = &self.buffers
            && from < start
        {
            self.aside.push(from, self.in_order(buffers, from, to.min(start) - from)?);
        }
        if to > start {
            // Of a chunk that is longer than the ring.
            let from = from.max(start);
            let part = |new: &Tensor| new.narrow(POSITIONS, from - start, to - from)?.force_contiguous();
            self.aside.push(from, (part(k)?, part(v)?));
        }
        Ok(())
    }

    /// The positions that those from `to` on have overwritten, and that are seen again without them.
    fn missing(&self, len: usize, to: usize) -> Range<usize> {
        (to + 1).saturating_sub(self.limit)..len.saturating_sub(self.limit).min(to)
    }

    /// Whether positions from `to` on of `len` can be taken back.
    fn can_go_back(&self, len: usize, to: usize) -> bool {
        let missing = self.missing(len, to);
        missing.is_empty() || self.aside.holds(&missing)
    }

    /// Takes back positions from `to` on of `len`, which [can go back](Self::can_go_back).
    fn go_back(&mut self, len: usize, to: usize) -> Result<()> {
        if let Some((keys, values)) = &self.buffers {
            for (start, k, v) in self.aside.parts(self.missing(len, to))? {
                self.write(keys, &k, start, k.dim(POSITIONS)?)?;
                self.write(values, &v, start, v.dim(POSITIONS)?)?;
            }
        }
        self.aside.forget_from(to)
    }

    /// A copy of the first `len` of `all` positions, which this [can go back](Self::can_go_back) to.
    fn fork(&self, all: usize, len: usize) -> Result<Self> {
        let mut copy = Self { limit: self.limit, buffers: None, capacity: 0, aside: self.aside.clone() };
        let Some((keys, values)) = &self.buffers else { return Ok(copy) };
        if len < all && all <= self.limit {
            let part = |buffer: &Tensor| buffer.narrow(POSITIONS, 0, len);
            let (k, v) = (part(keys)?, part(values)?);
            copy.grow(len, 0, &k, &v)?;
            if let Some((keys, values)) = copy.buffers.as_ref().filter(|_| len > 0) {
                copy.write(keys, &k, 0, len)?;
                copy.write(values, &v, 0, len)?;
            }
        } else {
            (copy.buffers, copy.capacity) = (Some((keys.copy()?, values.copy()?)), self.capacity);
        }
        copy.go_back(all, len)?;
        Ok(copy)
    }

    /// Makes room for `needed` positions, keeping the first `stored` slots.
    fn grow(&mut self, needed: usize, stored: usize, k: &Tensor, v: &Tensor) -> Result<()> {
        if needed <= self.capacity {
            return Ok(());
        }
        let capacity = needed.max(2 * self.capacity).max(FIRST_CAPACITY).min(self.limit);
        let enlarge = |old: Option<&Tensor>, like: &Tensor| -> Result<Tensor> {
            let (batch, heads, _, dim) = like.dims4()?;
            let new = Tensor::zeros((batch, heads, capacity, dim), like.dtype(), like.device())?;
            if let Some(old) = old.filter(|_| stored > 0) {
                new.slice_set(&old.narrow(POSITIONS, 0, stored)?.contiguous()?, POSITIONS, 0)?;
            }
            Ok(new)
        };
        let keys = enlarge(self.buffers.as_ref().map(|b| &b.0), k)?;
        let values = enlarge(self.buffers.as_ref().map(|b| &b.1), v)?;
        self.buffers = Some((keys, values));
        self.capacity = capacity;
        Ok(())
    }

    /// The most slots that so many positions take: one position may have doubled the buffers.
    fn slots_at_worst(&self, positions: usize) -> usize {
        let aside = if positions > self.limit { TAKE_BACK + 2 * aside::BLOCK } else { 0 };
        if positions == 0 { 0 } else { (2 * positions).max(FIRST_CAPACITY).min(self.limit) + aside }
    }

    /// Slots that the buffers have now.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    fn select(&mut self, rows: &Tensor) -> Result<()> {
        if let Some((keys, values)) = &mut self.buffers {
            *keys = keys.index_select(rows, 0)?;
            *values = values.index_select(rows, 0)?;
        }
        self.aside.select(rows)
    }

    fn bytes(&self) -> usize {
        let of = |t: &Tensor| t.elem_count() * t.dtype().size_in_bytes();
        self.buffers.as_ref().map_or(0, |(k, v)| of(k) + of(v)) + self.aside.bytes()
    }
}

/// The state of a batch of sequences of one length. After an error from the model it must be [reset](Self::reset).
#[derive(Debug)]
pub struct Cache {
    pub(super) layers: Vec<LayerCache>,
    pub(super) len: usize,
    batch: usize,
}

impl Cache {
    /// An empty cache for `batch` sequences. Nothing is allocated yet.
    pub fn new(config: &Config, batch: usize) -> Self {
        let layers = config.layers.iter().map(|k| LayerCache::new(*k, config.max_position)).collect();
        Self { layers, len: 0, batch }
    }

    /// Returns the bytes that the cache of one sequence of so many positions takes at worst, which depends on the parts in
    /// which it was fed. Keys and values are kept as `stored`.
    pub fn bytes_at_worst(config: &Config, positions: usize, stored: DType) -> usize {
        let of_position = 2 * config.kv_heads * config.head_dim * stored.size_in_bytes();
        let layers = config.layers.iter().map(|kind| LayerCache::new(*kind, config.max_position));
        layers.map(|layer| layer.slots_at_worst(positions) * of_position).sum()
    }

    /// Positions seen so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no position has been seen.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of sequences.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Bytes of all buffers.
    pub fn bytes(&self) -> usize {
        self.layers.iter().map(LayerCache::bytes).sum()
    }

    /// The layers' caches, layer 0 first.
    pub fn layers(&self) -> &[LayerCache] {
        &self.layers
    }

    /// Forgets everything; the buffers stay for the next text.
    pub fn reset(&mut self) {
        self.len = 0;
        self.layers.iter_mut().for_each(|layer| layer.aside = Aside::default());
    }

    /// Keeps the sequences that `rows` names, in that order; a row named twice is copied.
    ///
    /// # Errors
    /// A row that there is not, or none at all.
    pub fn keep_rows(&mut self, rows: &[usize]) -> Result<()> {
        if rows.is_empty() || rows.iter().any(|r| *r >= self.batch) {
            let expected = format!("at least one row below {}", self.batch);
            return Err(Error::Batch { expected, found: format!("{rows:?}") });
        }
        let indices: Vec<u32> = rows.iter().map(|r| *r as u32).collect();
        for layer in &mut self.layers {
            if let Some((keys, _)) = &layer.buffers {
                let indices = Tensor::new(indices.as_slice(), keys.device())?;
                layer.select(&indices)?;
            }
        }
        self.batch = rows.len();
        Ok(())
    }

    /// Returns a copy that shares no memory with this cache, so that a prompt read once serves several answers.
    ///
    /// # Errors
    /// Returns an error if there is no memory for it.
    pub fn fork(&self) -> Result<Self> {
        self.copy_of_first(self.len)
    }

    /// As [`Self::fork`], of the first `len` positions; none where [`Self::truncate`] would give false.
    ///
    /// # Errors
    /// As [`Self::fork`].
    pub fn fork_at(&self, len: usize) -> Result<Option<Self>> {
        if self.can_go_back(len) { self.copy_of_first(len).map(Some) } else { Ok(None) }
    }

    /// Takes back the positions from `len` on, so that others can take their places. What follows is the same to the bit
    /// as if they had never been.
    ///
    /// The last [`TAKE_BACK`] positions, and those that no ring has overwritten anything for, can always be taken back,
    /// unless some of them were taken back before. Returns false, and changes nothing, if the positions cannot be.
    ///
    /// # Errors
    /// Returns an error if the device fails. Then the cache must be [reset](Self::reset).
    pub fn truncate(&mut self, len: usize) -> Result<bool> {
        if !self.can_go_back(len) {
            return Ok(false);
        }
        for layer in &mut self.layers {
            layer.go_back(self.len, len)?;
        }
        self.len = len;
        Ok(true)
    }

    fn can_go_back(&self, len: usize) -> bool {
        len <= self.len && self.layers.iter().all(|layer| layer.can_go_back(self.len, len))
    }

    fn copy_of_first(&self, len: usize) -> Result<Self> {
        let layers = self.layers.iter().map(|layer| layer.fork(self.len, len)).collect::<Result<_>>()?;
        Ok(Self { layers, len, batch: self.batch })
    }

    /// Makes `n` sequences of each: a prompt read once serves n answers. Row r becomes rows r·n to r·n + n − 1.
    ///
    /// # Errors
    /// `n` of 0.
    pub fn expand(&mut self, n: usize) -> Result<()> {
        let rows: Vec<usize> = (0..self.batch).flat_map(|r| std::iter::repeat_n(r, n)).collect();
        self.keep_rows(&rows)
    }
}

#[cfg(test)]
mod tests;
