//! The g-values of a finished text, and which of its positions count.

/// The g-values of one (context, token): bit l is layer l, layer 0 the least significant; higher bits are 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct GBits(pub u64);

impl GBits {
    /// g of layer `layer` as 0 or 1.
    pub fn layer(self, layer: usize) -> u64 {
        self.0 >> layer & 1
    }

    /// The layers as text, layer 0 first: `"0110…"`, `depth` characters.
    pub fn to_string(self, depth: usize) -> String {
        (0..depth).map(|layer| if self.layer(layer) == 1 { '1' } else { '0' }).collect()
    }
}

/// The g-values of a text under one key, position by position from the first with a complete context.
///
/// The three lists have one entry for each position t ≥ `first`; a text of at most `first` tokens has none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TextGValues {
    /// H: index of the first position in the text that has a complete context.
    pub first: usize,
    /// Layers.
    pub depth: usize,
    /// g-values of position `first` + i.
    pub g: Vec<GBits>,
    /// True where the position counts in a p-value: its context has not occurred before in this text (nor in the
    /// prompt, if one is known).
    pub scored: Vec<bool>,
    /// The mask that the reference implementation would use for its scores; our own for `synthid-sha256`.
    pub reference_mask: Vec<bool>,
}

impl TextGValues {
    /// The g-values that a p-value may count.
    pub fn scored(&self) -> impl Iterator<Item = GBits> + '_ {
        select(&self.g, &self.scored)
    }

    /// The g-values that the reference implementation's scores count.
    pub fn reference_scored(&self) -> impl Iterator<Item = GBits> + '_ {
        select(&self.g, &self.reference_mask)
    }
}

fn select<'a>(g: &'a [GBits], mask: &'a [bool]) -> impl Iterator<Item = GBits> + 'a {
    g.iter().zip(mask).filter_map(|(&g, &keep)| keep.then_some(g))
}
