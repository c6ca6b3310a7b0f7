//! The KV cache: keys and values of the positions so far.
//!
//! A global layer keeps all of them, in buffers that grow by doubling and are written in place. A local layer keeps the last W
//! in a ring: position p is in slot p mod W. A decode step writes its slot and then attends over the ring in slot order. After
//! W positions, each slot holds a key that the query sees. Attention does not need an order, because the keys already contain
//! the rotation by position. What a slot held before is [set aside](aside) for a while, so that the last positions can be taken
//! back.
//!
//! A model whose matrices are in [panels](crate::kernels::panels) keeps them in bf16, the dtype in which Gemma was trained:
//! attention over a long text then reads half the memory. All other models keep them in the dtype in which they compute.

mod aside;
mod past;

use self::aside::Aside;
pub(super) use self::past::{Past, Run};
use super::config::{Config, LayerKind};
use super::error::{Error, Result};
use candle_core::{DType, Device, Tensor, shape::Dim};
use half::bf16;
use std::ops::Range;

/// Number of slots of a fresh buffer.
const FIRST_CAPACITY: usize = 64;
/// Number of last positions that can always be taken back, even if they have overwritten others in a ring.
pub const TAKE_BACK: usize = 80;
/// The dimension of the positions in `[batch, kv_heads, positions, head_dim]`.
const POSITIONS: usize = 2;

/// One layer's keys and values, `[batch, kv_heads, capacity, head_dim]` each.
#[derive(Debug)]
pub struct LayerCache {
    /// Maximum number of positions kept: W for a local layer, the context for a global one.
    limit: usize,
    buffers: Option<(Tensor, Tensor)>,
    capacity: usize,
    /// Positions that later ones have overwritten, or will soon overwrite.
    aside: Aside,
}

impl LayerCache {
    fn new(kind: LayerKind, max_position: usize) -> Self {
        let limit = kind.window().unwrap_or(max_position).min(max_position);
        Self { limit, buffers: None, capacity: 0, aside: Aside::default() }
    }

    /// Adds the keys and values of positions `start` and following, `[batch, kv_heads, positions, head_dim]`. Returns the keys
    /// and values that the queries of these positions may see.
    ///
    /// For more than one position these are in order, the earliest first: the last min(start, limit − 1) from before, then the
    /// new ones. The mask decides which of them a query sees. For one position, a full ring is returned in slot order.
    ///
    /// An empty cache keeps them as `stored`; other caches keep their dtype. They are returned in the dtype of `k`.
    ///
    /// # Errors
    /// Returns an error if the shapes differ from those before.
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

    /// Adds the keys and values of positions `start` and following of one sequence, `[positions, kv_heads, head_dim]` each.
    ///
    /// # Errors
    /// Returns an error if the shapes differ from those before.
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

    /// Does the same as [`Self::extend`], in the dtype of the buffers.
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
        // If a chunk is longer than the ring, only its end is kept.
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

    /// Copies `len` stored positions from `start` on, in order of position.
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

    /// Writes the last `len` positions of `source`, which begin at position `start`, into their slots.
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

    /// Copies the positions that `start` to `end` are about to overwrite and that may be needed again. `k` and `v` are the keys
    /// and values of `start` to `end`.
    fn set_aside(&mut self, start: usize, end: usize, k: &Tensor, v: &Tensor) -> Result<()> {
        if end <= self.limit {
            return Ok(());
        }
        // First position that is visible after as many positions as possible have been taken back.
        let first = (end + 1).saturating_sub(self.limit + TAKE_BACK);
        self.aside.forget_before(first);
        let overwritten = end - self.limit;
        if overwritten <= self.aside.end() {
            return Ok(());
        }
        let from = first.max(self.aside.end()).max(start.saturating_sub(self.limit));
        // Copy several at a time, so that a step seldom has to copy.
        let to = overwritten.max((from + aside::BLOCK).min(start));
        if let Some(buffers) = &self.buffers
            && from < start
        {
            self.aside.push(from, self.in_order(buffers, from, to.min(start) - from)?);
        }
        if to > start {
            // A chunk that is longer than the ring overwrites its own beginning.
            let from = from.max(start);
            let part = |new: &Tensor| new.narrow(POSITIONS, from - start, to - from)?.force_contiguous();
            self.aside.push(from, (part(k)?, part(v)?));
        }
        Ok(())
    }

    /// Returns the positions that those from `to` on have overwritten, and that become visible again without them.
    fn missing(&self, len: usize, to: usize) -> Range<usize> {
        (to + 1).saturating_sub(self.limit)..len.saturating_sub(self.limit).min(to)
    }

