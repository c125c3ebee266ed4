//! The bridge, and the pair of links that joins one container to it.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns};

use super::netlink::{CREATE, Message, Netlink, link_info};
use crate::fault::{Doing as _, Result};

const UP: u32 = libc::IFF_UP as u32;
const VETH_INFO_PEER: u16 = 1;
/// Linux `if_link.h`: what a port of a bridge may do.
const IFLA_BRPORT_LEARNING: u16 = 8;
const IFLA_BRPORT_UNICAST_FLOOD: u16 = 9;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_BRPORT_LOCKED: u16 = 39;
/// Linux `neighbour.h`.
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NTF_MASTER: u8 = 1 << 2;
const NUD_REACHABLE: u16 = 0x02;
const NUD_NOARP: u16 = 0x40;
const NUD_PERMANENT: u16 = 0x80;
const REPLACE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;
const NESTED: u16 = libc::NLA_F_NESTED as u16;

/// The host end's name: the kernel allows 15 characters.
pub(crate) fn host_link(bridge: &str, id: &str) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(format!("{bridge}/{id}"));
    format!("lfv{}", hex::encode(&digest[..6]))
}

/// Makes the bridge and gives it its address. What is there already stays.
pub(super) fn make_bridge(name: &str, address: Ipv4Addr, prefix: u8) -> Result<()> {
    let doing = || format!("making the bridge {name}");
    let mut netlink = Netlink::open().doing(doing())?;
    // A fixed address: otherwise the bridge takes its lowest port's and every container's neighbour table goes wrong when one leaves.
    let made = Message::new(libc::RTM_NEWLINK, CREATE, &link_info(0, 0, 0, 0))
        .text(libc::IFLA_IFNAME, name)
        .attribute(libc::IFLA_ADDRESS, &mac(address))
        .nested(libc::IFLA_LINKINFO, &[], |m| m.text(libc::IFLA_INFO_KIND, "bridge"));
    there_is_fine(netlink.ask(made)).doing(doing())?;
    let index = if_nametoindex(name).doing(doing())?;
    there_is_fine(netlink.ask(add_address(index, address, prefix))).doing(doing())?;
    netlink.ask(Message::new(libc::RTM_NEWLINK, 0, &link_info(0, index, UP, UP))).doing(doing())
}

/// Joins the network namespace of process `pid` to the bridge: `eth0` with its address, a default route, `lo` up. Repeatable.
pub(crate) fn join(bridge: &str, id: &str, pid: i32, address: Ipv4Addr, prefix: u8, gateway: Ipv4Addr) -> Result<()> {
    let doing = || format!("joining container {id} to the bridge {bridge}");
    let namespace: OwnedFd = std::fs::File::open(format!("/proc/{pid}/ns/net")).doing(doing())?.into();
    let name = host_link(bridge, id);
    let bridge_index = if_nametoindex(bridge).doing(doing())?;
    let mut netlink = Netlink::open().doing(doing())?;
    let peer = namespace.as_raw_fd() as u32;
    let pair = || {
        Message::new(libc::RTM_NEWLINK, CREATE, &link_info(0, 0, UP, UP))
            .text(libc::IFLA_IFNAME, &name)
            .number(libc::IFLA_MASTER, bridge_index)
            .nested(libc::IFLA_LINKINFO, &[], |m| {
                m.text(libc::IFLA_INFO_KIND, "veth").nested(libc::IFLA_INFO_DATA, &[], |m| {
                    m.nested(VETH_INFO_PEER, &link_info(0, 0, 0, 0), |m| {
                        m.text(libc::IFLA_IFNAME, "eth0").attribute(libc::IFLA_ADDRESS, &mac(address)).number(libc::IFLA_NET_NS_FD, peer)
                    })
                })
            })
    };
    if let Err(error) = netlink.ask(pair()) {
        if error.raw_os_error() != Some(libc::EEXIST) {
            return Err(error).doing(doing());
        }
        remove_link(&name)?;
        netlink.ask(pair()).doing(doing())?;
    }
    let index = if_nametoindex(name.as_str()).doing(doing())?;
    // Anti-spoofing (S13): the port takes frames of one sender only, learns nothing, and sees nothing that is not for it; and the host asks
    // nobody which sender has the address.
    let alone =
        Message::new(libc::RTM_SETLINK, 0, &link_info(libc::AF_BRIDGE as u8, index, 0, 0)).nested(libc::IFLA_PROTINFO | NESTED, &[], |m| {
            m.attribute(IFLA_BRPORT_ISOLATED, &[1])
                .attribute(IFLA_BRPORT_LEARNING, &[0])
                .attribute(IFLA_BRPORT_UNICAST_FLOOD, &[0])
                .attribute(IFLA_BRPORT_LOCKED, &[1])
        });
    netlink.ask(alone).doing(doing())?;
    let sender = Message::new(libc::RTM_NEWNEIGH, REPLACE, &neighbour(libc::AF_BRIDGE, index, NUD_NOARP | NUD_REACHABLE, NTF_MASTER));
    netlink.ask(sender.attribute(NDA_LLADDR, &mac(address))).doing(doing())?;
    let known = Message::new(libc::RTM_NEWNEIGH, REPLACE, &neighbour(libc::AF_INET, bridge_index, NUD_PERMANENT, 0));
    netlink.ask(known.attribute(NDA_DST, &address.octets()).attribute(NDA_LLADDR, &mac(address))).doing(doing())?;
    let inside = std::thread::Builder::new().name("netns".to_owned()).spawn(move || inside(namespace, address, prefix, gateway));
    inside.and_then(|helper| helper.join().unwrap_or_else(|_| Err(io::Error::other("the helper thread failed")))).doing(doing())
}

