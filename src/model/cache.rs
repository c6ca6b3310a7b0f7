//! Keys and values of the positions so far.
//!
//! A global layer keeps them all, in buffers that grow by doubling and are written in place. A local layer keeps the last
//! W, in a ring: position p lies in slot p mod W. A decode step writes its slot and then attends over the ring as it lies:
//! after W positions each slot holds a key that the query sees, and attention does not ask for an order, since the
//! rotation by position is already in the keys.
//!
//! A model whose matrices lie in [panels](crate::kernels::panels) keeps them in bf16, the dtype that Gemma was trained in:
//! attention over a long text reads half the memory. All others keep them in the dtype that they compute in.

use super::config::{Config, LayerKind};
use super::error::{Error, Result};
use candle_core::{CpuStorage, D, DType, Device, Storage, Tensor, shape::Dim};
use half::bf16;
use std::ops::{Deref, Range};

/// Slots of a fresh buffer.
const FIRST_CAPACITY: usize = 64;
/// The dimension of the positions in `[batch, kv_heads, positions, head_dim]`.
const POSITIONS: usize = 2;

/// One layer's keys and values, `[batch, kv_heads, capacity, head_dim]` each.
#[derive(Debug, Clone)]
pub struct LayerCache {
    /// Positions that are ever kept: W of a local layer, the context of a global one.
    limit: usize,
    buffers: Option<(Tensor, Tensor)>,
    capacity: usize,
}

impl LayerCache {
    fn new(kind: LayerKind, max_position: usize) -> Self {
        let limit = kind.window().unwrap_or(max_position).min(max_position);
        Self { limit, buffers: None, capacity: 0 }
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

    /// What a position sees before itself; `None` where it is not kept on the CPU in bf16, or is not one sequence's.
    pub(super) fn past(&self, position: usize) -> Option<Past<'_>> {
        let slots = if position < self.limit {
            [0..position, 0..0]
        } else {
            // The slot that this position will take holds one that it does not see.
            let slot = position % self.limit;
            [slot + 1..self.limit, 0..slot]
        };
        let Some((keys, values)) = &self.buffers else {
            return (position == 0).then_some(Past { buffers: None, slots, capacity: 0, dim: 0 });
        };
        let dim = keys.dim(D::Minus1).ok()?;
        let buffers = Some((Guarded::new(keys)?, Guarded::new(values)?));
        Some(Past { buffers, slots, capacity: self.capacity, dim })
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

    /// The most slots that the buffers of so many positions have: one position may have doubled them.
    fn capacity_at_worst(&self, positions: usize) -> usize {
        if positions == 0 { 0 } else { (2 * positions).max(FIRST_CAPACITY).min(self.limit) }
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
        Ok(())
    }

    fn bytes(&self) -> usize {
        let of = |t: &Tensor| t.elem_count() * t.dtype().size_in_bytes();
        self.buffers.as_ref().map_or(0, |(k, v)| of(k) + of(v))
    }
}

/// A buffer's numbers, `[kv_heads, capacity, head_dim]`, while they are read.
struct Guarded<'a>(Box<dyn Deref<Target = Storage> + Sync + 'a>);

impl<'a> Guarded<'a> {
    fn new(buffer: &'a Tensor) -> Option<Self> {
        let (storage, layout) = buffer.storage_and_layout();
        let whole = layout.contiguous_offsets() == Some((0, buffer.elem_count())) && buffer.dim(0).ok()? == 1;
        (whole && matches!(&*storage, Storage::Cpu(CpuStorage::BF16(_)))).then(|| Self(Box::new(storage)))
    }

    fn numbers(&self) -> &[bf16] {
        match &**self.0 {
            Storage::Cpu(CpuStorage::BF16(numbers)) => numbers,
            _ => &[],
        }
    }
}

/// The keys and values that one position of one sequence sees before itself, where they lie.
pub(super) struct Past<'a> {
    buffers: Option<(Guarded<'a>, Guarded<'a>)>,
    /// The slots that are seen, in the order of their positions: two runs, either of which may be empty.
    slots: [Range<usize>; 2],
    capacity: usize,
    dim: usize,
}

impl Past<'_> {
    /// Number of positions.
    pub(super) fn len(&self) -> usize {
        self.slots.iter().map(Range::len).sum()
    }

    /// Keys and values of a head.
    pub(super) fn head(&self, head: usize) -> impl Iterator<Item = Run<'_>> + Clone {
        self.buffers.iter().flat_map(move |(keys, values)| {
            self.slots.iter().filter(|slots| !slots.is_empty()).map(move |slots| {
                let first = head * self.capacity;
                let range = (first + slots.start) * self.dim..(first + slots.end) * self.dim;
                let (keys, values) = (&keys.numbers()[range.clone()], &values.numbers()[range]);
                Run { keys, values, stride: self.dim }
            })
        })
    }
}

/// Keys and values of some positions of a head, rows of its width each.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub(super) keys: &'a [bf16],
    pub(super) values: &'a [bf16],
    /// Numbers from one row to the next.
    pub(super) stride: usize,
}

impl<'a> Run<'a> {
    /// Number of positions, of heads of this width.
    pub(super) fn len(&self, dim: usize) -> usize {
        (self.keys.len() + self.stride - dim) / self.stride
    }

    /// Key and value of each position.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn rows(self, dim: usize) -> impl Iterator<Item = (&'a [bf16], &'a [bf16])> {
        let places =
            (0..self.len(dim)).map(move |position| position * self.stride..position * self.stride + dim);
        places.map(move |place| (&self.keys[place.clone()], &self.values[place]))
    }

    /// Without the first positions.
    pub(super) fn skip(&self, positions: usize) -> Self {
        let at = (positions * self.stride).min(self.keys.len());
        Self { keys: &self.keys[at..], values: &self.values[at..], stride: self.stride }
    }
}

/// The state of a batch of sequences of one length. After an error from the model it must be [reset](Self::reset).
#[derive(Debug, Clone)]
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
        layers.map(|layer| layer.capacity_at_worst(positions) * of_position).sum()
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

    /// A copy with buffers of its own, so that a prompt read once serves several answers. (A clone shares them.)
    ///
    /// # Errors
    /// What the device says.
    pub fn fork(&self) -> Result<Self> {
        let mut copy = self.clone();
        copy.keep_rows(&(0..self.batch).collect::<Vec<_>>())?;
        Ok(copy)
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
