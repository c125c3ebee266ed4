//! The rules: what containers may reach. Default deny towards each other, the host, metadata and private ranges.
//!
//! Given to `nft -j -f -` as one transaction: no packet ever sees half of them.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use landfall_runtime_wire::agent::FaultCode;
use serde_json::{Value, json};

use super::Place;
use crate::config::{AgentConfig, Subnet};
use crate::fault::{Doing as _, Result, fault, fault_hint};

/// Loopback, private, shared, link-local (metadata), protocol assignment (RFC 6890), multicast and reserved ranges, and one public address:
/// Azure answers its machines there, and some of what it says is secret.
const PRIVATE: [(&str, u8); 11] = [
    ("0.0.0.0", 8),
    ("10.0.0.0", 8),
    ("100.64.0.0", 10),
    ("127.0.0.0", 8),
    ("168.63.129.16", 32),
    ("169.254.0.0", 16),
    ("172.16.0.0", 12),
    ("192.0.0.0", 24),
    ("192.168.0.0", 16),
    ("224.0.0.0", 4),
    ("240.0.0.0", 4),
];

/// The set of those who may send: hardware and IPv4 address of each container.
const SENDERS: &str = "senders";
/// The set of ways in: IPv4 address and port of each container that is given a port.
const DOORS: &str = "doors";

/// Everything, replacing what was there. `containers`: those that are there already.
pub(super) fn rules(config: &AgentConfig, resolver: Option<Ipv4Addr>, containers: &[Place]) -> Value {
    let table = config.nft_table.as_str();
    let bridge = config.bridge.as_str();
    let subnet = prefix(&config.subnet.address.to_string(), config.subnet.prefix);
    let mut all = removal_list(table);
    all.push(json!({ "add": { "table": { "family": "inet", "name": table } } }));
    let senders = containers.iter().map(|place| sender(place.address)).collect::<Vec<_>>();
    let doors = containers.iter().filter_map(|place| door(*place)).collect::<Vec<_>>();
    for (name, kind, elements) in [(SENDERS, ["ether_addr", "ipv4_addr"], senders), (DOORS, ["ipv4_addr", "inet_service"], doors)] {
        let mut set = json!({ "family": "inet", "table": table, "name": name, "type": kind });
        if !elements.is_empty() {
            set["elem"] = json!(elements);
        }
        all.push(json!({ "add": { "set": set } }));
    }
    for (name, kind, hook, priority) in [
        ("spoofed", "filter", "prerouting", -300),
        // One step before those of others, Docker's among them: a packet is translated once.
        ("dns", "nat", "prerouting", -101),
        ("masquerade", "nat", "postrouting", 100),
        ("to_host", "filter", "input", 0),
        ("from_host", "filter", "output", 0),
        ("through", "filter", "forward", 0),
    ] {
        all.push(json!({ "add": { "chain": {
            "family": "inet", "table": table, "name": name, "type": kind, "hook": hook, "prio": priority, "policy": "accept" } } }));
    }
    let mut rule = |chain: &str, expressions: Value| {
        all.push(json!({ "add": { "rule": { "family": "inet", "table": table, "chain": chain, "expr": expressions } } }));
    };
    let from_container = equal(json!({ "meta": { "key": "iifname" } }), json!(bridge));
    let to_container = equal(json!({ "meta": { "key": "oifname" } }), json!(bridge));
    let known = json!({ "match": { "op": "in", "left": { "ct": { "key": "state" } }, "right": ["established", "related"] } });
    let to = |range: Value| equal(json!({ "payload": { "protocol": "ip", "field": "daddr" } }), range);

    let mut questions = Vec::new();
    if let Some(resolver) = resolver {
        for protocol in ["udp", "tcp"] {
            let port = equal(json!({ "payload": { "protocol": protocol, "field": "dport" } }), json!(53));
            let target = json!({ "dnat": { "family": "ip", "addr": resolver.to_string(), "port": 53 } });
            rule("dns", json!([from_container, to(json!(config.gateway().to_string())), port, target]));
            questions.push(question(&from_container, protocol, config.gateway(), resolver));
        }
    }
    let outwards = json!({ "match": { "op": "!=", "left": { "meta": { "key": "oifname" } }, "right": bridge } });
    let from_subnet = equal(json!({ "payload": { "protocol": "ip", "field": "saddr" } }), subnet);
    rule("masquerade", json!([from_subnet, outwards, { "masquerade": null }]));

    // A port takes frames of one hardware address only (see `link::join`); here it gets its IPv4 address. There is no IPv6.
    let fields = |fields: [(&str, &str); 2]| json!({ "concat": fields.map(|(protocol, field)| json!({ "payload": { "protocol": protocol, "field": field } })) });
    let sender = fields([("ether", "saddr"), ("ip", "saddr")]);
    let unknown = json!({ "match": { "op": "!=", "left": sender, "right": format!("@{SENDERS}") } });
    rule("spoofed", json!([from_container, unknown, { "drop": null }]));
    rule("spoofed", json!([from_container, equal(json!({ "meta": { "key": "nfproto" } }), json!("ipv6")), { "drop": null }]));

    rule("to_host", json!([from_container, known, { "accept": null }]));
    for question in &questions {
        rule("to_host", question.clone());
    }
    rule("to_host", json!([from_container, { "drop": null }]));

    // From this machine there is one way in, and only for router and health checks (and root, who has others).
    let ours = equal(json!({ "meta": { "key": "skuid" } }), json!({ "set": [0, config.server_uid] }));
    let by_the_door = equal(fields([("ip", "daddr"), ("tcp", "dport")]), json!(format!("@{DOORS}")));
    rule("from_host", json!([to_container, known, { "accept": null }]));
    rule("from_host", json!([to_container, ours, by_the_door, { "accept": null }]));
    rule("from_host", json!([to_container, { "drop": null }]));

    rule("through", json!([from_container, to_container, { "drop": null }]));
    rule("through", json!([from_container, known, { "accept": null }]));
    for question in &questions {
        rule("through", question.clone());
    }
    rule("through", json!([from_container, equal(json!({ "meta": { "key": "nfproto" } }), json!("ipv6")), { "drop": null }]));
    for Subnet { address, prefix: bits } in &config.allow_private {
        rule("through", json!([from_container, to(prefix(&address.to_string(), *bits)), { "accept": null }]));
    }
    for (address, bits) in PRIVATE {
        rule("through", json!([from_container, to(prefix(address, bits)), { "drop": null }]));
    }
    rule("through", json!([to_container, known, { "accept": null }]));
    rule("through", json!([to_container, { "drop": null }]));
    json!({ "nftables": all })
}

