//! What an agent needs to know, with every limit as a number in one place.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

/// Typed config of one agent. Several agents run side by side when `data_dir`, `run_dir`, `bridge`, `subnet`, `nft_table` and
/// `cgroup_parent` differ; [`AgentConfig::isolated`] makes such a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentConfig {
    /// Images and container roots, root only. Default `/var/lib/landfall/agent`.
    pub data_dir: PathBuf,
    /// `agent.sock` and `agent/containers/<id>/`. Default `/run/landfall`.
    pub run_dir: PathBuf,
    /// Our own programs: `landfall-shim`, `landfall-init`, …. Default `/usr/local/lib/landfall`.
    pub libexec_dir: PathBuf,
    /// The bridge's name, at most 12 characters. Default `landfall0`.
    pub bridge: String,
    /// Addresses of containers; the first is the bridge's. Default `10.206.0.0/16`.
    pub subnet: Subnet,
    /// Name of the nftables table (family inet). Default `landfall`.
    pub nft_table: String,
    /// The cgroup all containers are under, from the root of the hierarchy. Default `landfall`. Where systemd runs it must lie below a
    /// unit with `Delegate=yes`.
    pub cgroup_parent: String,
    /// This uid may talk to the agent, beside root. Default 0.
    pub server_uid: u32,
    /// Host id of the first user block. Default 100,000.
    pub uid_base: u32,
    /// Certificates of the operator's own authorities, PEM; trusted in every container and when stacks are made.
    pub ca_bundle: Option<PathBuf>,
    /// Where Debian packages come from. Default `http://deb.debian.org/debian`.
    pub debian_mirror: String,
    /// Private ranges that containers may reach all the same.
    pub allow_private: Vec<Subnet>,
    /// Whom containers' questions for names go to, on port 53. Default: the host's own resolver.
    pub resolver: Option<Ipv4Addr>,
    /// Use this OCI runtime (`crun`, `runc`, `runsc`) by path, in place of the built-in engine.
    pub oci_runtime: Option<PathBuf>,
    /// Numbers.
    pub limits: AgentLimits,
}

/// Every limit of the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentLimits {
    /// From request to running process. Default 10 s: a pre-frozen cgroup hangs a runtime forever.
    pub create_timeout: Duration,
    /// Connections at the same time. Default 1,024.
    pub connections: usize,
    /// Container starts at the same time. Default 8.
    pub concurrent_starts: usize,
    /// Events a slow watcher may be behind before it is cut off. Default 1,024.
    pub watch_backlog: usize,
    /// Writable bytes of a container that asked for no limit, and one file for every 16 KiB of them. Default 4 GiB.
    pub disk_bytes: u64,
    /// Hundredths of one CPU that a container which asked for no limit uses at most. Default: nine tenths of all CPUs, so that no app leaves the
    /// platform without any.
    pub cpu_percent: u32,
    /// Most files of a build. Default 1,000,000.
    pub build_files: u64,
    /// How often the disk is looked at (and a writable root measured, if it could be full). Default 1 s.
    pub disk_check: Duration,
    /// How often the memory of containers with a quota is looked at, and how often one that is over it is told so. Default 20 s, Heroku's.
    pub memory_check: Duration,
    /// Most bytes of output a container logs in a second; more is dropped and counted. As many may wait in memory for a slow disk. Default 16 MiB,
    /// some 200,000 lines.
    pub log_bytes_per_second: u64,
    /// A build ends when the disk has fewer bytes free. Default 256 MiB.
    pub disk_reserve: u64,
    /// Longest time a stack may take. Default 30 min.
    pub stack_timeout: Duration,
}

impl Default for AgentLimits {
    fn default() -> Self {
        Self {
            create_timeout: Duration::from_secs(10),
            connections: 1024,
            concurrent_starts: 8,
            watch_backlog: 1024,
            disk_bytes: 4 << 30,
            cpu_percent: std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX / 90)) * 90,
            build_files: 1_000_000,
            disk_check: Duration::from_secs(1),
            memory_check: Duration::from_secs(20),
            log_bytes_per_second: 16 << 20,
            disk_reserve: 256 << 20,
            stack_timeout: Duration::from_mins(30),
        }
    }
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            data_dir: "/var/lib/landfall/agent".into(),
            run_dir: "/run/landfall".into(),
            libexec_dir: "/usr/local/lib/landfall".into(),
            bridge: "landfall0".to_owned(),
            subnet: Subnet { address: Ipv4Addr::new(10, 206, 0, 0), prefix: 16 },
            nft_table: "landfall".to_owned(),
            cgroup_parent: "landfall".to_owned(),
            server_uid: 0,
            uid_base: 100_000,
            ca_bundle: None,
            debian_mirror: "http://deb.debian.org/debian".to_owned(),
            allow_private: Vec::new(),
            resolver: None,
            oci_runtime: None,
            limits: AgentLimits::default(),
        }
    }
}

