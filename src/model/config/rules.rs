//! Gemma's rules: what follows from a configuration, in one place for all code that runs layers.

use super::{Config, LayerKind, RopeBase};
use std::ops::Range;

/// Settings of a layer, besides its weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LayerRules {
    pub(crate) kind: LayerKind,
    /// Number of query heads.
    pub(crate) heads: usize,
    /// Number of key and value heads; divides `heads`.
    pub(crate) kv_heads: usize,
    /// Width of a head.
    pub(crate) head_dim: usize,
    /// Factor of the queries.
    pub(crate) scale: f64,
    /// Attention scores x become cap · tanh(x / cap) before the mask.
    pub(crate) softcap: Option<f64>,
}

impl LayerRules {
    /// Returns the number of positions that a query sees, including its own, if it is limited.
    pub(crate) fn window(&self) -> Option<usize> {
        self.kind.window()
    }

    /// Returns the positions that the query at `position` sees.
    pub(crate) fn seen(&self, position: usize) -> Range<usize> {
        let end = position + 1;
        self.window().map_or(0, |window| end.saturating_sub(window))..end
    }

    /// Returns how many query heads share a key head.
    pub(crate) fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Returns the factor of the queries for activations in f32.
    pub(crate) fn scale_f32(&self) -> f32 {
        self.scale as f32
    }

    /// Returns the soft cap for scores in f32.
    pub(crate) fn softcap_f32(&self) -> Option<f32> {
        self.softcap.map(|cap| cap as f32)
    }
}

/// One value for the local layers and one for the global layers, which differ in their rotary embedding.
#[derive(Debug, Clone)]
pub(crate) struct ByKind<T> {
    local: T,
    global: T,
}

impl<T> ByKind<T> {
    /// Returns the value for layers of this kind.
    pub(crate) fn of(&self, kind: LayerKind) -> &T {
        match kind {
            LayerKind::Local { .. } => &self.local,
            LayerKind::Global => &self.global,
        }
    }

    /// Applies `make` to both values.
    pub(crate) fn map<U>(self, make: impl Fn(T) -> U) -> ByKind<U> {
        ByKind { local: make(self.local), global: make(self.global) }
    }

    /// Applies `make`, which can fail, to references to both values.
    ///
    /// # Errors
    /// Returns the first error of `make`.
    pub(crate) fn try_map<U, E>(&self, make: impl Fn(&T) -> Result<U, E>) -> Result<ByKind<U>, E> {
        Ok(ByKind { local: make(&self.local)?, global: make(&self.global)? })
    }
}

impl Config {
    /// Returns the rules of each layer, layer 0 first.
    pub(crate) fn layer_rules(&self) -> impl Iterator<Item = LayerRules> {
        self.layers.iter().map(|kind| LayerRules {
            kind: *kind,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            scale: self.query_pre_attn_scalar.powf(-0.5),
            softcap: self.attn_softcap,
        })
    }

    /// Returns the rotary embedding of each kind of layer.
    pub(crate) fn ropes(&self) -> ByKind<RopeBase> {
        ByKind { local: self.rope_local, global: self.rope_global }
    }

    /// Returns the factor of embeddings, √hidden. The reference rounds it to the dtype of the activations.
    pub(crate) fn embedding_factor(&self) -> f32 {
        (self.hidden as f64).sqrt() as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random;

    #[test]
    fn a_query_sees_itself_and_the_window_before_it() {
        let mut config = random::config();
        config.layers = vec![LayerKind::Local { window: 3 }, LayerKind::Global];
        let seen = |position| config.layer_rules().map(|rules| rules.seen(position)).collect::<Vec<_>>();
        assert_eq!(seen(0), [0..1, 0..1]);
        assert_eq!(seen(2), [0..3, 0..3]);
        assert_eq!(seen(7), [5..8, 0..8]);
    }

    #[test]
    fn layers_of_a_kind_share_a_rotary_embedding() {
        let mut config = random::config();
        config.rope_global = RopeBase { base: 1e6, factor: 8.0 };
        let ropes = config.ropes();
        assert_eq!(*ropes.of(LayerKind::Local { window: 4 }), config.rope_local);
        assert_eq!(*ropes.of(LayerKind::Global), config.rope_global);
    }
}
