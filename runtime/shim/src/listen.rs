//! What listens in a network namespace, read from `/proc/<pid>/net`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use landfall_runtime_wire::shim::Listener;

/// The kernel's number for a listening TCP socket.
const LISTEN: &str = "0A";

/// Sorted listeners of that process's network namespace.
pub(crate) fn listeners(pid: i32) -> Vec<Listener> {
    let mut found: Vec<Listener> = ["tcp", "tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).ok())
        .flat_map(|table| table.lines().skip(1).filter_map(parse).collect::<Vec<_>>())
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Reachable from outside the container on that port.
pub(crate) fn reachable(listeners: &[Listener], port: u16) -> bool {
    listeners.iter().any(|listener| listener.port == port && !listener.address.is_loopback())
}

fn parse(line: &str) -> Option<Listener> {
    let mut fields = line.split_whitespace().skip(1);
    let (address, port) = fields.next()?.split_once(':')?;
    if fields.nth(1)? != LISTEN {
        return None;
    }
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let address = if address.len() == 8 {
        IpAddr::V4(Ipv4Addr::from(word(0)?))
    } else {
        let mut bytes = [0; 16];
        for index in 0..4 {
            bytes[index * 4..index * 4 + 4].copy_from_slice(&word(index * 8)?);
        }
        IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
    };
    Some(Listener { address, port: u16::from_str_radix(port, 16).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets_are_read_and_others_are_not() {
        let line = |address: &str, state: &str| format!("   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 0 0 1");
        let local = parse(&line("0100007F:1F90", "0A")).unwrap();
        assert_eq!(local, Listener { address: "127.0.0.1".parse().unwrap(), port: 8080 });
        let any = parse(&line("00000000000000000000000000000000:0050", "0A")).unwrap();
        assert_eq!(any, Listener { address: "::".parse().unwrap(), port: 80 });
        assert_eq!(parse(&line("0100007F:1F90", "01")), None);
        assert!(reachable(std::slice::from_ref(&any), 80) && !reachable(&[local], 8080) && !reachable(&[any], 81));
    }
}
