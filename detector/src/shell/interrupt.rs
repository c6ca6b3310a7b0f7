//! The end of long work that the user asks for.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The exit code of a program that ended because it was asked to: 128 and the number of Ctrl-C's signal, as shells have it.
pub const INTERRUPTED: u8 = 130;

/// Returns a flag that Ctrl-C and SIGTERM set, to end with what is done so far. The second time the program ends at once.
/// SIGHUP stays as it is, since `nohup` has it ignored. To be called once.
///
/// # Errors
/// Returns an error if the system lets nobody listen.
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