/// Accepts what the rule for questions translated, and nothing else: other programs' translations (ports that Docker publishes, an operator's
/// redirect) must not open the host to containers.
fn question(from_container: &Value, protocol: &str, gateway: Ipv4Addr, resolver: Ipv4Addr) -> Value {
    let original = |key: &str, value: Value| equal(json!({ "ct": { "key": key, "dir": "original" } }), value);
    json!([
        from_container,
        equal(json!({ "payload": { "protocol": "ip", "field": "daddr" } }), json!(resolver.to_string())),
        equal(json!({ "payload": { "protocol": protocol, "field": "dport" } }), json!(53)),
        { "match": { "op": "in", "left": { "ct": { "key": "status" } }, "right": "dnat" } },
        original("ip daddr", json!(gateway.to_string())),
        original("proto-dst", json!(53)),
        { "accept": null },
    ])
}

/// A container may send and be reached from now on, or no more. Both may be repeated.
pub(super) fn admission(table: &str, place: Place, may: bool) -> Value {
    let sets = [(SENDERS, Some(sender(place.address))), (DOORS, door(place))];
    let changes = sets.into_iter().filter_map(|(set, element)| {
        let element = json!({ "element": { "family": "inet", "table": table, "name": set, "elem": [element?] } });
        // Adding first makes deleting safe when there is none.
        Some(if may { vec![json!({ "add": element })] } else { vec![json!({ "add": element }), json!({ "delete": element })] })
    });
    json!({ "nftables": changes.flatten().collect::<Vec<_>>() })
}

fn sender(address: Ipv4Addr) -> Value {
    let hardware = super::link::mac(address).map(|byte| format!("{byte:02x}")).join(":");
    json!({ "concat": [hardware, address.to_string()] })
}

fn door(place: Place) -> Option<Value> {
    place.port.map(|port| json!({ "concat": [place.address.to_string(), port] }))
}

/// Only the removal.
pub(super) fn removal(table: &str) -> Value {
    json!({ "nftables": removal_list(table) })
}

/// Adding first makes deleting safe when there is none.
fn removal_list(table: &str) -> Vec<Value> {
    let table = json!({ "table": { "family": "inet", "name": table } });
    vec![json!({ "add": table }), json!({ "delete": table })]
}

fn equal(left: Value, right: Value) -> Value {
    json!({ "match": { "op": "==", "left": left, "right": right } })
}

fn prefix(address: &str, bits: u8) -> Value {
    json!({ "prefix": { "addr": address, "len": bits } })
}

/// Hands the rules to nft.
pub(super) fn apply(rules: &Value) -> Result<()> {
    let missing = |error| fault_hint(FaultCode::Internal, format!("running nft: {error}"), "Install it with: apt-get install nftables");
    let mut command = Command::new("nft");
    command.args(["-j", "-f", "-"]).env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(missing)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(rules.to_string().as_bytes()).doing("giving nft the rules")?;
    }
    let output = child.wait_with_output().doing("running nft")?;
    if output.status.success() {
        return Ok(());
    }
    Err(fault(FaultCode::Internal, format!("nft refused the network rules: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Is there a rule that drops what containers send to this address outside?
    fn refused(address: &str) -> bool {
        let rules = rules(&AgentConfig::default(), None, &[]);
        let address: Ipv4Addr = address.parse().unwrap();
        let holds = |range: &Value| {
            let first: Ipv4Addr = range["addr"].as_str().unwrap().parse().unwrap();
            let host_bits = 32 - u32::try_from(range["len"].as_u64().unwrap()).unwrap();
            u32::from(first).checked_shr(host_bits) == u32::from(address).checked_shr(host_bits)
        };
        rules["nftables"].as_array().unwrap().iter().map(|entry| &entry["add"]["rule"]).any(|rule| {
            let expressions = rule["expr"].as_array().map(Vec::as_slice).unwrap_or_default();
            let ranges = expressions.iter().filter_map(|expression| expression["match"]["right"].get("prefix"));
            let drops = expressions.iter().any(|expression| expression.get("drop").is_some());
            rule["chain"] == "through" && drops && ranges.into_iter().any(holds)
        })
    }

    #[test]
    fn addresses_where_clouds_answer_their_machines_are_refused() {
        // Most clouds; Alibaba; Azure's second one; Oracle's first one.
        for address in ["169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192"] {
            assert!(refused(address), "{address}");
        }
        for address in ["1.1.1.1", "168.63.129.15", "168.63.129.17", "192.0.1.1", "198.18.0.1"] {
            assert!(!refused(address), "{address}");
        }
    }
}
