//! How a push reaches the control plane while git holds it back.
//!
//! `git receive-pack` puts what it got into a quarantine and runs the `pre-receive` hook. The hook (client half, [`client`]) is a
//! few lines: it sends the wished ref updates over a Unix socket, copies lines to the pusher, and ends with the verdict. The server half
//! ([`serve`]) knows from a one-time token which app and account the push belongs to, and asks the [`crate::push::PushHandler`].
//! The connection is the pusher's life line: when it closes early (Ctrl-C), the push is cancelled. The `proc-receive` hook ([`proc_receive`])
//! moves the branch of a push that waited for its turn.

mod client;
mod connection;
mod decide;
mod lines;
mod moved;
mod pending;
mod proc_receive;
mod server;
mod wire;

pub(crate) use pending::{Pending, PendingGuard, PendingPushes};
pub use server::serve;

/// Runs the hook of this name, if we have one: git starts hooks by the name of the file, and ours are links to one program.
pub fn run(name: &str) -> Option<std::process::ExitCode> {
    match name {
        "pre-receive" => Some(client::pre_receive_main()),
        "proc-receive" => Some(proc_receive::main()),
        _ => None,
    }
}

/// Environment variable with the socket's path.
pub(crate) const SOCKET_ENV: &str = "LANDFALL_HOOK_SOCKET";
/// Environment variable with the push's one-time token.
pub(crate) const TOKEN_ENV: &str = "LANDFALL_PUSH_TOKEN";
