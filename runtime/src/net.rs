//! The private network of containers: a bridge, a veth pair each, and one nftables table with default deny.

mod link;
mod netlink;
mod nft;
mod resolver;

use std::net::Ipv4Addr;

use crate::config::AgentConfig;
use crate::fault::{Doing as _, Result};

pub(crate) use link::{host_link, host_links, join, remove_leftovers, remove_link};

/// A container's place in the network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) address: Ipv4Addr,
    /// The only port others may come in by.
    pub(crate) port: Option<u16>,
}

/// Makes the bridge and the rules, or brings what is there up to date. Safe to repeat while containers, which have these places, run.
pub(crate) fn set_up(config: &AgentConfig, containers: &[Place]) -> Result<()> {
    link::make_bridge(&config.bridge, config.gateway(), config.subnet.prefix)?;
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").doing("switching on IPv4 forwarding")?;
    let _no_ipv6 = std::fs::write(format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", config.bridge), "1");
    let resolver = config.resolver.or_else(resolver::host_resolver);
    nft::apply(&nft::rules(config, resolver, containers))
}

/// Lets a container send from its address, and the host come in by its port. To be done before it runs.
pub(crate) fn admit(config: &AgentConfig, place: Place) -> Result<()> {
    nft::apply(&nft::admission(&config.nft_table, place, true))
}

/// The place is nobody's any more. Nothing there is no error.
pub(crate) fn dismiss(config: &AgentConfig, place: Place) -> Result<()> {
    let rules = nft::apply(&nft::admission(&config.nft_table, place, false));
    link::forget(&config.bridge, place.address).and(rules)
}

/// Can this kernel make what containers need? Tried and taken back, in a network namespace of its own.
pub(crate) fn try_links() -> Result<()> {
    let tried = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).doing("making a network namespace")?;
        link::make_bridge("lf-try", Ipv4Addr::new(10, 255, 255, 1), 30)
    });
    tried.join().unwrap_or_else(|_| Err(std::io::Error::other("it failed")).doing("trying a bridge"))
}

/// Removes the bridge, every link on it and the rules. Nothing there is no error.
pub(crate) fn tear_down(config: &AgentConfig) -> Result<()> {
    let links = remove_leftovers(&config.bridge, |_| false);
    let bridge = remove_link(&config.bridge);
    let rules = nft::apply(&nft::removal(&config.nft_table));
    links.and(bridge).and(rules)
}

/// `/etc/resolv.conf` of containers: the bridge, which hands questions to the host's resolver.
pub(crate) fn resolv_conf(gateway: Ipv4Addr) -> String {
    format!("nameserver {gateway}\noptions edns0\n")
}
