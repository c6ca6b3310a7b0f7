//! A matrix whose rows stay in mapped pages or are in panels.

use super::Format;
use super::cpu::Level;
use super::panels::{LANES, Panels};
use std::ops::Range;
use std::sync::Arc;

/// A shared, read-only run of bytes, such as a part of a mapped file.
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl Bytes {
    /// Returns the bytes `range` of `owner`, or `None` if it does not have them.
    pub fn new(owner: Arc<dyn AsRef<[u8]> + Send + Sync>, range: Range<usize>) -> Option<Self> {
        (*owner).as_ref().get(range.clone())?;
        Some(Self { owner, range })
    }

    /// Returns the bytes.
    pub fn as_slice(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.range.clone()]
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({:?})", self.range)
    }
}

/// Errors from reading bytes as a matrix.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MatrixError {
    /// A row is not a whole number of blocks.
    #[error("a row of {cols} numbers is not a whole number of {format} blocks of {block}")]
    PartialBlock {
        /// How many numbers a row has.
        cols: usize,
        /// Name of the format.
        format: &'static str,
        /// How many numbers a block has.
        block: usize,
    },
    /// The number of bytes does not match the shape.
    #[error("{rows} x {cols} numbers of {format} take {expected} bytes, found {found}")]
    Length {
        /// Number of rows of the matrix.
        rows: usize,
        /// How many numbers a row has.
        cols: usize,
        /// Name of the format.
        format: &'static str,
        /// Number of bytes that the shape takes; `usize::MAX` if the size overflows.
        expected: usize,
        /// Number of bytes given.
        found: usize,
    },
    /// The bytes do not start at an address at which the format's blocks can be read.
    #[error("{format} data must start at a multiple of {alignment} bytes")]
    Misaligned {
        /// Name of the format.
        format: &'static str,
        /// Alignment that is needed.
        alignment: usize,
    },
}

/// A matrix of `rows` × `cols` numbers in a storage format.
#[derive(Debug, Clone)]
pub struct Matrix {
    store: Store,
    format: Format,
    rows: usize,
    cols: usize,
    row_bytes: usize,
}

/// Storage of the numbers.
#[derive(Debug, Clone)]
pub(super) enum Store {
    /// Row after row without gaps, as in the file.
    Rows(Bytes),
    /// Reordered for the kernels that take panels.
    Panels(Arc<Panels>),
}

impl Matrix {
    /// Reads `bytes` as a matrix.
    ///
    /// # Errors
    /// Returns an error if a row is not whole blocks, the length does not match the shape, or the blocks cannot be at this
    /// address.
    pub fn new(bytes: Bytes, format: Format, rows: usize, cols: usize) -> Result<Self, MatrixError> {
        let name = format.name();
        let row_bytes = format.bytes_of(cols).ok_or(MatrixError::PartialBlock {
            cols,
            format: name,
            block: format.block_len(),
        })?;
        let expected = row_bytes.saturating_mul(rows);
        let found = bytes.as_slice().len();
        if expected != found {
            return Err(MatrixError::Length { rows, cols, format: name, expected, found });
        }
        let alignment = format.alignment();
        if !bytes.as_slice().as_ptr().addr().is_multiple_of(alignment) {
            return Err(MatrixError::Misaligned { format: name, alignment });
        }
        Ok(Self { store: Store::Rows(bytes), format, rows, cols, row_bytes })
    }

    /// Returns the number of rows: the outputs of a linear layer, or the entries of a table.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns how many numbers a row has: the inputs of a linear layer.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Returns the storage format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns a copy of the matrix in [panels](super::panels), if this processor has kernels for them and they take the format
    /// and the shape. `read` is called with each range of [`Self::bytes`] that is not needed any more.
    pub fn in_panels(&self, read: impl FnMut(Range<usize>)) -> Option<Self> {
        let Store::Rows(bytes) = &self.store else { return None };
        if !Level::best().has_panel_kernels() {
            return None;
        }
        let panels = Panels::new(bytes.as_slice(), self.format, self.rows, self.cols, read)?;
        Some(Self { store: Store::Panels(Arc::new(panels)), ..self.clone() })
    }

