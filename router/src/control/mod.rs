//! The control socket: what the controller says to the router, and how.
//!
//! JSON lines over a Unix socket. A [`Request`] carries an `id` that its [`Reply`] repeats, so a `drain` may be answered after
//! later requests. Only the router's own user and root may speak.

mod client;
pub(crate) mod server;
mod types;

pub use client::{Client, ClientError};
pub use types::{AppRoutes, AppStats, Backend, BackendStats, Drained, Mode, Operation, Reply, ReplyBody, Request, Stats, Table};

/// Longest line either side accepts: a table of 100,000 hosts needs about a sixth.
pub(crate) const MAX_LINE: usize = 128 * 1024 * 1024;
