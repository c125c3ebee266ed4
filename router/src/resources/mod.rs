//! What the process may have, shared out at start so that neither file descriptors nor memory ever run out: whoever does not fit is
//! turned away with 503 while everybody inside can be served.

mod descriptors;
mod machine;

use crate::access_log;
use crate::budget::{CONNECTION, IDLE};
use crate::config::Limits;

/// Of the memory there is, the buffers of connections may use one part in this many: dynos live on the same machine, and the kernel
/// buffers what we do not read yet.
const SHARE_OF_MEMORY: usize = 4;

/// Cuts the limits to what there is. Returns the bytes that remain for what is set aside for nobody: large heads.
pub(crate) fn share_out(limits: &mut Limits) -> usize {
    let wanted = limits.connections;
    let descriptors = descriptors::raise();
    limits.memory = limits.memory.min(machine::memory() / SHARE_OF_MEMORY);
    let remaining = cut(limits, descriptors);
    let (connections, memory) = (limits.connections, limits.memory);
    if connections < wanted {
        tracing::info!(connections, descriptors, memory, "fewer connections than configured: few open files or little memory are allowed");
    }
    remaining
}

fn cut(limits: &mut Limits, descriptors: usize) -> usize {
    // Of 16 parts: 6 for clients, 6 for the dynos they are connected to, 2 for idle connections to dynos, 2 for files and sockets.
    let descriptors = descriptors / 16;
    // Of 16 parts: 11 for connections, 1 for idle connections to dynos, 2 for log lines, 2 and what those do not need for large heads.
    let memory = limits.memory / 16;
    limits.connections = limits.connections.min(descriptors * 6).min(memory * 11 / CONNECTION);
    // Neither one app nor one address can take all of them.
    limits.connections_per_app = limits.connections_per_app.min(limits.connections / 2);
    limits.connections_per_ip = limits.connections_per_ip.min(limits.connections / 2);
    limits.idle_upstreams = limits.idle_upstreams.min(descriptors * 2).min(memory / IDLE);
    let lines = memory * 2 / access_log::LINE;
    limits.log_queue = limits.log_queue.min(lines);
    limits.log_queue_per_app = limits.log_queue_per_app.min(lines / 4);
    let set_aside = limits.connections * CONNECTION + limits.idle_upstreams * IDLE + limits.log_queue * access_log::LINE;
    limits.memory - set_aside
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared_out(memory: usize, descriptors: usize) -> (Limits, usize) {
        let mut limits = Limits { memory, ..Limits::default() };
        let remaining = cut(&mut limits, descriptors);
        let set_aside = limits.connections * CONNECTION + limits.idle_upstreams * IDLE + limits.log_queue * access_log::LINE;
        assert_eq!(set_aside + remaining, memory);
        assert!(remaining >= memory / 16 * 2);
        (limits, remaining)
    }

    #[test]
    fn the_defaults_fit_into_the_default_memory() {
        let default = Limits::default();
        let (limits, remaining) = shared_out(default.memory, 1 << 20);
        assert_eq!((limits.connections, limits.connections_per_app), (default.connections, default.connections_per_app));
        assert_eq!(limits.connections_per_ip, default.connections_per_ip);
        assert_eq!((limits.idle_upstreams, limits.log_queue), (default.idle_upstreams, default.log_queue));
        assert!(remaining > 100 * (limits.response_head * 2 + limits.response_header_line));
    }

    #[test]
    fn little_memory_is_shared_as_much_is() {
        // A quarter of 512 MiB.
        let (limits, remaining) = shared_out(128 << 20, 1 << 20);
        assert!((1000..2500).contains(&limits.connections), "{}", limits.connections);
        assert_eq!((limits.connections_per_app, limits.connections_per_ip), (limits.connections / 2, limits.connections / 2));
        assert!(limits.idle_upstreams > 500 && limits.log_queue > 10_000 && limits.log_queue_per_app == limits.log_queue / 4);
        assert!(remaining > 4 * (limits.response_head * 2 + limits.response_header_line), "heads as large as allowed are passed");
    }

    #[test]
    fn few_descriptors_leave_memory_to_large_heads() {
        let (limits, few) = shared_out(1 << 30, 1024);
        assert_eq!((limits.connections, limits.idle_upstreams), (384, 128));
        assert!(few > shared_out(1 << 30, 1 << 20).1);
        shared_out(0, 0);
        shared_out(1 << 40, usize::MAX);
    }
}
