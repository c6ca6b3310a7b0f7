//! Real parameters of schemes.

/// A real number as a public parameter. Two are the same if their bits are.
#[derive(Clone, Copy, Debug)]
pub struct Real(pub f64);

impl Real {
    /// Returns the number as 8 little-endian bytes.
    pub(super) fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }
}

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Real {}

impl From<f64> for Real {
    fn from(number: f64) -> Self {
        Self(number)
    }
}
