//! Upper tails of the null distributions, as natural logarithms: they go far below the smallest `f64`.
//!
//! [`binomial`], [`binomial_at`], [`gamma`] and [`two_gammas`] sum their series from an exact term. [`WeightedNull`]
//! and [`TableNull`] invert the characteristic function of an exponentially tilted integer sum. All are exact up to
//! rounding (around 1e-12 of p). They add a bound of the neglected part, so that truncation can only make p larger. For
//! p above 1/2 they return one minus the other tail, of which the same holds.

mod binomial;
mod gamma;
mod inversion;
mod table;
#[cfg(test)]
mod tests;
mod weighted;
mod weights;

pub(crate) use binomial::{binomial, binomial_at};
pub(crate) use gamma::{gamma, two_gammas};
pub(crate) use table::TableNull;
pub(crate) use weighted::WeightedNull;
