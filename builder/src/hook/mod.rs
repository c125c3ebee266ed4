//! How a push reaches the control plane while git holds it back.
//!
//! `git receive-pack` puts what it got into a quarantine and runs the `pre-receive` hook. The hook (client half, [`pre_receive_main`]) is a
//! few lines: it sends the wished ref updates over a Unix socket, copies lines to the pusher, and ends with the verdict. The server half
//! ([`serve`]) knows from a one-time token which app and account the push belongs to, and asks the [`crate::push::PushHandler`].
//! The connection is the pusher's life line: when it closes early (Ctrl-C), the push is cancelled.

mod client;
mod connection;
mod decide;
mod lines;
mod pending;
mod server;
mod wire;

pub use client::pre_receive_main;
pub(crate) use pending::{Pending, PendingGuard, PendingPushes};
pub use server::serve;

/// Environment variable with the socket's path.
pub(crate) const SOCKET_ENV: &str = "LANDFALL_HOOK_SOCKET";
/// Environment variable with the push's one-time token.
pub(crate) const TOKEN_ENV: &str = "LANDFALL_PUSH_TOKEN";
