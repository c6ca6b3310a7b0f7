//! Products of dense f32 matrices in memory, on the calling thread. Training spends most of its time in them.

/// A read-only matrix in a slice; strides are in numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

/// A writable matrix in a slice. Its columns are adjacent.
#[derive(Debug)]
pub(crate) struct ViewMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
}

/// Returns whether the numbers of a `rows` x `cols` matrix fit in a slice of `len`.
fn fits(len: usize, rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> bool {
    rows == 0 || cols == 0 || (rows - 1) * row_stride + (cols - 1) * col_stride < len
}

impl<'a> View<'a> {
    /// Views `rows` x `cols` numbers, row after row.
    ///
    /// # Panics
    /// Panics if the slice is too short.
    pub(crate) fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// Views `rows` x `cols` numbers whose rows start `row_stride` apart.
    ///
    /// # Panics
    /// Panics if the slice is too short.
    pub(crate) fn strided(data: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        assert!(fits(data.len(), rows, cols, row_stride, 1), "{rows} x {cols} in {}", data.len());
        Self { data, rows, cols, row_stride, col_stride: 1 }
    }

    /// Returns the transpose, without moving numbers.
    pub(crate) fn t(self) -> Self {
        let Self { data, rows, cols, row_stride, col_stride } = self;
        Self { data, rows: cols, cols: rows, row_stride: col_stride, col_stride: row_stride }
    }
}

impl<'a> ViewMut<'a> {
    /// Views `rows` x `cols` numbers, row after row.
    ///
    /// # Panics
    /// Panics if the slice is too short.
    pub(crate) fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// Views `rows` x `cols` numbers whose rows start `row_stride` apart.
    ///
    /// # Panics
    /// Panics if the slice is too short, or rows overlap.
    pub(crate) fn strided(data: &'a mut [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        assert!(fits(data.len(), rows, cols, row_stride, 1), "{rows} x {cols} in {}", data.len());
        assert!(cols <= row_stride || rows <= 1, "rows overlap");
        Self { data, rows, cols, row_stride }
    }
}

/// Computes out = scale · a·b, plus the previous content of `out` if `accumulate` is set.
///
/// # Panics
/// Panics if the shapes do not fit each other.
#[expect(unsafe_code, reason = "calls gemm, which takes pointers")]
pub(crate) fn product(out: ViewMut<'_>, a: View<'_>, b: View<'_>, scale: f32, accumulate: bool) {
    assert!(a.rows == out.rows && b.cols == out.cols && a.cols == b.rows, "shapes of a product");
    if out.rows == 0 || out.cols == 0 {
        return;
    }
    // SAFETY: the constructors of the views, whose fields only this file sees, have asserted that every element
    // (i, j) is inside its slice; `out` is borrowed mutably, so it overlaps neither factor.
    unsafe {
        gemm::gemm(
            out.rows,
            out.cols,
            a.cols,
            out.data.as_mut_ptr(),
            1,
            out.row_stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1f32,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_definition_with_strides_and_transposes() {
        let a: Vec<f32> = (0..12).map(|i| i as f32 * 0.5 - 2.0).collect();
        let b: Vec<f32> = (0..20).map(|i| (i as f32).sin()).collect();
        // a is 2 x 3 in rows of 5, b is the transpose of 4 x 3 in rows of 5.
        let mut out = vec![1f32; 10];
        product(
            ViewMut::strided(&mut out, 2, 4, 5),
            View::strided(&a, 2, 3, 5),
            View::strided(&b, 4, 3, 5).t(),
            2.0,
            true,
        );
        for i in 0..2 {
            for j in 0..4 {
                let want: f32 = 1.0 + 2.0 * (0..3).map(|k| a[i * 5 + k] * b[j * 5 + k]).sum::<f32>();
                assert!((out[i * 5 + j] - want).abs() < 1e-5);
            }
            assert_eq!(out[i * 5 + 4], 1.0);
        }
    }

    #[test]
    #[should_panic(expected = "2 x 3 in 5")]
    fn a_view_past_the_slice_is_refused() {
        let _ = View::new(&[0.0; 5], 2, 3);
    }
}
