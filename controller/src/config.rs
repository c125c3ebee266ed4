//! What the server is told at start. The `landfall` command fills it from the configuration file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use landfall_builder::{BuildConfig, GitConfig};

/// Everything the server needs to know before it starts.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Database, keys, repositories, logs. Default `/var/lib/landfall`.
    pub data_dir: PathBuf,
    /// Where `agent.sock`, `router.sock` and our own `server.sock` are. Default `/run/landfall`.
    pub run_dir: PathBuf,
    /// `sqlite://…` or `postgres://…`. Default: `landfall.db` in the data directory.
    pub store_url: Option<String>,
    /// API, git over HTTP, dashboard. Default `127.0.0.1:5000`.
    pub api_listen: SocketAddr,
    /// Git over SSH. Default `127.0.0.1:2222`.
    pub ssh_listen: SocketAddr,
    /// Apps answer at `<app>.<platform domain>`. Default `localhost`.
    pub platform_domain: String,
    /// The port visitors use, for addresses we print. Default 8080.
    pub public_port: u16,
    /// Stack of new apps. Default `landfall-13`.
    pub stack: String,
    /// The git receiver.
    pub git: GitConfig,
    /// Builds.
    pub build: BuildConfig,
    /// Timers of dynos.
    pub timers: Timers,
}

/// Timers of dynos; Heroku's where Heroku documents one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// A web dyno must listen on its port this long after its start: R10. Default 60 s.
    pub boot: Duration,
    /// From SIGTERM to SIGKILL: R12. Default 30 s.
    pub stop_grace: Duration,
    /// Requests through a dyno that is being replaced may take this long. Default 30 s.
    pub drain: Duration,
    /// A release phase is ended after this. Default 1 h, Heroku's limit.
    pub release_phase: Duration,
    /// The reconcile loop looks again this often though nothing told it to. Default 5 s.
    pub tick: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            boot: Duration::from_secs(60),
            stop_grace: Duration::from_secs(30),
            drain: Duration::from_secs(30),
            release_phase: Duration::from_secs(3600),
            tick: Duration::from_secs(5),
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            data_dir: "/var/lib/landfall".into(),
            run_dir: "/run/landfall".into(),
            store_url: None,
            api_listen: SocketAddr::from(([127, 0, 0, 1], 5000)),
            ssh_listen: SocketAddr::from(([127, 0, 0, 1], 2222)),
            platform_domain: "localhost".to_owned(),
            public_port: 8080,
            stack: "landfall-13".to_owned(),
            git: GitConfig::default(),
            build: BuildConfig::default(),
            timers: Timers::default(),
        }
    }
}

impl ServerConfig {
    /// The agent's socket.
    pub fn agent_socket(&self) -> PathBuf {
        self.run_dir.join("agent.sock")
    }

    /// The router's control socket.
    pub fn router_socket(&self) -> PathBuf {
        self.run_dir.join("router.sock")
    }

    /// One directory an app; see `landfall-logs`.
    pub fn logs_dir(&self) -> PathBuf {
        self.data_dir.join("logs")
    }

    /// Build caches, one JSON file an app.
    pub fn caches_dir(&self) -> PathBuf {
        self.data_dir.join("caches")
    }

    /// The database's address.
    pub fn store_url(&self) -> String {
        self.store_url.clone().unwrap_or_else(|| format!("sqlite://{}", self.data_dir.join("landfall.db").display()))
    }
}
