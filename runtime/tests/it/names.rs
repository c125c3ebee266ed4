//! The one door to the host: questions for names. And that nobody else's rules make another.

use std::net::Ipv4Addr;
use std::process::Command;

use landfall_runtime::AgentConfig;

use crate::harness::{Instance, exec};
use crate::network::{Outside, ip, reaches};

/// What every name stands for here.
const ANSWER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);

#[tokio::test(flavor = "multi_thread")]
async fn questions_for_names_reach_the_resolver_elsewhere_and_on_the_host() {
    let elsewhere = Instance::with(|config| config.resolver = Some(of_its_own(config, 31))).await;
    let outside = Outside::new(&elsewhere);
    assert_eq!(elsewhere.config.resolver, Some(outside.private), "a private address, as most resolvers have");
    serve(Some(&outside.name), outside.private);
    asks(&elsewhere).await;

    let here = Instance::with(|config| config.resolver = Some(of_its_own(config, 30))).await;
    let address = here.config.resolver.unwrap();
    ip(&["address", "add", &format!("{address}/32"), "dev", &here.config.bridge]);
    serve(None, address);
    asks(&here).await;
}

/// Docker publishes ports this way, and operators send port 80 to where their server listens.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_translate_opens_neither_host_nor_private_ranges() {
    let instance = Instance::with(|config| config.resolver = Some(of_its_own(config, 31))).await;
    let outside = Outside::new(&instance);
    let (gateway, public, private) = (instance.config.gateway(), outside.public, outside.private);
    let listener = tokio::net::TcpListener::bind((gateway, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(greet(listener));
    assert!(tokio::net::TcpStream::connect((gateway, port)).await.is_ok(), "the host itself gets there");
    let _foreign = Foreign::new(
        &instance.config,
        &format!(
            "ip daddr {public} tcp dport 8080 dnat ip to {public}:7000
             ip daddr {public} tcp dport 8081 dnat ip to {gateway}:{port}
             ip daddr {gateway} tcp dport 8082 redirect to :{port}
             ip daddr {gateway} tcp dport 53 redirect to :{port}
             ip daddr {gateway} tcp dport 8083 dnat ip to {private}:7000"
        ),
    );
    instance.agent.start(instance.spec("c", &["sleep", "600"])).await.unwrap();
    assert!(reaches(&instance, "c", &format!("{public}:8080"), 20).await, "others translate, and to public addresses they may");
    for (address, port) in [(public, 8081), (gateway, 8082), (gateway, 53), (gateway, 8083)] {
        assert!(!reaches(&instance, "c", &format!("{address}:{port}"), 2).await, "{address}:{port}");
    }
}

/// Names are looked up over UDP, and TCP is open too; the resolver itself stays as closed as its address says.
async fn asks(instance: &Instance) {
    instance.agent.start(instance.spec("c", &["sleep", "600"])).await.unwrap();
    let (said, _) = exec(instance, "c", &["nslookup", "landfall.test"]).await;
    assert!(said.contains(&ANSWER.to_string()), "{said}");
    assert!(reaches(instance, "c", &format!("{}:53", instance.config.gateway()), 20).await, "over TCP");
    let resolver = instance.config.resolver.unwrap();
    assert!(!reaches(instance, "c", &format!("{resolver}:53"), 2).await, "past the bridge's address");
}

/// An address that no other instance has: a subnet here is 16 addresses.
fn of_its_own(config: &AgentConfig, second: u8) -> Ipv4Addr {
    let [_, _, a, b] = (u32::from(config.subnet.address) >> 4).to_be_bytes();
    Ipv4Addr::new(172, second, a, b)
}

/// A resolver at an address, in a network namespace if one is named, until the test ends.
fn serve(namespace: Option<&str>, address: Ipv4Addr) {
    let bind = || {
        if let Some(name) = namespace {
            let file = std::fs::File::open(format!("/run/netns/{name}")).unwrap();
            nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        }
        (std::net::UdpSocket::bind((address, 53)).unwrap(), std::net::TcpListener::bind((address, 53)).unwrap())
    };
    // A thread of its own: only that one is in the other namespace.
    let (udp, tcp) = std::thread::scope(|scope| scope.spawn(bind).join().unwrap());
    udp.set_nonblocking(true).unwrap();
    tcp.set_nonblocking(true).unwrap();
    tokio::spawn(greet(tokio::net::TcpListener::from_std(tcp).unwrap()));
    let udp = tokio::net::UdpSocket::from_std(udp).unwrap();
    tokio::spawn(async move {
        let mut question = [0; 512];
        while let Ok((length, from)) = udp.recv_from(&mut question).await {
            udp.send_to(&answer(&question[..length]), from).await.unwrap();
        }
    });
}

/// Takes connections and closes them.
async fn greet(listener: tokio::net::TcpListener) {
    while listener.accept().await.is_ok() {}
}

/// RFC 1035, section 4: the header, the question as it came, and for a question of type A one record.
fn answer(question: &[u8]) -> Vec<u8> {
    let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let is_a = question[end - 4..end - 2] == [0, 1];
    let header = [0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0];
    let mut all = [&question[..2], &header, &question[12..end]].concat();
    if is_a {
        all.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        all.extend(ANSWER.octets());
    }
    all
}

/// Somebody else's table that translates what comes from this instance's containers, before Landfall's.
struct Foreign {
    table: String,
}

impl Foreign {
    fn new(config: &AgentConfig, rules: &str) -> Self {
        let foreign = Self { table: format!("foreign_{}", config.nft_table) };
        let rules: String = rules.lines().map(|rule| format!("iifname {} {}; ", config.bridge, rule.trim())).collect();
        let chain = format!("chain c {{ type nat hook prerouting priority -110; {rules}}};");
        let made = Command::new("nft").arg(format!("table inet {} {{ {chain} }}", foreign.table)).status().unwrap();
        assert!(made.success());
        foreign
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _gone = Command::new("nft").args(["delete", "table", "inet", &self.table]).status();
    }
}
