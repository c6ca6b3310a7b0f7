//! The schemes and their public parameters.

use super::{DEFAULT_DEPTH, DEFAULT_NGRAM_LEN, KeyError, MAX_DEPTH, MAX_NGRAM_LEN};

/// The table of `synthid-hf`, from which its g-values are read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SamplingTable {
    /// What torch's CPU generator draws: `size` bits from `seed` (of which torch uses the low 32 bits).
    Seeded {
        /// Number of entries.
        size: u32,
        /// `sampling_table_seed`.
        seed: u64,
    },
    /// The entries themselves, each 0 or 1: for texts that were marked on a device whose generator differs.
    Explicit(Vec<u8>),
}

impl SamplingTable {
    /// Number of entries.
    pub fn size(&self) -> usize {
        match self {
            Self::Seeded { size, .. } => *size as usize,
            Self::Explicit(entries) => entries.len(),
        }
    }
}

/// A scheme and its public parameters.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Scheme {
    /// Our own: SHA-256 as the keyed function, complete context history.
    Sha256 {
        /// Layers of the tournament, m.
        depth: u8,
        /// Context length plus one, H + 1.
        ngram_len: u8,
    },
    /// `transformers.SynthIDTextWatermarkLogitsProcessor` and `synthid-text` 0.2.1.
    Hf {
        /// Layers, one key each.
        depth: u8,
        /// H + 1.
        ngram_len: u8,
        /// How many past contexts the generator remembers.
        context_history_size: u32,
        /// Where g-values are read.
        table: SamplingTable,
    },
    /// `synthid_text` on its main branch since June 2025.
    DeepMind {
        /// Layers, one key each.
        depth: u8,
        /// H + 1.
        ngram_len: u8,
        /// How many past contexts the generator remembers.
        context_history_size: u32,
    },
}

impl Default for Scheme {
    fn default() -> Self {
        Self::Sha256 { depth: DEFAULT_DEPTH as u8, ngram_len: DEFAULT_NGRAM_LEN as u8 }
    }
}

impl Scheme {
    /// `synthid-sha256`, `synthid-hf` or `synthid-deepmind`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sha256 { .. } => "synthid-sha256",
            Self::Hf { .. } => "synthid-hf",
            Self::DeepMind { .. } => "synthid-deepmind",
        }
    }

    /// Layers of the tournament, m.
    pub fn depth(&self) -> usize {
        match *self {
            Self::Sha256 { depth, .. } | Self::Hf { depth, .. } | Self::DeepMind { depth, .. } => {
                depth.into()
            }
        }
    }

    /// Context length plus one.
    pub fn ngram_len(&self) -> usize {
        match *self {
            Self::Sha256 { ngram_len, .. }
            | Self::Hf { ngram_len, .. }
            | Self::DeepMind { ngram_len, .. } => ngram_len.into(),
        }
    }

    /// H: how many tokens before a position decide its g-values.
    pub fn context_len(&self) -> usize {
        self.ngram_len() - 1
    }

    /// True for the schemes that follow a reference implementation; their p-values are approximate.
    pub fn is_compat(&self) -> bool {
        !matches!(self, Self::Sha256 { .. })
    }

    /// Refuses parameters that cannot work.
    pub fn check(&self) -> Result<(), KeyError> {
        let (depth, ngram_len) = (self.depth(), self.ngram_len());
        if !(1..=MAX_DEPTH).contains(&depth) {
            return Err(KeyError::Depth { found: depth });
        }
        if !(2..=MAX_NGRAM_LEN).contains(&ngram_len) {
            return Err(KeyError::NgramLen { found: ngram_len });
        }
        if let Self::Hf { context_history_size, .. } | Self::DeepMind { context_history_size, .. } = self
            && !(1..=1 << 24).contains(context_history_size)
        {
            return Err(KeyError::ContextHistorySize { found: *context_history_size });
        }
        if let Self::Hf { table, .. } = self {
            if !(2..=1 << 24).contains(&table.size()) {
                return Err(KeyError::TableSize { found: table.size() });
            }
            if let SamplingTable::Explicit(entries) = table
                && let Some(entry) = entries.iter().find(|&&entry| entry > 1)
            {
                return Err(KeyError::TableEntry { found: *entry });
            }
        }
        Ok(())
    }
}
