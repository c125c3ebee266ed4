//! Limits and places of the git receiver and of builds: plain numbers with documented defaults (trust rule R9).

use std::path::PathBuf;
use std::time::Duration;

use crate::source::SourceLimits;

/// One mebibyte.
const MIB: u64 = 1024 * 1024;

/// The git receiver.
#[derive(Clone, Debug)]
pub struct GitConfig {
    /// Bare repositories, `<app id>.git` each. Default `/var/lib/landfall/git`.
    pub repositories: PathBuf,
    /// Directory that holds the hook program under the names `pre-receive` and `proc-receive`; root-owned, outside every repository.
    /// Default `/usr/local/lib/landfall/hooks`.
    pub hooks: PathBuf,
    /// The Unix socket the hook reports to. Default `/run/landfall/server.sock`.
    pub hook_socket: PathBuf,
    /// The SSH host key, made on first use with mode 0600. Default `/var/lib/landfall/ssh_host_ed25519_key`.
    pub host_key: PathBuf,
    /// The git program. Default `/usr/bin/git`.
    pub git: PathBuf,
    /// Longest pack one push may send, in bytes. Default 512 MiB: code, not data.
    pub max_push_bytes: u64,
    /// A repository that takes more than this many bytes takes no push. Default 2 GiB: no app fills the disk, one push after the other.
    pub max_repository_bytes: u64,
    /// Most SSH connections at once, in any state. Default 200.
    pub max_connections: usize,
    /// Most SSH connections that have not authenticated yet. Default 50.
    pub max_unauthenticated: usize,
    /// Most git processes at once, over SSH and HTTP; more are told to try again. Default 32.
    pub max_processes: usize,
    /// Most of them for one account. Default 8.
    pub max_processes_per_account: usize,
    /// Most channels open in one SSH connection. Default 4 (git uses one).
    pub max_channels: usize,
    /// Most keys one SSH connection may try. Default 6.
    pub max_auth_tries: usize,
    /// An SSH connection must have authenticated within this time. Default 20 s.
    pub login_grace: Duration,
    /// What people call this server in messages, without scheme. Default `localhost:5000`.
    pub host_label: String,
}

impl Default for GitConfig {
    fn default() -> Self {
        Self {
            repositories: "/var/lib/landfall/git".into(),
            hooks: "/usr/local/lib/landfall/hooks".into(),
            hook_socket: "/run/landfall/server.sock".into(),
            host_key: "/var/lib/landfall/ssh_host_ed25519_key".into(),
            git: "/usr/bin/git".into(),
            max_push_bytes: 512 * MIB,
            max_repository_bytes: 2048 * MIB,
            max_connections: 200,
            max_unauthenticated: 50,
            max_processes: 32,
            max_processes_per_account: 8,
            max_channels: 4,
            max_auth_tries: 6,
            login_grace: Duration::from_secs(20),
            host_label: "localhost:5000".to_owned(),
        }
    }
}

/// Builds.
#[derive(Clone, Debug)]
pub struct BuildConfig {
    /// One directory a build: `<build id>/source`, `<build id>/log`. Default `/var/lib/landfall/builds`.
    pub builds: PathBuf,
    /// Builds that may run at the same time on this machine. Default 1 on one or two cores, else a third of the cores.
    pub concurrency: usize,
    /// A build is ended after this time. Default 15 minutes, as Heroku's.
    pub wall: Duration,
    /// Hard memory limit of the build container in bytes. Default 2 GiB.
    pub memory_bytes: u64,
    /// CPU weight of the build container. Default 128: an eighth of a dyno, so that running apps come first.
    pub cpu_shares: u64,
    /// Most processes and threads in the build container. Default 1024.
    pub pids: u64,
    /// Most bytes a build may write. Default 4 GiB.
    pub disk_bytes: u64,
    /// What a source tree may hold at most.
    pub source: SourceLimits,
    /// Longest build log kept, in bytes; more output is dropped and said so. Default 16 MiB.
    pub log_bytes: u64,
    /// What the operator gives every build: mirrors, proxies, CA bundle.
    pub settings: BuildSettings,
}

impl Default for BuildConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            builds: "/var/lib/landfall/builds".into(),
            concurrency: (cores / 3).max(1),
            wall: Duration::from_mins(15),
            memory_bytes: 2048 * MIB,
            cpu_shares: 128,
            pids: 1024,
            disk_bytes: 4096 * MIB,
            source: SourceLimits::default(),
            log_bytes: 16 * MIB,
            settings: BuildSettings::default(),
        }
    }
}

/// The operator's `[build.settings]` table. Each becomes the variables the tools of each language read.
#[derive(Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuildSettings {
    /// `HTTP_PROXY` and `http_proxy`.
    pub http_proxy: Option<String>,
    /// `HTTPS_PROXY` and `https_proxy`.
    pub https_proxy: Option<String>,
    /// `NO_PROXY` and `no_proxy`.
    pub no_proxy: Option<String>,
    /// A PyPI simple index: `PIP_INDEX_URL`, `UV_DEFAULT_INDEX`.
    pub pip_index: Option<String>,
    /// An npm registry: `NPM_CONFIG_REGISTRY`, `YARN_NPM_REGISTRY_SERVER`, `YARN_REGISTRY`.
    pub npm_registry: Option<String>,
    /// A PEM file on this machine with certificate authorities that builds shall trust too. The agent puts them into the container's own bundle;
    /// the variables of the tools that do not read that by themselves then point at it.
    pub ca_bundle: Option<PathBuf>,
    /// Any further variables, given to every buildpack; an app's config var of the same name wins.
    pub env: std::collections::BTreeMap<String, String>,
}

impl std::fmt::Debug for BuildSettings {
    /// Proxy and mirror addresses may hold passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuildSettings").field("ca_bundle", &self.ca_bundle).finish_non_exhaustive()
    }
}