/// The hardware address of an IPv4 address, locally administered. The host remembers for up to a minute which hardware an address has: whoever
/// gets the address next must be found there.
pub(super) fn mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x1f, a, b, c, d]
}

/// `struct ndmsg`: family, padding, index, state, flags, type.
fn neighbour(family: i32, index: u32, state: u16, flags: u8) -> [u8; 12] {
    let mut fixed = [0; 12];
    fixed[0] = family as u8;
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..10].copy_from_slice(&state.to_ne_bytes());
    fixed[10] = flags;
    fixed
}

/// What the host knows of an address nobody has any more. Nothing there is no error.
pub(super) fn forget(bridge: &str, address: Ipv4Addr) -> Result<()> {
    let Ok(index) = if_nametoindex(bridge) else { return Ok(()) };
    let entry = Message::new(libc::RTM_DELNEIGH, 0, &neighbour(libc::AF_INET, index, 0, 0)).attribute(NDA_DST, &address.octets());
    match Netlink::open().and_then(|mut netlink| netlink.ask(entry)) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other.doing(format!("forgetting the neighbour {address}")),
    }
}

/// Runs on a thread of its own, which ends in the container's network namespace.
fn inside(namespace: OwnedFd, address: Ipv4Addr, prefix: u8, gateway: Ipv4Addr) -> io::Result<()> {
    setns(namespace, CloneFlags::CLONE_NEWNET)?;
    let mut netlink = Netlink::open()?;
    let (lo, eth0) = (if_nametoindex("lo")?, if_nametoindex("eth0")?);
    let _no_ipv6 = std::fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1");
    netlink.ask(Message::new(libc::RTM_NEWLINK, 0, &link_info(0, lo, UP, UP)))?;
    netlink.ask(add_address(eth0, address, prefix))?;
    netlink.ask(Message::new(libc::RTM_NEWLINK, 0, &link_info(0, eth0, UP, UP)))?;
    // struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
    let mut fixed =
        [libc::AF_INET as u8, 0, 0, 0, libc::RT_TABLE_MAIN, libc::RTPROT_BOOT, libc::RT_SCOPE_UNIVERSE, libc::RTN_UNICAST, 0, 0, 0, 0];
    fixed[8..].copy_from_slice(&0_u32.to_ne_bytes());
    let route =
        Message::new(libc::RTM_NEWROUTE, CREATE, &fixed).attribute(libc::RTA_GATEWAY, &gateway.octets()).number(libc::RTA_OIF, eth0);
    netlink.ask(route)
}

fn add_address(index: u32, address: Ipv4Addr, prefix: u8) -> Message {
    let mut fixed = [libc::AF_INET as u8, prefix, 0, libc::RT_SCOPE_UNIVERSE, 0, 0, 0, 0];
    fixed[4..].copy_from_slice(&index.to_ne_bytes());
    Message::new(libc::RTM_NEWADDR, CREATE, &fixed)
        .attribute(libc::IFA_LOCAL, &address.octets())
        .attribute(libc::IFA_ADDRESS, &address.octets())
}

fn there_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        other => other,
    }
}

/// Removes one link of this host. Nothing there is no error.
pub(crate) fn remove_link(name: &str) -> Result<()> {
    let Ok(index) = if_nametoindex(name) else { return Ok(()) };
    let removed = Netlink::open().and_then(|mut netlink| netlink.ask(Message::new(libc::RTM_DELLINK, 0, &link_info(0, index, 0, 0))));
    match removed {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        other => other.doing(format!("removing the link {name}")),
    }
}

/// Removes links on the bridge that are of no container to keep.
pub(crate) fn remove_leftovers(bridge: &str, keep: impl Fn(&str) -> bool) -> Result<()> {
    let Ok(ports) = std::fs::read_dir(format!("/sys/class/net/{bridge}/brif")) else { return Ok(()) };
    for port in ports.flatten() {
        let name = port.file_name().to_string_lossy().into_owned();
        if name.starts_with("lfv") && !keep(&name) {
            remove_link(&name)?;
        }
    }
    Ok(())
}

/// The names [`remove_leftovers`] shall keep.
pub(crate) fn host_links<'a>(bridge: &str, ids: impl Iterator<Item = &'a str>) -> std::collections::HashSet<String> {
    ids.map(|id| host_link(bridge, id)).collect()
}
