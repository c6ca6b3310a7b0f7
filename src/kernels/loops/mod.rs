//! Loops over rows of numbers: everything in inference and training that is not a matrix product. Each loop is
//! compiled for every instruction set of [`cpu`](super::cpu).

mod adamw;
mod divergence;
mod exp;
mod gelu;
mod norm;
mod reduce;
mod rotate;
mod scan;
mod soft_cap;
mod softmax;
mod sweep;
mod to_bf16;

pub(crate) use adamw::{AdamwStep, adamw_step, add_scaled};
pub(crate) use divergence::{divergence_row, exponentials_row, final_logits_row, scale_by_slope_row};
pub(crate) use gelu::{gated_gelu_grad_row, gated_gelu_row};
pub(crate) use norm::{rms_norm_add_row, rms_norm_grad_row, rms_norm_row, scaled_norm_row};
pub(super) use reduce::LANES;
pub(crate) use rotate::{rotate_head, rotate_head_back};
pub(crate) use scan::{BLOCK, block_maxima, divide_logits, largest_logit, smallest_logit};
pub(crate) use soft_cap::SoftCap;
pub(crate) use softmax::{attention_grad_row, attention_row, attention_row_with_slope, cross_entropy_row};
pub(crate) use sweep::sum_of_words;
pub(crate) use to_bf16::bf16_row;
