//! Ends long work when the user asks for it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The exit code of a program that ended because it was asked to: 128 plus the number of Ctrl-C's signal, as in shells.
pub const INTERRUPTED: u8 = 130;

/// Returns a flag that Ctrl-C and SIGTERM set, so that the program ends with the results so far. The second signal ends
/// it at once. SIGHUP is left alone, since `nohup` ignores it. Call this once.
///
/// # Errors
/// Returns an error if the system does not allow a handler.
pub fn stop_when_asked() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset, and sets it.
        flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .context("cannot listen for Ctrl-C")?;
    }
    Ok(stop)
}
