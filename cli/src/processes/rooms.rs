//! From the one configuration file to each process's own typed config, and the processes' main functions.

use std::process::ExitCode;

use landfall_router::{Listen, RouterConfig};
use landfall_runtime::config::{AgentConfig, Subnet};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

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
        cgroup_parent: config.instance.clone(),
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
    if let Some(mirror) = &config.stack.debian_mirror {
        agent.debian_mirror.clone_from(mirror);
    }
    match agent.problems().as_slice() {
        [] => Ok(agent),
        problems => Err(CliError::new(problems.join("\n"), "landfall config:check")),
    }
}

fn router_config(config: &Config) -> RouterConfig {
    RouterConfig {
        listen: vec![Listen::Tcp(config.router.listen)],
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
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
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
