//! Sources of a model's tensors: mapped files, or a caller.

use super::error::{Error, Result};
use super::linear::{Embedding, Linear};
use super::weights::{Container, Weights};
use candle_core::{DType, Device, Tensor};
use wmdetect::gguf::names;

/// Source of tensors. Their names are those of a Hugging Face checkpoint.
pub(super) trait TensorSource {
    fn linear(&mut self, name: &str, out: usize, inp: usize) -> Result<Linear>;
    fn embedding(&mut self, name: &str, rows: usize, cols: usize) -> Result<Embedding>;
    fn vector(&mut self, name: &str, len: usize) -> Result<Tensor>;
}

/// Tensors of mapped files.
pub(super) struct Stored<'a> {
    pub(super) weights: &'a Weights,
    pub(super) device: &'a Device,
    pub(super) dtype: DType,
    pub(super) unrounded: bool,
}

impl Stored<'_> {
    fn name(&self, name: &str) -> String {
        match self.weights.container() {
            Container::Safetensors => name.into(),
            Container::Gguf => names::tensor(name),
        }
    }
}

impl TensorSource for Stored<'_> {
    fn linear(&mut self, name: &str, out: usize, inp: usize) -> Result<Linear> {
        let name = self.name(name);
        let matrix = self.weights.matrix(&name, out, inp)?;
        // What was copied need not be in memory twice.
        Linear::place(matrix, self.device, self.dtype, self.unrounded, |read| {
            self.weights.release(&name, read);
        })
    }

    fn embedding(&mut self, name: &str, rows: usize, cols: usize) -> Result<Embedding> {
        Ok(Embedding::Stored(self.weights.matrix(&self.name(name), rows, cols)?))
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Tensor> {
        let values = self.weights.vector(&self.name(name), len)?;
        Ok(Tensor::from_vec(values, len, self.device)?)
    }
}

/// Tensors from a caller.
pub(super) struct Plain<F> {
    pub(super) get: F,
}

impl<F: FnMut(&str, &[usize]) -> Result<Tensor>> Plain<F> {
    fn checked(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let tensor = (self.get)(name, shape)?;
        if tensor.dims() != shape {
            let (expected, found) = (shape.to_vec(), tensor.dims().to_vec());
            return Err(Error::Shape { name: name.into(), expected, found });
        }
        Ok(tensor)
    }
}

impl<F: FnMut(&str, &[usize]) -> Result<Tensor>> TensorSource for Plain<F> {
    fn linear(&mut self, name: &str, out: usize, inp: usize) -> Result<Linear> {
        Ok(Linear::Dense(self.checked(name, &[out, inp])?))
    }

    fn embedding(&mut self, name: &str, rows: usize, cols: usize) -> Result<Embedding> {
        Ok(Embedding::Dense(self.checked(name, &[rows, cols])?))
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Tensor> {
        self.checked(name, &[len])
    }
}
