//! The sampling table of `synthid-hf`.

use crate::scheme::KeyError;

/// The table from which the g-values of `synthid-hf` are read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SamplingTable {
    /// The bits that torch's CPU generator draws from `seed`, of which torch uses the low 32 bits.
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
    /// Returns the number of entries.
    pub fn size(&self) -> usize {
        match self {
            Self::Seeded { size, .. } => *size as usize,
            Self::Explicit(entries) => entries.len(),
        }
    }

    pub(super) fn check(&self) -> Result<(), KeyError> {
        if !(2..=1 << 24).contains(&self.size()) {
            return Err(KeyError::TableSize { found: self.size() });
        }
        if let Self::Explicit(entries) = self
            && let Some(entry) = entries.iter().find(|&&entry| entry > 1)
        {
            return Err(KeyError::TableEntry { found: *entry });
        }
        Ok(())
    }
}
