//! The linear layer and the embedding: one type for each, over the places where weights can be.

use super::error::{Error, Result};
use crate::kernels::{MatMul, Matrix, Panels};
use candle_core::quantized::{QMatMul, QStorage, QTensor};
use candle_core::{D, DType, Device, Module, Tensor};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// The product `xs · Wᵀ` without a bias; W is `[out, in]`.
#[derive(Debug, Clone)]
pub(super) enum Linear {
    /// On the CPU, in the file's pages or in panels. Activations in f32, no gradient.
    Stored(MatMul),
    /// A tensor on any device, in the dtype of the activations. Differentiable.
    Dense(Tensor),
    /// Quantised on a GPU, multiplied by candle's kernels. No gradient.
    Quantized(QMatMul),
}

impl Linear {
    /// Places a stored matrix on a device. On the CPU it stays in its pages, or is reordered if rounding is allowed and
    /// there are kernels for it. Elsewhere it becomes a tensor of `dtype`, or quantised blocks. `read` is called with each
    /// range of the matrix's bytes that was copied.
    ///
    /// # Errors
    /// Returns the errors of the device.
    pub(super) fn place(
        matrix: Matrix,
        device: &Device,
        dtype: DType,
        unrounded: bool,
        read: impl FnMut(Range<usize>),
    ) -> Result<Self> {
        if device.is_cpu() {
            let panels = if unrounded { None } else { matrix.in_panels(read) };
            return Ok(Self::Stored(MatMul { matrix: panels.unwrap_or(matrix), unrounded }));
        }
        let shape = (matrix.rows(), matrix.cols());
        if matrix.format().is_quantized() {
            let data = Cow::Borrowed(matrix.bytes());
            let storage = QStorage::from_data(data, device, matrix.format().ggml())?;
            let tensor = QTensor::new(storage, shape)?;
            return Ok(Self::Quantized(QMatMul::from_arc(Arc::new(tensor))?));
        }
        let mut values = vec![0f32; shape.0 * shape.1];
        matrix.dequantize(0..shape.0, &mut values);
        Ok(Self::Dense(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?))
    }

    /// Multiplies `[.., in]` and returns `[.., out]`.
    ///
    /// # Errors
    /// Returns an error if the activations have another width or dtype.
    pub(super) fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Stored(op) => xs.contiguous()?.apply_op1_no_bwd(op)?,
            Self::Dense(w) => {
                let mut dims = xs.dims().to_vec();
                let rows = xs.elem_count() / xs.dim(D::Minus1)?.max(1);
                let ys = xs.reshape((rows, ()))?.matmul(&w.t()?)?;
                if let Some(last) = dims.last_mut() {
                    *last = w.dim(0)?;
                }
                ys.reshape(dims)?
            }
            Self::Quantized(w) => w.forward(&xs.to_dtype(DType::F32)?)?.to_dtype(xs.dtype())?,
        })
    }

    /// Returns the memory that a product reads; empty on devices other than the CPU.
    pub(super) fn memory(&self) -> &[u8] {
        match self {
            Self::Stored(op) => op.matrix.memory(),
            _ => &[],
        }
    }

    /// Returns the panels of a layer that may round activations.
    pub(super) fn panels(&self) -> Option<&Arc<Panels>> {
        match self {
            Self::Stored(MatMul { matrix, unrounded: false }) => matrix.panels(),
            _ => None,
        }
    }

    /// Returns the same layer without the rounding of activations; see [`MatMul::unrounded`].
    pub(super) fn unrounded(&self) -> Self {
        match self {
            Self::Stored(op) => Self::Stored(MatMul { matrix: op.matrix.clone(), unrounded: true }),
            other => other.clone(),
        }
    }
}

/// Returns whether the CPU's kernels may take a tensor. They compute in f32 and have no gradient.
pub(super) fn takes_kernels(xs: &Tensor) -> bool {
    xs.device().is_cpu() && xs.dtype() == DType::F32 && !xs.track_op()
}

/// The embedding, `[vocab, hidden]`.
#[derive(Debug, Clone)]
pub(super) enum Embedding {
    /// In the file's pages. Rows are converted one by one and sent to the device.
    Stored(Matrix),
    /// A tensor on any device. Differentiable.
    Dense(Tensor),
}

impl Embedding {
    /// Returns rows of the table, `[ids.len(), hidden]`, in `dtype` on `device`.
    ///
    /// # Errors
    /// Returns an error if an id is outside the vocabulary.
    pub(super) fn forward(&self, ids: &[u32], device: &Device, dtype: DType) -> Result<Tensor> {
        let vocab = match self {
            Self::Stored(m) => m.rows(),
            Self::Dense(t) => t.dim(0)?,
        };
        if let Some(&id) = ids.iter().find(|id| **id as usize >= vocab) {
            return Err(Error::Token { id, vocab });
        }
        Ok(match self {
            Self::Stored(m) => {
                let rows = m.gather(ids).ok_or(Error::Token { id: u32::MAX, vocab })?;
                Tensor::from_vec(rows, (ids.len(), m.cols()), &Device::Cpu)?
                    .to_dtype(dtype)?
                    .to_device(device)?
            }
            Self::Dense(t) => {
                let ids = Tensor::new(ids, t.device())?;
                t.index_select(&ids, 0)?.to_dtype(dtype)?
            }
        })
    }
}
