//! The weights of a model in panels, for the CPU's decode step and prompt.

use super::config::LayerRules;
use super::error::Result;
use super::layer::Layer;
use super::linear::Linear;
use super::norm::RmsNorm;
use crate::kernels::Panels;
use std::sync::Arc;

/// The weights of a model, all in panels.
#[derive(Debug)]
pub(super) struct PackedWeights {
    pub(super) layers: Vec<PackedLayer>,
    /// Weight of the final norm.
    pub(super) norm: Vec<f32>,
    pub(super) head: Arc<Panels>,
}

/// The weights of a layer; the norms include the 1.
#[derive(Debug)]
pub(super) struct PackedLayer {
    pub(super) rules: LayerRules,
    pub(super) input_norm: Vec<f32>,
    pub(super) q: Arc<Panels>,
    pub(super) k: Arc<Panels>,
    pub(super) v: Arc<Panels>,
    pub(super) o: Arc<Panels>,
    pub(super) q_norm: Option<Vec<f32>>,
    pub(super) k_norm: Option<Vec<f32>>,
    pub(super) post_attention_norm: Vec<f32>,
    pub(super) pre_mlp_norm: Vec<f32>,
    pub(super) gate: Arc<Panels>,
    pub(super) up: Arc<Panels>,
    pub(super) down: Arc<Panels>,
    pub(super) post_mlp_norm: Vec<f32>,
}

impl PackedWeights {
    /// Collects the weights of a model. Returns `None` unless all of its matrices are in panels.
    ///
    /// # Errors
    /// Returns an error if the device cannot return a norm.
    pub(super) fn new(all: &[Layer], norm: &RmsNorm, head: &Linear) -> Result<Option<Self>> {
        let mut layers = Vec::with_capacity(all.len());
        for layer in all {
            let Some(layer) = PackedLayer::new(layer)? else { return Ok(None) };
            layers.push(layer);
        }
        let (Some(norm), Some(head)) = (norm.values()?, head.panels()) else { return Ok(None) };
        Ok(Some(Self { layers, norm, head: head.clone() }))
    }

    /// Returns the number of bytes of all matrices.
    pub(super) fn bytes(&self) -> usize {
        let layer = |l: &PackedLayer| {
            [&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down]
                .iter()
                .map(|panels| panels.bytes())
                .sum::<usize>()
        };
        self.head.bytes() + self.layers.iter().map(layer).sum::<usize>()
    }
}

impl PackedLayer {
    fn new(layer: &Layer) -> Result<Option<Self>> {
        let head_norm = |norm: &Option<RmsNorm>| -> Result<Option<Vec<f32>>> {
            norm.as_ref().map_or(Ok(None), RmsNorm::values)
        };
        let (a, m) = (&layer.attention, &layer.mlp);
        let norms = (
            layer.input_norm.values()?,
            layer.post_attention_norm.values()?,
            layer.pre_mlp_norm.values()?,
            layer.post_mlp_norm.values()?,
        );
        let panels = [&a.q, &a.k, &a.v, &a.o, &m.gate, &m.up, &m.down].map(|linear| linear.panels().cloned());
        let (
            (Some(input_norm), Some(post_attention_norm), Some(pre_mlp_norm), Some(post_mlp_norm)),
            [Some(q), Some(k), Some(v), Some(o), Some(gate), Some(up), Some(down)],
        ) = (norms, panels)
        else {
            return Ok(None);
        };
        Ok(Some(PackedLayer {
            rules: layer.rules,
            input_norm,
            q,
            k,
            v,
            o,
            q_norm: head_norm(&a.q_norm)?,
            k_norm: head_norm(&a.k_norm)?,
            post_attention_norm,
            pre_mlp_norm,
            gate,
            up,
            down,
            post_mlp_norm,
        }))
    }
}
