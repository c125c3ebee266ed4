//! From the one configuration file to each process's own typed config, and the processes' main functions.

use std::process::ExitCode;
use std::time::Duration;

use landfall_builder::config::BuildSettings;
use landfall_builder::{BuildConfig, GitConfig};
use landfall_controller::config::ServerConfig;
use landfall_controller::housekeeping::{Keep, KeepConfig};
use landfall_router::{Listen, RouterConfig};
use landfall_runtime::config::{AgentConfig, Subnet};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::memory::give_back_what_is_freed;
use super::supervise::user;
use crate::args::ConfigArg;
use crate::config::Config;
use crate::error::{CliError, Result};

/// The agent's part of the configuration.
pub(crate) fn agent_config(config: &Config) -> Result<AgentConfig> {
    let mut agent = AgentConfig {
        data_dir: config.data_dir.join("agent"),
        run_dir: config.run_dir.clone(),
        libexec_dir: config.libexec_dir.clone(),
        bridge: config.network.bridge.clone().unwrap_or_else(|| format!("{}0", config.instance)),
        nft_table: config.instance.clone(),
        cgroup_parent: config.engine.cgroup_parent.clone().unwrap_or_else(|| config.instance.clone()),
        server_uid: user(config)?.uid.as_raw(),
        ca_bundle: config.build.ca_bundle.clone(),
        oci_runtime: config.engine.oci_runtime.clone(),
        ..AgentConfig::default()
    };
    let network = |text: &String| text.parse::<Subnet>().map_err(|error| CliError::new(error.to_string(), "landfall config:check"));
    if let Some(subnet) = &config.network.subnet {
        agent.subnet = network(subnet)?;
    }
    agent.allow_private = config.network.allow_private.iter().map(network).collect::<Result<_>>()?;
    if let Some(base) = config.engine.uid_base {
        agent.uid_base = base;
    }
    agent.limits.disk_bytes = config.dyno.disk_mib << 20;
    if config.dyno.cpu_percent > 0 {
        agent.limits.cpu_percent = config.dyno.cpu_percent;
    }
    agent.limits.log_bytes_per_second = config.dyno.log_mib_per_second << 20;
    if let Some(mirror) = &config.stack.debian_mirror {
        agent.debian_mirror.clone_from(mirror);
    }
    match agent.problems().as_slice() {
        [] => Ok(agent),
        problems => Err(CliError::new(problems.join("\n"), "landfall config:check")),
    }
}

/// Whoever starts the router may hand it its socket (sd_listen_fds(3)): then the socket outlives it.
fn router_config(config: &Config) -> RouterConfig {
    let handed = listenfd::ListenFd::from_env().take_tcp_listener(0).ok().flatten();
    RouterConfig {
        listen: vec![handed.map_or(Listen::Tcp(config.router.listen), Listen::Handed)],
        control_socket: config.run_dir.join("router.sock"),
        table_file: config.data_dir.join("router/table.json"),
        platform_domains: vec![config.platform_domain.clone()],
        pages_dir: config.router.pages_dir.clone(),
        ..RouterConfig::default()
    }
}

/// Logs to standard error, one line an event; `LANDFALL_LOG` filters.
fn start_logging() {
    let filter = EnvFilter::try_from_env("LANDFALL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // A line that cannot be written (the disk is full) is lost; complaining about it to the same place would be a panic.
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).log_internal_errors(false).init();
}

/// Cancelled by SIGTERM or SIGINT.
fn until_told_to_stop() -> Result<CancellationToken> {
    let failed = |error| CliError::io("watching for signals", error, "landfall up");
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        stop.cancel();
    });
    Ok(token)
}

fn keep(keep: &crate::config::Keep, log_files: usize) -> KeepConfig {
    let days = |days: u64| Duration::from_hours(days.saturating_mul(24));
    KeepConfig {
        app: Keep { releases: keep.releases, images: keep.images },
        builds: keep.builds,
        logs: landfall_logs::Limits { age: days(keep.log_days), bytes: keep.log_mib.saturating_mul(1 << 20), files: log_files },
        audit: days(keep.audit_days),
        every: Duration::from_mins(keep.minutes),
    }
}

