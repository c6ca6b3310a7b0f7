//! What a server allows its clients.

use std::time::Duration;

/// What a server allows its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Number of connections at a time. A further one ends the connection that has been idle longest.
    pub connections: usize,
    /// The time that a request's head may take, a connection may be idle, and a client may read nothing of its answer.
    pub head: Duration,
    /// The time that a request's body may take.
    pub body: Duration,
    /// Largest number of bytes in a body.
    pub body_bytes: usize,
    /// The time that open requests have after the server was told to stop.
    pub drain: Duration,
}

impl Default for Limits {
    /// Returns 16,384 connections, 30 seconds for a head and for a body, 1 MiB for a body, and 30 seconds to the end.
    fn default() -> Self {
        Self {
            connections: 16_384,
            head: Duration::from_secs(30),
            body: Duration::from_secs(30),
            body_bytes: 1 << 20,
            drain: Duration::from_secs(30),
        }
    }
}
