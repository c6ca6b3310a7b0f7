//! Positions of a local layer that later ones have overwritten in its ring, kept as long as the later ones may be
//! taken back.

use super::POSITIONS;
use crate::model::error::Result;
use candle_core::Tensor;
use std::collections::VecDeque;
use std::ops::Range;

/// Number of positions that are copied together before later ones overwrite them one by one.
pub(super) const BLOCK: usize = 16;

/// Keys and values of consecutive positions, in blocks that are never modified.
#[derive(Debug, Clone, Default)]
pub(super) struct Aside(VecDeque<Block>);

#[derive(Debug, Clone)]
struct Block {
    start: usize,
    /// `[batch, kv_heads, positions, head_dim]` each.
    keys: Tensor,
    values: Tensor,
}

impl Block {
    fn end(&self) -> usize {
        self.start + self.keys.dims()[POSITIONS]
    }

    fn narrow(&self, range: Range<usize>) -> Result<Self> {
        let part = |all: &Tensor| all.narrow(POSITIONS, range.start - self.start, range.len());
        Ok(Self { start: range.start, keys: part(&self.keys)?, values: part(&self.values)? })
    }
}

impl Aside {
    /// Returns the position after the last one, or 0 if empty.
    pub(super) fn end(&self) -> usize {
        self.0.back().map_or(0, Block::end)
    }

    /// Returns whether all these positions are here.
    pub(super) fn holds(&self, positions: &Range<usize>) -> bool {
        self.0.front().is_some_and(|block| block.start <= positions.start) && positions.end <= self.end()
    }

    /// Adds positions from `start` on. If they do not directly follow those that are here, the latter are
    /// forgotten.
    pub(super) fn push(&mut self, start: usize, (keys, values): (Tensor, Tensor)) {
        if start != self.end() {
            self.0.clear();
        }
        self.0.push_back(Block { start, keys, values });
    }

    /// Forgets blocks that end before `position`.
    pub(super) fn forget_before(&mut self, position: usize) {
        while self.0.front().is_some_and(|block| block.end() <= position) {
            self.0.pop_front();
        }
    }

    /// Forgets the positions from `position` on.
    pub(super) fn forget_from(&mut self, position: usize) -> Result<()> {
        while self.end() > position {
            if let Some(block) = self.0.pop_back()
                && block.start < position
            {
                self.0.push_back(block.narrow(block.start..position)?);
            }
        }
        Ok(())
    }

    /// Returns the keys and values of these positions, in parts, each with its first position.
    pub(super) fn parts(&self, positions: Range<usize>) -> Result<Vec<(usize, Tensor, Tensor)>> {
        let mut parts = Vec::new();
        for block in &self.0 {
            let range = positions.start.max(block.start)..positions.end.min(block.end());
            if !range.is_empty() {
                let Block { start, keys, values } = block.narrow(range)?;
                parts.push((start, keys, values));
            }
        }
        Ok(parts)
    }

    /// Keeps only the named rows of a batch.
    pub(super) fn select(&mut self, rows: &Tensor) -> Result<()> {
        for block in &mut self.0 {
            block.keys = block.keys.index_select(rows, 0)?;
            block.values = block.values.index_select(rows, 0)?;
        }
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        let of = |t: &Tensor| t.elem_count() * t.dtype().size_in_bytes();
        self.0.iter().map(|block| of(&block.keys) + of(&block.values)).sum()
    }
}
