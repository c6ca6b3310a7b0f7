//! What the studies share: statistics, edits, rules for contexts, a client of the servers, and the check of the crates' structure that the tests run.

pub mod clusters;
pub mod edits;
pub mod http;
mod marked;
pub mod rules;
pub mod structure;
mod tail;

pub use marked::{Marked, read_marked};
pub use tail::log10_tail;

/// Returns Wilson's 95 % interval of the share `found / n`.
pub fn wilson(found: usize, n: usize) -> (f64, f64) {
    let (z, n) = (1.959_964, n as f64);
    let p = found as f64 / n;
    let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    (middle - half, middle + half)
}
