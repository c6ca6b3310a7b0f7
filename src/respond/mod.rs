//! From a prompt to a text and its [`Receipt`].

mod receipt;

pub use receipt::{ModelReceipt, Receipt, ReceiptError, Timing, WatermarkReceipt};