impl AgentConfig {
    /// A config whose kernel names carry `name` (at most 9 of `[a-z0-9]`) and whose files are under `dir`: an instance beside others.
    pub fn isolated(name: &str, dir: &std::path::Path, subnet: Subnet) -> Self {
        Self {
            data_dir: dir.join("data/agent"),
            run_dir: dir.join("run"),
            bridge: format!("lf-{name}"),
            subnet,
            nft_table: format!("landfall_{name}"),
            cgroup_parent: format!("landfall-{name}"),
            ..Self::default()
        }
    }

    /// The agent's socket.
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join("agent.sock")
    }

    /// Where images are.
    pub fn images_dir(&self) -> PathBuf {
        self.data_dir.join("images")
    }

    /// Run-time files of one container: config, sockets, pid.
    pub fn container_run_dir(&self, id: &str) -> PathBuf {
        self.run_dir.join("agent/containers").join(id)
    }

    /// Data of one container: upper, work, bundle.
    pub fn container_data_dir(&self, id: &str) -> PathBuf {
        self.data_dir.join("containers").join(id)
    }

    /// The bridge's own address: the first of the subnet.
    pub fn gateway(&self) -> Ipv4Addr {
        self.subnet.nth(1)
    }

    /// Everything wrong with it, in one go.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !word(&self.bridge) || self.bridge.len() > 12 {
            problems.push(format!("bridge name {:?} must be 1 to 12 of a-z, 0-9, - and _", self.bridge));
        }
        if !word(&self.nft_table) || self.nft_table.contains('-') || !self.nft_table.starts_with(|c: char| c.is_ascii_alphabetic()) {
            problems.push(format!("nft table name {:?} must start with a letter and hold a-z, 0-9 and _ only", self.nft_table));
        }
        let part = |part: &str| !part.starts_with('.') && word(&part.replace('.', "-"));
        if !self.cgroup_parent.split('/').all(part) {
            problems.push(format!(
                "cgroup parent {:?} must be names of a-z, 0-9, - and _, with . inside and / between them",
                self.cgroup_parent
            ));
        }
        if !(8..=28).contains(&self.subnet.prefix) {
            problems.push(format!("subnet {} must have a prefix from /8 to /28", self.subnet));
        }
        if self.uid_base < 100_000 {
            problems
                .push(format!("uid base {} must be 100000 or more, or containers would share ids with the host's people", self.uid_base));
        }
        problems
    }
}

/// An IPv4 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Its first address.
    pub address: Ipv4Addr,
    /// Bits of the network part.
    pub prefix: u8,
}

impl Subnet {
    /// How many addresses it has.
    pub fn size(self) -> u32 {
        u32::try_from(1_u64 << (32 - u32::from(self.prefix.min(32)))).unwrap_or(u32::MAX)
    }

    /// Its nth address.
    pub fn nth(self, n: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address).wrapping_add(n))
    }

    /// Which address of it this is.
    pub fn index_of(self, ip: Ipv4Addr) -> Option<u32> {
        let offset = u32::from(ip).checked_sub(u32::from(self.address))?;
        (offset < self.size()).then_some(offset)
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Not an IPv4 network.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not an IPv4 network such as 10.206.0.0/16")]
pub struct BadSubnet(String);

impl std::str::FromStr for Subnet {
    type Err = BadSubnet;
    fn from_str(text: &str) -> Result<Self, BadSubnet> {
        let bad = || BadSubnet(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(bad)?;
        let subnet = Self { address: address.parse().map_err(|_| bad())?, prefix: prefix.parse().map_err(|_| bad())? };
        let host_bits = u32::from(subnet.address) & (subnet.size().wrapping_sub(1));
        if subnet.prefix > 32 || host_bits != 0 { Err(bad()) } else { Ok(subnet) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_parse_and_count() {
        let subnet: Subnet = "10.206.0.0/16".parse().unwrap();
        assert_eq!(subnet, AgentConfig::default().subnet);
        assert_eq!(
            (subnet.size(), subnet.nth(258), subnet.index_of(Ipv4Addr::new(10, 206, 1, 2))),
            (65_536, Ipv4Addr::new(10, 206, 1, 2), Some(258))
        );
        assert_eq!(subnet.index_of(Ipv4Addr::new(10, 207, 0, 0)), None);
        for bad in ["10.0.0.1/16", "10.0.0.0", "10.0.0.0/33", "x/8"] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn problems_are_told_together() {
        assert!(AgentConfig::default().problems().is_empty());
        let bad =
            AgentConfig { bridge: "much-too-long-a-name".to_owned(), nft_table: "a-b".to_owned(), uid_base: 0, ..AgentConfig::default() };
        assert_eq!(bad.problems().len(), 3);
        let below = |cgroup_parent: &str| AgentConfig { cgroup_parent: cgroup_parent.to_owned(), ..AgentConfig::default() }.problems();
        assert!(below("system.slice/landfall.service/dynos").is_empty());
        for bad in ["", "/landfall", "a//b", "a/../b", "a b"] {
            assert_eq!(below(bad).len(), 1, "{bad}");
        }
    }
}
