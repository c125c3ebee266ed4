//! Who may reach whom.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use landfall_runtime::wire::ContainerState;

use crate::harness::{Instance, exec};

#[tokio::test(flavor = "multi_thread")]
async fn the_host_reaches_dynos_and_dynos_reach_neither_each_other_nor_the_host() {
    let instance = Instance::new().await;
    let mut addresses = Vec::new();
    for id in ["a", "b"] {
        let mut spec = instance.spec(id, &["sh", "-c", "echo works > /app/x; httpd -p 8001 -h /app; exec httpd -f -p 8000 -h /app"]);
        spec.port = Some(8000);
        addresses.push(instance.agent.start(spec).await.unwrap().ip.unwrap());
        instance.reach(id, |state| *state == ContainerState::Ready).await;
    }
    for address in &addresses {
        let mut stream = std::net::TcpStream::connect_timeout(&(*address, 8000).into(), Duration::from_secs(5)).unwrap();
        stream.write_all(b"GET /x HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.contains("works"), "{text}");
    }
    for port in [8000, 8001] {
        assert!(reaches(&instance, "a", &format!("{}:{port}", addresses[0]), 20).await, "the tool works");
    }
    for address in &addresses {
        let comes_in = |user: &str| {
            let program = format!("import socket; socket.create_connection(('{address}', 8000), 1)");
            let args = [&format!("--reuid={user}"), "--clear-groups", "/usr/bin/python3", "-c", &program];
            std::process::Command::new("setpriv").args(args).output().unwrap().status.success()
        };
        assert!(comes_in("0") && !comes_in("4242"), "an account of the host that is not the router's");
        let other = std::net::TcpStream::connect_timeout(&(*address, 8001).into(), Duration::from_secs(1));
        assert!(other.is_err(), "the host came in by another port than the one that was given");
    }
    assert!(!reaches(&instance, "a", &format!("{}:8000", addresses[1]), 2).await, "dyno reached dyno");

    // The bridge has this address, and something listens on it: a dyno must not get there.
    let gateway = instance.config.gateway();
    let listener = std::net::TcpListener::bind((gateway, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let host = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(2));
    assert!(host.is_ok() && listener.accept().is_ok(), "the host itself gets there");
    assert!(!reaches(&instance, "a", &address.to_string(), 2).await);
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "dyno reached the host");
    let (text, _) = exec(&instance, "a", &["cat", "/etc/resolv.conf"]).await;
    assert!(text.contains(&gateway.to_string()), "{text}");
}

/// The host remembers for up to a minute where an address was.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_an_address_next_is_reached_at_once() {
    // Thirteen addresses: the fourteenth container has the first one's.
    let instance = Instance::with(|config| config.subnet.prefix = 28).await;
    let mut given = Vec::new();
    for turn in 0..14 {
        let id = format!("turn-{turn}");
        let mut spec = instance.spec(&id, &["httpd", "-f", "-p", "8000"]);
        spec.port = Some(8000);
        let address = instance.agent.start(spec).await.unwrap().ip.unwrap();
        instance.reach(&id, |state| *state == ContainerState::Ready).await;
        std::net::TcpStream::connect_timeout(&(address, 8000).into(), Duration::from_secs(1)).expect(&id);
        instance.agent.stop(&instance.spec(&id, &[]).id, Duration::ZERO).await.unwrap();
        instance.agent.remove(&instance.spec(&id, &[]).id).await.unwrap();
        given.push(address);
    }
    assert_eq!(given[13], given[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn outwards_goes_through_nat_only_where_allowed() {
    // An "internet" of our own: a veth pair whose far end, in another namespace, has a public and a private address.
    let instance = Instance::new().await;
    let outside = Outside::new(&instance);
    instance.agent.start(instance.spec("c", &["sleep", "600"])).await.unwrap();
    assert!(reaches(&instance, "c", &format!("{}:7000", outside.public), 20).await, "a dyno reaches public addresses");
    assert!(!reaches(&instance, "c", &format!("{}:7000", outside.private), 2).await, "a dyno must not reach private addresses");
    assert!(std::net::TcpStream::connect_timeout(&(outside.private, 7000).into(), Duration::from_secs(2)).is_ok(), "the host reaches it");
    let metadata = format!("{}:7000", outside.metadata);
    assert!(std::net::TcpStream::connect_timeout(&metadata.parse().unwrap(), Duration::from_secs(2)).is_ok(), "the host reaches it");
    assert!(!reaches(&instance, "c", &metadata, 2).await, "a dyno must not reach link-local addresses, where clouds keep their secrets");
}

/// No process of a container can make such packets: it has no capability for that. Should one ever get it, here is what happens to them.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_sends_as_somebody_else_and_nobody_speaks_ipv6() {
    let instance = Instance::new().await;
    let outside = Outside::new(&instance);
    let address = |id: &'static str| {
        let started = instance.agent.start(instance.spec(id, &["sleep", "600"]));
        async { started.await.unwrap().ip.unwrap() }
    };
    let (a, b) = (address("a").await, address("b").await);
    let inside = |id: &str, args: &[&str]| {
        let pid = first_process(&instance, id);
        std::process::Command::new("nsenter").args(["-t", &pid, "-n"]).args(args).output().unwrap()
    };
    let change = |args: &[&str]| assert!(inside("a", args).status.success(), "{args:?}");
    let arrives = |from: std::net::Ipv4Addr| {
        let before = outside.heard();
        let program = format!(
            "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('{from}', 0)); s.sendto(b'x', ('{}', 9))",
            outside.public
        );
        let sent = inside("a", &["python3", "-c", &program]);
        assert!(sent.status.success(), "{sent:?}");
        // Delivery is done when the call returns, unless an address must be asked for first.
        let until = std::time::Instant::now() + Duration::from_millis(500);
        while outside.heard() == before && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        outside.heard() > before
    };
    assert!(arrives(a), "what it sends as itself arrives");
    change(&["ip", "address", "add", &format!("{b}/32"), "dev", "eth0"]);
    assert!(!arrives(b), "with its neighbour's address");
    change(&["ip", "address", "add", "198.51.100.7/32", "dev", "eth0"]);
    assert!(!arrives("198.51.100.7".parse().unwrap()), "with a foreign address");

    let hardware = |ip: std::net::Ipv4Addr| format!("02:1f:{}", ip.octets().map(|byte| format!("{byte:02x}")).join(":"));
    let gateway = instance.config.gateway();
    change(&["ip", "neighbour", "replace", &gateway.to_string(), "lladdr", &hardware(gateway), "dev", "eth0"]);
    assert!(arrives(a));
    change(&["ip", "link", "set", "eth0", "address", &hardware(b)]);
    change(&["ip", "neighbour", "replace", &gateway.to_string(), "lladdr", &hardware(gateway), "dev", "eth0"]);
    assert!(!arrives(a) && !arrives(b), "with its neighbour's hardware address");
    change(&["ip", "link", "set", "eth0", "address", &hardware(a)]);
    change(&["ip", "neighbour", "replace", &gateway.to_string(), "lladdr", &hardware(gateway), "dev", "eth0"]);
    assert!(arrives(a), "with its own again");

    for id in ["a", "b"] {
        let enabled = inside(
            id,
            &[
                "sh",
                "-c",
                "echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6; \
                                                ip -6 address add fd00::$1/64 dev eth0 nodad",
                "sh",
                if id == "a" { "a" } else { "b" },
            ],
        );
        assert!(enabled.status.success(), "{enabled:?}");
    }
    let ping = |to: &str| inside("a", &["busybox", "ping6", "-c", "1", "-W", "1", to]).status.success();
    assert!(ping("fd00::a") && !ping("fd00::b"), "the tool works, and the neighbour hears nothing");
}

/// Any process of a container, as the host knows it.
pub(crate) fn first_process(instance: &Instance, id: &str) -> String {
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
    let lists = hierarchies.map(|dir| dir.join(&instance.config.cgroup_parent).join(id).join("cgroup.procs"));
    let lists =
        lists.chain([std::path::PathBuf::from("/sys/fs/cgroup").join(&instance.config.cgroup_parent).join(id).join("cgroup.procs")]);
    let mut pids = lists.filter_map(|list| Some(std::fs::read_to_string(list).ok()?.lines().next()?.to_owned()));
    pids.next().expect("a process")
}

/// Can a connection be made inside a container within so many seconds? The server answers the empty line and closes.
pub(crate) async fn reaches(instance: &Instance, id: &str, address: &str, seconds: u32) -> bool {
    let (host, port) = address.rsplit_once(':').unwrap();
    exec(instance, id, &["sh", "-c", &format!("echo | nc -w {seconds} {host} {port}")]).await.1 == 0
}

/// A network namespace that serves a file on a public and a private address.
pub(crate) struct Outside {
    pub(crate) name: String,
    pub(crate) public: std::net::Ipv4Addr,
    pub(crate) private: std::net::Ipv4Addr,
    metadata: std::net::Ipv4Addr,
    server: std::process::Child,
}

impl Outside {
    pub(crate) fn new(instance: &Instance) -> Self {
        let name = format!("{}-out", instance.config.bridge);
        // One of each kind, and nobody else's: a subnet here is 16 addresses.
        let [_, _, a, b] = (u32::from(instance.config.subnet.address) >> 4).to_be_bytes();
        let [public, private, metadata] =
            [(198, 18), (172, 31), (169, 254)].map(|(first, second)| std::net::Ipv4Addr::new(first, second, a, b));
        let link = format!("{}o", instance.config.bridge);
        let root = instance.dir.path().join("outside");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("x"), "outside").unwrap();
        ip(&["netns", "add", &name]);
        let server = std::process::Command::new("ip")
            .args(["netns", "exec", &name, "/bin/busybox", "httpd", "-f", "-p", "7000", "-h", root.to_str().unwrap()])
            .spawn()
            .unwrap();
        let outside = Self { name, public, private, metadata, server };
        ip(&["link", "add", &link, "type", "veth", "peer", "name", "far", "netns", &outside.name]);
        ip(&["link", "set", &link, "up"]);
        ip(&["-n", &outside.name, "link", "set", "far", "up"]);
        for address in [public.to_string(), private.to_string(), metadata.to_string()] {
            ip(&["route", "add", &address, "dev", &link]);
            ip(&["-n", &outside.name, "addr", "add", &address, "dev", "far"]);
        }
        ip(&["-n", &outside.name, "route", "add", "default", "dev", "far"]);
        let until = std::time::Instant::now() + Duration::from_secs(5);
        while std::net::TcpStream::connect((public, 7000)).is_err() {
            assert!(std::time::Instant::now() < until, "the outside listens");
            std::thread::sleep(Duration::from_millis(20));
        }
        outside
    }
}

impl Outside {
    /// How many datagrams came to a port of it that nobody listens on. (Packets of the link would be the neighbours' questions, too.)
    fn heard(&self) -> u64 {
        let read = std::process::Command::new("ip").args(["netns", "exec", &self.name, "cat", "/proc/net/snmp"]).output().unwrap();
        let text = String::from_utf8(read.stdout).unwrap();
        // "Udp: InDatagrams NoPorts …", then the line of its numbers.
        text.lines().filter(|line| line.starts_with("Udp: ")).nth(1).unwrap().split(' ').nth(2).unwrap().parse().unwrap()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _dead = self.server.kill();
        let _reaped = self.server.wait();
        let _gone = std::process::Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

pub(crate) fn ip(args: &[&str]) {
    let status = std::process::Command::new("ip").args(args).status().unwrap();
    assert!(status.success(), "ip {args:?}");
}
