//! Everything the server must be told, parsed by whoever starts it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use landfall_builder::{BuildConfig, GitConfig};
use landfall_model::Hostname;

use crate::door::DoorLimits;
use crate::housekeeping::KeepConfig;

/// The server's configuration. [`ServerConfig::default`] is what an installed server uses; [`ServerConfig::under`] moves all paths.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Data the server owns: database, repositories, builds, logs. Default `/var/lib/landfall`.
    pub data_dir: PathBuf,
    /// Sockets. Default `/run/landfall`.
    pub run_dir: PathBuf,
    /// Programs of the installation (`hooks/pre-receive`). Default `/usr/local/lib/landfall`.
    pub libexec_dir: PathBuf,
    /// `sqlite:…` or `postgres://…`; `None` = SQLite at `<data_dir>/landfall.db`.
    pub store_url: Option<String>,
    /// API, git over HTTP and dashboard. Default `127.0.0.1:5000`.
    pub api_listen: SocketAddr,
    /// Git over SSH. Default `0.0.0.0:2222`; `None` = no SSH.
    pub ssh_listen: Option<SocketAddr>,
    /// What one may do at the API's port.
    pub door: DoorLimits,
    /// How clients reach the API, without a slash at the end; `None` = `http://<api_listen>`.
    pub public_url: Option<String>,
    /// Apps answer at `<app>.<platform_domain>`. Default `localhost`.
    pub platform_domain: String,
    /// The router's port as browsers see it, for URLs. Default 8080.
    pub router_port: u16,
    /// The base image of new apps. Default `landfall-13`.
    pub default_stack: String,
    /// Builds: limits, places, the operator's mirrors.
    pub build: BuildConfig,
    /// The git receiver: limits. Its paths are set from this configuration.
    pub git: GitConfig,
    /// Timers and bounds of dynos.
    pub deploy: landfall_deploy::Settings,
    /// How many one-off dynos of one app run at once. Default 50.
    pub one_off: usize,
    /// The first account's e-mail address. Default `admin@localhost`.
    pub admin_email: String,
    /// How often each app is compared with reality although nothing happened. Default 15 s: what happens is an event, so
    /// this is a net.
    pub resync: Duration,
    /// How much of the past is kept.
    pub keep: KeepConfig,
    /// How long a stopping server waits for what is under way. Default 10 s.
    pub shutdown: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            data_dir: "/var/lib/landfall".into(),
            run_dir: "/run/landfall".into(),
            libexec_dir: "/usr/local/lib/landfall".into(),
            store_url: None,
            api_listen: SocketAddr::from(([127, 0, 0, 1], 5000)),
            ssh_listen: Some(SocketAddr::from(([0, 0, 0, 0], 2222))),
            door: DoorLimits::default(),
            public_url: None,
            platform_domain: "localhost".to_owned(),
            router_port: 8080,
            default_stack: "landfall-13".to_owned(),
            build: BuildConfig::default(),
            git: GitConfig::default(),
            deploy: landfall_deploy::Settings::default(),
            one_off: 50,
            admin_email: "admin@localhost".to_owned(),
            resync: Duration::from_secs(15),
            keep: KeepConfig::default(),
            shutdown: Duration::from_secs(10),
        }
    }
}

impl ServerConfig {
    /// The defaults with other directories. Every path the server uses is derived from these three.
    pub fn under(data_dir: impl Into<PathBuf>, run_dir: impl Into<PathBuf>, libexec_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), run_dir: run_dir.into(), libexec_dir: libexec_dir.into(), ..Self::default() }
    }

    /// The agent's socket.
    pub fn agent_socket(&self) -> PathBuf {
        self.run_dir.join("agent.sock")
    }

    /// The router's control socket.
    pub fn router_socket(&self) -> PathBuf {
        self.run_dir.join("router.sock")
    }

    /// Logs of all apps.
    pub fn logs_dir(&self) -> PathBuf {
        self.data_dir.join("logs")
    }

    /// Output of release phases, `<app id>/<release id>/`.
    pub fn release_output_dir(&self) -> PathBuf {
        self.data_dir.join("release-output")
    }

    /// What each app's last build left for the next one, `<app id>.json`.
    pub fn build_cache_dir(&self) -> PathBuf {
        self.data_dir.join("build-cache")
    }

    /// How clients reach the API.
    pub fn public_url(&self) -> String {
        self.public_url.clone().unwrap_or_else(|| format!("http://{}", self.api_listen)).trim_end_matches('/').to_owned()
    }

    /// The host of [`Self::public_url`], without a port.
    pub fn public_host(&self) -> String {
        let url = self.public_url();
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => format!("[{address}]"),
            None => authority.split(':').next().unwrap_or_default().to_owned(),
        }
    }

    /// The builder's places, under this configuration's directories.
    pub fn git_config(&self) -> GitConfig {
        let host = self.public_url();
        GitConfig {
            repositories: self.data_dir.join("git"),
            hooks: self.libexec_dir.join("hooks"),
            hook_socket: self.run_dir.join("server.sock"),
            host_key: self.data_dir.join("ssh_host_ed25519_key"),
            host_label: host.split_once("://").map_or(host.as_str(), |(_, rest)| rest).to_owned(),
            ..self.git.clone()
        }
    }

    /// The builder's limits with this configuration's directory.
    pub fn build_config(&self) -> BuildConfig {
        BuildConfig { builds: self.data_dir.join("builds"), ..self.build.clone() }
    }

    /// Where a browser reaches a host name.
    pub fn web_url(&self, host: &Hostname) -> String {
        if self.router_port == 80 { format!("http://{host}/") } else { format!("http://{host}:{}/", self.router_port) }
    }
}