    /// Returns whether positions from `to` on can be taken back from a cache of `len`.
    fn can_go_back(&self, len: usize, to: usize) -> bool {
        let missing = self.missing(len, to);
        missing.is_empty() || self.aside.holds(&missing)
    }

    /// Takes back positions from `to` on of `len`. This must be [possible](Self::can_go_back).
    fn go_back(&mut self, len: usize, to: usize) -> Result<()> {
        if let Some((keys, values)) = &self.buffers {
            for (start, k, v) in self.aside.parts(self.missing(len, to))? {
                self.write(keys, &k, start, k.dim(POSITIONS)?)?;
                self.write(values, &v, start, v.dim(POSITIONS)?)?;
            }
        }
        self.aside.forget_from(to)
    }

    /// Copies the first `len` of `all` positions. Going back to `len` must be [possible](Self::can_go_back).
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

    /// Returns the maximum number of slots that this many positions take: the last one may have doubled the buffers.
    fn slots_at_worst(&self, positions: usize) -> usize {
        let aside = if positions > self.limit { TAKE_BACK + 2 * aside::BLOCK } else { 0 };
        if positions == 0 { 0 } else { (2 * positions).max(FIRST_CAPACITY).min(self.limit) + aside }
    }

    /// Returns the number of slots of the buffers.
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

/// The cache of a batch of sequences of one length. After an error from the model it must be [reset](Self::reset).
#[derive(Debug)]
pub struct Cache {
    pub(super) layers: Vec<LayerCache>,
    pub(super) len: usize,
    batch: usize,
}

impl Cache {
    /// Makes an empty cache for `batch` sequences. Nothing is allocated yet.
    pub fn new(config: &Config, batch: usize) -> Self {
        let layers = config.layers.iter().map(|k| LayerCache::new(*k, config.max_position)).collect();
        Self { layers, len: 0, batch }
    }

    /// Returns how many bytes the cache of one sequence of this many positions takes at worst. The actual number depends on the
    /// parts in which it was fed. Keys and values are kept as `stored`.
    pub fn bytes_at_worst(config: &Config, positions: usize, stored: DType) -> usize {
        let of_position = 2 * config.kv_heads * config.head_dim * stored.size_in_bytes();
        let layers = config.layers.iter().map(|kind| LayerCache::new(*kind, config.max_position));
        layers.map(|layer| layer.slots_at_worst(positions) * of_position).sum()
    }

    /// Returns the number of positions seen so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether no position has been seen.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the number of sequences.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Returns the number of bytes of all buffers.
    pub fn bytes(&self) -> usize {
        self.layers.iter().map(LayerCache::bytes).sum()
    }

    /// Returns the layers' caches, layer 0 first.
    pub fn layers(&self) -> &[LayerCache] {
        &self.layers
    }

    /// Forgets all positions, but keeps the buffers for the next text.
    pub fn reset(&mut self) {
        self.len = 0;
        self.layers.iter_mut().for_each(|layer| layer.aside = Aside::default());
    }

    /// Keeps the sequences that `rows` names, in that order. A row that is named twice is copied.
    ///
    /// # Errors
    /// Returns an error if `rows` is empty or names a row that does not exist.
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
    /// Returns an error if there is no memory for the copy.
    pub fn fork(&self) -> Result<Self> {
        self.copy_of_first(self.len)
    }

    /// Copies the first `len` positions, like [`Self::fork`]. Returns `None` where [`Self::truncate`] would return false.
    ///
    /// # Errors
    /// Returns the errors of [`Self::fork`].
    pub fn fork_at(&self, len: usize) -> Result<Option<Self>> {
        if self.can_go_back(len) { self.copy_of_first(len).map(Some) } else { Ok(None) }
    }

    /// Removes the positions from `len` on, so that others can take their places. Everything that follows is bit-identical to a
    /// cache that never had them.
    ///
    /// The last [`TAKE_BACK`] positions can always be removed, and so can positions for which no ring has overwritten anything,
    /// unless some of them were removed before. Returns false, and changes nothing, if the positions cannot be removed.
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

    /// Copies each sequence to `n` sequences, so that a prompt read once serves n answers. Row r becomes rows r·n to r·n + n −
    /// 1.
    ///
    /// # Errors
    /// Returns an error if `n` is 0.
    pub fn expand(&mut self, n: usize) -> Result<()> {
        let rows: Vec<usize> = (0..self.batch).flat_map(|r| std::iter::repeat_n(r, n)).collect();
        self.keep_rows(&rows)
    }
}

#[cfg(test)]
mod tests;
