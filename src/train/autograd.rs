//! Loss and gradients through candle's autograd and [`crate::model::Gemma`], for any configuration and device. The
//! fused gradients are compared with these.

use super::error::Result;
use super::objective::{Lesson, Scratch};
use super::parameters::Table;
use crate::model::{Config, Gemma};
use candle_core::{DType, Device, Tensor, Var};

/// A model whose weights are variables, one for each tensor of the table.
#[derive(Debug)]
pub struct Autograd {
    table: Table,
    vars: Vec<Var>,
    model: Gemma,
    device: Device,
}

impl Autograd {
    /// Makes a model with these parameters, in f32 on `device`.
    ///
    /// # Errors
    /// Returns an error if the configuration is impossible, and the errors of the device.
    pub fn new(config: &Config, params: &[f32], device: &Device) -> Result<Self> {
        let table = Table::new(config);
        let mut vars = Vec::new();
        for tensor in table.tensors() {
            let values = &params[tensor.range.clone()];
            vars.push(Var::from_slice(values, tensor.shape.as_slice(), device)?);
        }
        let model = Gemma::from_tensors(config.clone(), device, DType::F32, |name, _| {
            let missing = || crate::model::Error::MissingTensor { name: name.into(), path: "memory".into() };
            let at = table.tensors().iter().position(|t| t.name == name).ok_or_else(missing)?;
            Ok(vars[at].as_tensor().clone())
        })?;
        Ok(Self { table, vars, model, device: device.clone() })
    }

    /// Replaces the parameters.
    ///
    /// # Errors
    /// Returns the errors of the device.
    pub fn set(&mut self, params: &[f32]) -> Result<()> {
        for (tensor, var) in self.table.tensors().iter().zip(&self.vars) {
            let values = &params[tensor.range.clone()];
            var.set(&Tensor::from_slice(values, tensor.shape.as_slice(), &self.device)?)?;
        }
        Ok(())
    }

    /// Computes what [`super::fused::Fused::loss`] computes.
    ///
    /// # Errors
    /// Returns the errors of that function and of the device.
    pub fn loss(&self, rows: &[&[u32]], grads: Option<(&mut [f32], f32)>) -> Result<f64> {
        self.learn(&Lesson::of_ids(rows), grads)
    }

