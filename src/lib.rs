//! wip
pub mod kernels;
pub mod model;
pub mod text;
