//! Parent of one container: makes it, holds its streams, tells its status, and outlives the agent. No tokio: one thread that never waits
//! for a disk, and one that writes the log.
//!
//! `landfall-shim CONFIG` · `landfall-shim cleanup CONFIG` · `landfall-shim selftest INIT RUN_DIR DATA_DIR [CGROUP_PARENT [OCI_RUNTIME]]`; see `landfall_runtime_wire::shim` for the contract.

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use landfall_failpoint::failpoint;
use landfall_runtime_wire::Stdio;
use landfall_runtime_wire::shim::{Launched, ShimConfig};
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, pipe2, setsid};

mod behind;
mod cgroup;
mod client;
mod engine;
mod error;
mod exit;
mod idmap;
mod listen;
mod output;
mod places;
mod program;
mod rate;
mod requests;
mod root;
mod seccomp;
mod selftest;
mod setup;
mod spec;
mod supervise;
mod sys;

const USAGE: &str = "usage: landfall-shim CONFIG | landfall-shim cleanup CONFIG | landfall-shim selftest INIT RUN_DIR DATA_DIR [CGROUP_PARENT [OCI_RUNTIME]]";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["cleanup", config] => setup::load(Path::new(config)).map_err(|error| error.to_string()).and_then(|config| exit::cleanup(&config)),
        ["selftest", init, run, data, rest @ ..] if rest.len() <= 2 => {
            let parent = rest.first().copied().unwrap_or("/");
            selftest::run(&selftest::Places { init: init.into(), run: run.into(), data: data.into() }, parent, rest.get(1).map(Path::new))
        }
        [config] if !config.starts_with('-') => setup::load(Path::new(config)).map_err(|error| error.to_string()).and_then(launch),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the shim proper in its own session and waits until it has created the container, or could not.
fn launch(config: ShimConfig) -> Result<(), String> {
    sys::close_from(3);
    let (from_shim, to_launcher) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|errno| errno.desc().to_owned())?;
    match sys::fork().map_err(|errno| errno.desc().to_owned())? {
        ForkResult::Child => {
            drop(from_shim);
            let code = daemon(config, std::fs::File::from(to_launcher));
            sys::exit_now(code)
        }
        ForkResult::Parent { .. } => drop(to_launcher),
    }
    let mut answer = String::new();
    std::fs::File::from(from_shim).read_to_string(&mut answer).map_err(|error| error.to_string())?;
    match answer.split_at_checked(1) {
        Some(("+", launched)) => {
            println!("{launched}");
            Ok(())
        }
        Some((_, message)) => Err(message.to_owned()),
        None => Err("the shim ended before the container was created".into()),
    }
}

fn daemon(config: ShimConfig, mut launcher: std::fs::File) -> i32 {
    let made = detach().and_then(|signals| {
        let created = setup::create(&config).map_err(|error| error.to_string());
        let with_log = created.and_then(|created| {
            let log = config.log.as_ref().filter(|_| config.stdio == Stdio::Log);
            Ok((created, output::Output::start(log, &config.id, config.log_bytes_per_second)?))
        });
        let (created, output) = with_log.inspect_err(|_| setup::undo(&config))?;
        Ok(supervise::Shim::new(config, created, signals, output))
    });
    match made {
        Ok(mut shim) => {
            failpoint("shim.created");
            let launched = Launched { shim_pid: std::process::id() as i32, init_pid: shim.status.init_pid };
            let line = serde_json::to_string(&launched).unwrap_or_default();
            let _ = launcher.write_all(format!("+{line}").as_bytes());
            drop(launcher);
            let code = i32::from(shim.run().is_err());
            // Closes all that others hear of us by, though the log's thread may still wait for its disk.
            drop(shim);
            code
        }
        Err(message) => {
            let _ = launcher.write_all(format!("-{message}").as_bytes());
            1
        }
    }
}

/// Own session, no terminal, no streams; orphans of the container's making become our children.
fn detach() -> Result<nix::sys::signalfd::SignalFd, String> {
    let inner = || -> nix::Result<()> {
        setsid()?;
        let null = nix::fcntl::open("/dev/null", nix::fcntl::OFlag::O_RDWR | nix::fcntl::OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())?;
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        nix::sys::prctl::set_child_subreaper(true)?;
        std::env::set_current_dir("/").map_err(|e| error::errno(&e))?;
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
        Ok(())
    };
    inner().map_err(|errno| format!("could not leave the agent's session: {}", errno.desc()))?;
    supervise::signal_fd().map_err(|error| error.to_string())
}