    /// Computes what [`super::fused::Fused::learn`] computes. Autograd differentiates the logits; their gradient comes
    /// from the lesson.
    ///
    /// # Errors
    /// Returns the errors of that function and of the device.
    pub fn learn(&self, lesson: &Lesson, grads: Option<(&mut [f32], f32)>) -> Result<f64> {
        let rows = lesson.rows();
        let inputs: Vec<&[u32]> = rows.iter().map(|row| &row[..row.len().saturating_sub(1)]).collect();
        // These are logits after the soft cap, so that candle differentiates the cap.
        let logits = self.model.forward_train(&inputs)?.flatten(0, 1)?;
        let (vocab, mut scratch) = (logits.dim(1)?, Scratch::default());
        let mut slopes = logits.detach().flatten_all()?.to_vec1::<f32>()?;
        let mut loss = 0.0;
        for (position, row) in slopes.chunks_exact_mut(vocab).enumerate() {
            loss += lesson.learn(position, row, &mut scratch, None, 1.0);
        }
        if let Some((grads, factor)) = grads {
            let slopes = Tensor::from_vec(slopes, logits.shape(), &self.device)?;
            let store = (logits * slopes)?.sum_all()?.backward()?;
            for (tensor, var) in self.table.tensors().iter().zip(&self.vars) {
                if let Some(grad) = store.get(var.as_tensor()) {
                    let values = grad.flatten_all()?.to_vec1::<f32>()?;
                    for (g, v) in grads[tensor.range.clone()].iter_mut().zip(values) {
                        *g += factor * v;
                    }
                }
            }
        }
        Ok(loss)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fused::{Fused, Workspace};
    use super::super::objective::{Divergence, Goals, ListRule};
    use super::*;
    use crate::model::{Architecture, LayerKind};

    fn config(softcaps: bool) -> Config {
        let json = r#"{"model_type": "gemma2", "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4,
            "num_key_value_heads": 2, "head_dim": 10, "intermediate_size": 40, "vocab_size": 50, "sliding_window": 5,
            "max_position_embeddings": 90, "query_pre_attn_scalar": 7.5, "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0}"#;
        let mut config = Config::from_json(json).unwrap();
        if !softcaps {
            (config.attn_softcap, config.final_softcap) = (None, None);
            config.layers = vec![LayerKind::Local { window: 2 }, LayerKind::Global];
        }
        config
    }

    /// Compares every parameter's gradient of both engines, with windows, caps and grouped heads that have an effect.
    #[test]
    fn fused_gradients_are_those_of_autograd() {
        for softcaps in [true, false] {
            let config = config(softcaps);
            let table = Table::new(&config);
            let mut params = table.init(&config, 0.3, 3);
            // Make norm weights other than 0.
            for (i, p) in params.iter_mut().enumerate() {
                *p += 0.1 * (i as f32 * 0.37).sin();
            }
            // Rows with more positions than a block of queries.
            let rows: Vec<Vec<u32>> =
                (0..2).map(|r| (0..71u32).map(|i| (i * i + 7 * r + i / 3) % 50).collect()).collect();
            let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
            let mut want = vec![0f32; table.len()];
            let autograd = Autograd::new(&config, &params, &Device::Cpu).unwrap();
            let want_loss = autograd.loss(&rows, Some((&mut want, 0.5))).unwrap();
            let (fused, mut work) = (Fused::new(&config).unwrap(), Workspace::default());
            // A second call with the same memory adds the same again.
            let mut got = vec![0f32; table.len()];
            for _ in 0..2 {
                let loss = fused.loss(&params, &rows, Some((&mut got, 0.5)), &mut work).unwrap();
                assert!((loss / want_loss - 1.0).abs() < 1e-5, "{loss} {want_loss}");
            }
            for tensor in table.tensors() {
                let (a, b) = (&got[tensor.range.clone()], &want[tensor.range.clone()]);
                let size = b.iter().fold(0f32, |m, v| m.max(v.abs()));
                for (x, y) in a.iter().zip(b) {
                    assert!((x / 2.0 - y).abs() < 2e-5 * size.max(1.0), "{}: {x} {y}", tensor.name);
                }
                assert!(size > 1e-4, "{} has no gradient", tensor.name);
            }
        }
    }

    /// Compares every parameter's gradient of both engines for masked soft targets. The engines implement soft caps
    /// separately.
    #[test]
    fn both_engines_agree_on_every_objective() {
        let config = config(true);
        let table = Table::new(&config);
        let params = table.init(&config, 0.3, 3);
        let rows: Vec<Vec<u32>> =
            (0..2).map(|r| (0..21u32).map(|i| (i * i + 7 * r) % 50).collect()).collect();
        let mask: Vec<bool> = (0..40).map(|i| i % 3 != 0).collect();
        let count = mask.iter().filter(|m| **m).count();
        let numbers = |n: usize| (0..n).map(|i| 3.0 * (i as f32 * 1.7).sin()).collect::<Vec<f32>>();
        let divergence = |beta, temperature, loss_top_k, loss_add_tail| Divergence {
            beta,
            temperature,
            loss_top_k,
            loss_add_tail,
        };
        let listed = |rule| Goals::Listed {
            k: 2,
            ids: (0..2 * count as u32).map(|i| i * 3 % 50).collect(),
            logprobs: numbers(2 * count).iter().map(|x| x - 4.0).collect(),
            rule,
        };
        let mut goals = vec![Goals::Ids, listed(ListRule::Sampled)];
        goals.push(listed(ListRule::Divergence(divergence(0.0, 1.0, 0, true))));
        for d in [
            divergence(0.0, 1.0, 0, true),
            divergence(0.5, 2.0, 0, true),
            divergence(1.0, 1.0, 0, true),
            divergence(0.5, 1.0, 4, false),
            divergence(1.0, 2.0, 4, true),
        ] {
            goals.push(Goals::Teacher { logits: numbers(50 * count), divergence: d });
        }
        for what in goals {
            let name = format!("{what:.60?}").chars().take(60).collect::<String>();
            let lesson = Lesson::new(rows.clone(), &mask, what);
            let (mut want, mut got) = (vec![0f32; table.len()], vec![0f32; table.len()]);
            let autograd = Autograd::new(&config, &params, &Device::Cpu).unwrap();
            let want_loss = autograd.learn(&lesson, Some((&mut want, 0.5))).unwrap();
            let fused = Fused::new(&config).unwrap();
            let loss =
                fused.learn(&params, &lesson, Some((&mut got, 0.5)), &mut Workspace::default()).unwrap();
            assert!((loss / want_loss - 1.0).abs() < 1e-5, "{name}: {loss} {want_loss}");
            for tensor in table.tensors() {
                let (a, b) = (&got[tensor.range.clone()], &want[tensor.range.clone()]);
                let size = b.iter().fold(0f32, |m, v| m.max(v.abs()));
                assert!(size > 1e-4, "{name}: {} has no gradient", tensor.name);
                for (x, y) in a.iter().zip(b) {
                    assert!((x - y).abs() < 1e-5 * size.max(1.0), "{name}, {}: {x} {y}", tensor.name);
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let config = config(true);
        let fused = Fused::new(&config).unwrap();
        let params = Table::new(&config).init(&config, 0.1, 1);
        let loss = |rows: &[&[u32]]| fused.loss(&params, rows, None, &mut Workspace::default());
        assert!(loss(&[&[1, 2, 3], &[1, 2]]).is_err());
        assert!(loss(&[&[1]]).is_err());
        assert!(loss(&[&[1, 50]]).is_err());
        assert!(loss(&[&[1; 92]]).is_err());
        assert!(loss(&[&[1; 91]]).is_ok());
        let other = Config { architecture: Architecture::Gemma3, ..config };
        assert!(Fused::new(&other).is_err());
    }
}
