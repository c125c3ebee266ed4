//! Which resolver of the host containers' questions go to.

use std::net::Ipv4Addr;

/// The first IPv4 resolver that is not on loopback. Where systemd-resolved listens on loopback only, its upstream list is read.
pub(super) fn host_resolver() -> Option<Ipv4Addr> {
    ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"].iter().find_map(|path| first(&std::fs::read_to_string(path).ok()?))
}

fn first(text: &str) -> Option<Ipv4Addr> {
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse::<Ipv4Addr>().ok());
    servers.into_iter().find(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    #[test]
    fn loopback_and_ipv6_are_passed_over() {
        let text = "# x\nsearch a\nnameserver 127.0.0.53\nnameserver ::1\n nameserver 192.0.2.7\nnameserver 192.0.2.8\n";
        assert_eq!(super::first(text), Some("192.0.2.7".parse().unwrap()));
        assert_eq!(super::first("nameserver 127.0.0.1"), None);
    }
}
