//! Keys and values where they lie: what a position of one sequence sees before itself.

use super::LayerCache;
use candle_core::{CpuStorage, D, Storage, Tensor};
use half::bf16;
use std::ops::{Deref, Range};

impl LayerCache {
    /// What a position sees before itself; `None` where it is not kept on the CPU in bf16, or is not one sequence's.
    pub(in crate::model) fn past(&self, position: usize) -> Option<Past<'_>> {
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
pub(in crate::model) struct Past<'a> {
    buffers: Option<(Guarded<'a>, Guarded<'a>)>,
    /// The slots that are seen, in the order of their positions: two runs, either of which may be empty.
    slots: [Range<usize>; 2],
    capacity: usize,
    dim: usize,
}

impl Past<'_> {
    /// Number of positions.
    pub(in crate::model) fn len(&self) -> usize {
        self.slots.iter().map(Range::len).sum()
    }

    /// Keys and values of a head.
    pub(in crate::model) fn head(&self, head: usize) -> impl Iterator<Item = Run<'_>> + Clone {
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
pub(in crate::model) struct Run<'a> {
    pub(in crate::model) keys: &'a [bf16],
    pub(in crate::model) values: &'a [bf16],
    /// Numbers from one row to the next.
    pub(in crate::model) stride: usize,
}

impl<'a> Run<'a> {
    /// Number of positions, of heads of this width.
    pub(in crate::model) fn len(&self, dim: usize) -> usize {
        (self.keys.len() + self.stride - dim) / self.stride
    }

    /// Key and value of each position.
    #[cfg(target_arch = "x86_64")]
    pub(in crate::model) fn rows(self, dim: usize) -> impl Iterator<Item = (&'a [bf16], &'a [bf16])> {
        let places =
            (0..self.len(dim)).map(move |position| position * self.stride..position * self.stride + dim);
        places.map(move |place| (&self.keys[place.clone()], &self.values[place]))
    }

    /// Without the first positions.
    pub(in crate::model) fn skip(&self, positions: usize) -> Self {
        let at = (positions * self.stride).min(self.keys.len());
        Self { keys: &self.keys[at..], values: &self.values[at..], stride: self.stride }
    }
}
