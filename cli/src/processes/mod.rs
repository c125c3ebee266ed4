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

/// git starts hooks by the name of the file: ours is a link to this program.
const HOOK_NAME: &str = "pre-receive";

/// Whether this process is git's pre-receive hook.
pub(crate) fn started_as_git_hook() -> bool {
    std::env::args_os().next().is_some_and(|program| std::path::Path::new(&program).file_name().is_some_and(|name| name == HOOK_NAME))
}

/// The hook: hands the push to the server and streams the build back.
pub(crate) fn git_hook() -> ExitCode {
    landfall_builder::hook::pre_receive_main()
}