    /// Returns the panels of a matrix that is in panels.
    pub fn panels(&self) -> Option<&Arc<Panels>> {
        match &self.store {
            Store::Rows(_) => None,
            Store::Panels(panels) => Some(panels),
        }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Returns all bytes, row after row; empty for a matrix in panels.
    pub fn bytes(&self) -> &[u8] {
        match &self.store {
            Store::Rows(bytes) => bytes.as_slice(),
            Store::Panels(_) => &[],
        }
    }

    /// Returns the memory that a product reads, in any order of the numbers.
    pub fn memory(&self) -> &[u8] {
        match &self.store {
            Store::Rows(bytes) => bytes.as_slice(),
            Store::Panels(panels) => panels.panels(0..self.rows / LANES),
        }
    }

    /// Returns the bytes of some rows of a matrix that is not in panels.
    pub(super) fn rows_bytes(&self, rows: Range<usize>) -> &[u8] {
        &self.bytes()[rows.start * self.row_bytes..rows.end * self.row_bytes]
    }

    /// Returns how many bytes a row has.
    pub(super) fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Returns the number of rows that are stored side by side.
    pub(super) fn rows_together(&self) -> usize {
        match &self.store {
            Store::Rows(_) => 1,
            Store::Panels(_) => LANES,
        }
    }

    /// Converts `rows` to f32 into `out`, which must have room for exactly those rows.
    pub fn dequantize(&self, rows: Range<usize>, out: &mut [f32]) {
        match &self.store {
            Store::Rows(_) => self.format.dequantize(self.rows_bytes(rows), out),
            Store::Panels(panels) => {
                for (row, out) in rows.zip(out.chunks_exact_mut(self.cols)) {
                    panels.dequantize_row(row, out);
                }
            }
        }
    }

    /// Converts the rows that `ids` names to f32, row after row: `[ids.len(), cols]`. Returns `None` if an id has no row.
    pub fn gather(&self, ids: &[u32]) -> Option<Vec<f32>> {
        let mut out = vec![0f32; ids.len() * self.cols];
        for (&id, row) in ids.iter().zip(out.chunks_exact_mut(self.cols.max(1))) {
            let id = id as usize;
            if id >= self.rows {
                return None;
            }
            self.dequantize(id..id + 1, row);
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(v: Vec<u8>, start: usize) -> Bytes {
        let end = v.len();
        Bytes::new(Arc::new(v), start..end).unwrap()
    }

    #[test]
    fn refuses_what_is_no_matrix() {
        assert!(Bytes::new(Arc::new(vec![0u8; 3]), 1..4).is_none());
        let e = Matrix::new(bytes(vec![0; 8], 0), Format::F32, 1, 3).unwrap_err();
        assert_eq!(e, MatrixError::Length { rows: 1, cols: 3, format: "f32", expected: 12, found: 8 });
        let e = Matrix::new(bytes(vec![0; 18], 0), Format::Q4_0, 1, 31).unwrap_err();
        assert!(matches!(e, MatrixError::PartialBlock { cols: 31, .. }));
        let e = Matrix::new(bytes(vec![0; 8], 0), Format::F32, usize::MAX, 1).unwrap_err();
        assert!(matches!(e, MatrixError::Length { expected: usize::MAX, .. }));
        // One of two neighbouring addresses is odd, and blocks start with a half float.
        let odd = [0, 1].map(|s| Matrix::new(bytes(vec![0; 18 + s], s), Format::Q4_0, 1, 32).is_err());
        assert_eq!(odd.iter().filter(|e| **e).count(), 1);
    }

    #[test]
    fn gathers_rows_and_refuses_others() {
        let v: Vec<u8> = [1f32, 2., 3., 4.].iter().flat_map(|x| x.to_le_bytes()).collect();
        let m = Matrix::new(bytes(v, 0), Format::F32, 2, 2).unwrap();
        assert_eq!(m.gather(&[1, 0]).unwrap(), [3., 4., 1., 2.]);
        assert!(m.gather(&[2]).is_none());
    }
}
