//! Activations in bf16, in the tiles that a matrix unit loads.

use super::loops::bf16_row;
use half::bf16;
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;

/// Number of rows of a tile.
pub(super) const ROWS: usize = 16;
/// Number of columns of a tile.
pub(super) const COLS: usize = 32;

/// A row of a tile: 64 bytes at a multiple of 64.
#[repr(align(64))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line(pub(super) [bf16; COLS]);

impl Line {
    pub(super) const ZERO: Self = Self([bf16::ZERO; COLS]);
}

/// Rows of activations, `[strips of 16 rows, cols / 32, 16, 32]`. The last strip is padded with rows of 0.
#[derive(Clone, Debug, Default)]
pub struct Bf16Tiles {
    rows: usize,
    cols: usize,
    lines: Vec<Line>,
}

impl Bf16Tiles {
    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns how many numbers a row has.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Returns the number of strips of tiles.
    pub(super) fn strips(&self) -> usize {
        self.rows.div_ceil(ROWS)
    }

    /// Returns the lines of the tiles, in order.
    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Rounds `rows` rows of `cols` numbers, a multiple of 32, to the nearest bf16; see [`Activations::fill`](super::Activations::fill).
    pub(super) fn fill(
        &mut self,
        rows: usize,
        cols: usize,
        beside: &mut [f32],
        strip: impl Fn(Range<usize>, &mut [f32], &mut [f32]) + Sync,
    ) {
        debug_assert!(cols.is_multiple_of(COLS) && beside.len().is_multiple_of(rows));
        (self.rows, self.cols) = (rows, cols);
        let of_strip = ROWS * cols / COLS;
        self.lines.resize(self.strips() * of_strip, Line::ZERO);
        let strips =
            self.lines.par_chunks_mut(of_strip).zip(beside.par_chunks_mut(ROWS * beside.len() / rows));
        strips.enumerate().for_each(|(index, (lines, beside))| {
            let rows = index * ROWS..((index + 1) * ROWS).min(rows);
            with_numbers(rows.len() * cols, |numbers| {
                strip(rows, beside, numbers);
                let mut numbers = numbers.chunks_exact(cols);
                for r in 0..ROWS {
                    let of_row = lines[r..].iter_mut().step_by(ROWS);
                    match numbers.next() {
                        Some(row) => of_row
                            .zip(row.chunks_exact(COLS))
                            .for_each(|(line, numbers)| bf16_row(&mut line.0, numbers)),
                        None => of_row.for_each(|line| *line = Line::ZERO),
                    }
                }
            });
        });
    }
}

/// Calls `work` with a buffer of `len` arbitrary numbers. Each thread reuses its buffer, so that it need not ask the system for memory
/// each time.
pub(super) fn with_numbers<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local! {
        static NUMBERS: RefCell<Vec<f32>> = RefCell::default();
    }
    let mut numbers = NUMBERS.take();
    if numbers.len() < len {
        numbers.resize(len, 0.0);
    }
    let result = work(&mut numbers[..len]);
    NUMBERS.set(numbers);
    result
}
