//! File descriptors: as many as we may have, shared out so that they never run out.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Limits;

/// Raises the soft limit to the hard one and cuts the limits on connections to what it allows.
pub(crate) fn share_out(limits: &mut Limits) {
    let allowed = raise();
    // Of 16 parts: 6 for clients, 6 for the dynos they are connected to, 2 for idle connections to dynos, 2 for files and sockets.
    let part = allowed / 16;
    if limits.connections > part * 6 {
        tracing::info!(descriptors = allowed, connections = part * 6, "fewer connections than configured: the limit of open files is low");
    }
    limits.connections = limits.connections.min(part * 6);
    limits.connections_per_app = limits.connections_per_app.min(limits.connections / 2);
    limits.idle_upstreams = limits.idle_upstreams.min(part * 2);
}

fn raise() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: maximum, maximum };
    let now = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => maximum,
        Err(_) => current,
    };
    now.map_or(usize::MAX, |now| usize::try_from(now).unwrap_or(usize::MAX))
}
