//! The integer lattice that likelihood ratios are rounded down to.
//!
//! A cell holds the `f64`s that agree in their first 20 bits; an octave has 256 cells. A ratio's lattice point is
//! ⌊ln(c)/h⌋ with h = 1/32, where c is its cell's lower edge. The edges' logarithms are far from multiples of h, as a
//! test checks. So every machine gets the same integer.

use std::sync::OnceLock;

/// Lattice points a nat, 1/h.
pub(crate) const POINTS_A_NAT: i32 = 32;

/// Number of bits of an `f64` that a cell ignores.
pub(crate) const CELL_SHIFT: u32 = 44;

/// h: the size of a lattice unit in nats.
pub const STEP: f64 = 1.0 / POINTS_A_NAT as f64;

/// Returns the lattice point of a likelihood ratio.
pub fn lattice(ratio: f64) -> i32 {
    /// The cells from 2^−32 to 2^32.
    const FIRST: u64 = (1023 - 32) << (52 - CELL_SHIFT);
    const COUNT: u64 = 64 << (52 - CELL_SHIFT);
    static POINTS: OnceLock<Vec<i32>> = OnceLock::new();
    let points = POINTS.get_or_init(|| (FIRST..FIRST + COUNT).map(lattice_of_cell).collect());
    let cell = ratio.to_bits() >> CELL_SHIFT;
    let index = cell.checked_sub(FIRST).and_then(|index| points.get(index as usize));
    index.copied().unwrap_or_else(|| lattice_of_cell(cell))
}

/// Returns the lattice point of all likelihood ratios whose first 20 bits are `cell`.
pub(crate) fn lattice_of_cell(cell: u64) -> i32 {
    (f64::from_bits(cell << CELL_SHIFT).ln() * f64::from(POINTS_A_NAT)).floor() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Except for 1, no edge is so near to a lattice point that another machine's logarithm could cross it.
    #[test]
    fn cells_are_clear_of_lattice_points() {
        for octave in -46..46_i32 {
            for cell in 0..256_u64 {
                let edge = (1.0 + cell as f64 / 256.0) * 2f64.powi(octave);
                let x = edge.ln() * f64::from(POINTS_A_NAT);
                assert_eq!(lattice(edge), x.floor() as i32);
                assert!(edge == 1.0 || (x - x.round()).abs() > 1e-7, "{edge}: {x}");
                assert!(f64::from(lattice(edge)) * STEP <= edge.ln());
            }
        }
        assert_eq!([lattice(1.0), lattice(1.0 - 1e-12), lattice(2.0)], [0, -1, 22]);
    }
}