fn server_config(config: &Config) -> ServerConfig {
    let build = &config.build;
    let defaults = ServerConfig::default();
    ServerConfig {
        data_dir: config.data_dir.clone(),
        run_dir: config.run_dir.clone(),
        libexec_dir: config.libexec_dir.clone(),
        store_url: config.store.url.clone(),
        api_listen: config.api.listen,
        public_url: config.api.public_url.clone(),
        ssh_listen: Some(config.ssh.listen),
        platform_domain: config.platform_domain.clone(),
        router_port: config.public_port(),
        default_stack: config.stack.default.clone(),
        git: GitConfig {
            max_push_bytes: build.push_mib.saturating_mul(1 << 20),
            max_repository_bytes: build.repository_mib.saturating_mul(1 << 20),
            ..defaults.git.clone()
        },
        build: BuildConfig {
            concurrency: build.at_once,
            wall: Duration::from_secs(build.minutes * 60),
            memory_bytes: build.memory_mib << 20,
            disk_bytes: build.disk_mib << 20,
            settings: BuildSettings {
                http_proxy: build.http_proxy.clone(),
                https_proxy: build.https_proxy.clone(),
                no_proxy: build.no_proxy.clone(),
                pip_index: build.pip_index_url.clone(),
                npm_registry: build.npm_registry.clone(),
                ca_bundle: build.ca_bundle.clone(),
                ..BuildSettings::default()
            },
            ..defaults.build.clone()
        },
        deploy: landfall_controller::Settings {
            boot_timeout: Duration::from_secs(config.dyno.boot_seconds),
            stop_grace: Duration::from_secs(config.dyno.stop_seconds),
            release_timeout: Duration::from_mins(config.dyno.release_minutes),
            ..defaults.deploy.clone()
        },
        keep: keep(&config.keep, defaults.keep.logs.files),
        one_off: usize::try_from(config.dyno.one_off).unwrap_or(usize::MAX),
        ..defaults
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    give_back_what_is_freed();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| CliError::io("starting", error, "landfall doctor"))
}

/// The control plane, until SIGTERM.
pub(crate) fn server(arg: &ConfigArg) -> Result<ExitCode> {
    let config = Config::load(arg)?;
    start_logging();
    runtime()?.block_on(async {
        let stop = until_told_to_stop()?;
        ended("server", landfall_controller::server::run(server_config(&config), stop).await)
    })
}

/// The container agent, until SIGTERM.
pub(crate) fn agent(arg: &ConfigArg) -> Result<ExitCode> {
    let config = agent_config(&Config::load(arg)?)?;
    start_logging();
    runtime()?.block_on(async {
        let stop = until_told_to_stop()?;
        ended("agent", landfall_runtime::agent::run(config, stop).await.map_err(anyhow::Error::from))
    })
}

/// The router, until SIGTERM.
pub(crate) fn router(arg: &ConfigArg) -> Result<ExitCode> {
    let config = router_config(&Config::load(arg)?);
    start_logging();
    runtime()?.block_on(async {
        let stop = until_told_to_stop()?;
        ended("router", landfall_router::run(config, stop).await.map_err(anyhow::Error::from))
    })
}

/// The one place where a process's last error is written, with its whole chain.
fn ended(role: &str, result: anyhow::Result<()>) -> Result<ExitCode> {
    match result {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(CliError::new(format!("{role}: {error:#}"), "landfall doctor")),
    }
}

/// Removes every trace of this instance from the kernel.
pub(crate) fn teardown(config: &Config) -> Result<()> {
    let agent = agent_config(config)?;
    runtime()?
        .block_on(landfall_runtime::agent::teardown(&agent))
        .map_err(|error| CliError::new(format!("cleaning up: {:#}", anyhow::Error::from(error)), "landfall doctor"))
}
