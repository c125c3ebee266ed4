//! Entry points of Landfall's processes on a server, and the commands that start and stop them.

mod keeper;
mod leftovers;
mod memory;
mod rooms;
mod supervise;
mod systemd;
mod units;
mod up;

use std::process::ExitCode;

pub(crate) use rooms::{agent, agent_config, router, server};
pub(crate) use supervise::supervise;
pub(crate) use up::{down, prepare, restart, teardown, up};

/// What this process does if git started it as one of its hooks: they are links to this program.
pub(crate) fn git_hook() -> Option<ExitCode> {
    let program = std::env::args_os().next()?;
    landfall_builder::hook::run(std::path::Path::new(&program).file_name()?.to_str()?)
}
