//! wip
pub mod kernels;
pub mod model;
