//! `synthid-sha256`.

mod lanes;
pub(in crate::scheme) mod message;
