//! Keys and values, read in place, that a position of one sequence sees before itself.

use super::LayerCache;
use candle_core::{CpuStorage, D, Storage, Tensor};
use half::bf16;
use std::ops::{Deref, Range};

impl LayerCache {
    /// Returns what a position sees before itself, or `None` unless it is one sequence's and kept on the CPU in
    /// bf16.
    pub(in crate::model) fn past(&self, position: usize) -> Option<Past<'_>> {
        let slots = if position < self.limit {
            [0..position, 0..0]
        } else {
            // The slot that this position will take holds a position that it does not see.
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

/// Numbers of a buffer, `[kv_heads, capacity, head_dim]`, locked while they are read.
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

/// The keys and values, in place, that one position of one sequence sees before itself.
pub(in crate::model) struct Past<'a> {
    buffers: Option<(Guarded<'a>, Guarded<'a>)>,
    /// Visible slots in the order of their positions: two runs, either of which may be empty.
    slots: [Range<usize>; 2],
    capacity: usize,
    dim: usize,
}

impl Past<'_> {
    /// Returns the number of positions.
    pub(in crate::model) fn len(&self) -> usize {
        self.slots.iter().map(Range::len).sum()
    }

    /// Returns the keys and values of a head.
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

/// Keys and values of some positions of a head; each row has the width of a head.
#[derive(Clone, Copy)]
pub(in crate::model) struct Run<'a> {
    pub(in crate::model) keys: &'a [bf16],
    pub(in crate::model) values: &'a [bf16],
    /// Distance from one row to the next, in numbers.
    pub(in crate::model) stride: usize,
}

impl<'a> Run<'a> {
    /// Returns the number of positions, for heads of width `dim`.
    pub(in crate::model) fn len(&self, dim: usize) -> usize {
        (self.keys.len() + self.stride - dim) / self.stride
    }

    /// Returns the key and the value of each position.
    #[cfg(target_arch = "x86_64")]
    pub(in crate::model) fn rows(self, dim: usize) -> impl Iterator<Item = (&'a [bf16], &'a [bf16])> {
        let places =
            (0..self.len(dim)).map(move |position| position * self.stride..position * self.stride + dim);
        places.map(move |place| (&self.keys[place.clone()], &self.values[place]))
    }

    /// Returns the run without its first positions.
    pub(in crate::model) fn skip(&self, positions: usize) -> Self {
        let at = (positions * self.stride).min(self.keys.len());
        Self { keys: &self.keys[at..], values: &self.values[at..], stride: self.stride }
    }
}
