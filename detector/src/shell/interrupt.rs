//! The end of long work that the user asks for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

/// The exit code of a program that ended because it was asked to: 128 and the number of Ctrl-C's signal, as shells have it.
pub const INTERRUPTED: u8 = 130;

/// Returns a flag that Ctrl-C sets, and SIGTERM and SIGHUP do, to end with what is done so far. The second time the program
/// ends at once. To be called once.
///
/// # Errors
/// Returns an error if the system lets nobody listen.
pub fn stop_when_asked() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}
