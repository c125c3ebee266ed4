//! Runs a tool of the build image by argv, its output shown as detail under the current step.

use std::io::pipe;
use std::process::{Command, Stdio};

use crate::contract::{Build, Problem};

/// How a tool ended.
pub(crate) struct Ran {
    /// It ended with code 0.
    pub ok: bool,
    /// The last 64 KiB it said.
    pub said: String,
}

/// Runs `command` in the app directory; standard output and error are shown together, in order.
pub(crate) fn run(build: &mut Build, mut command: Command) -> Result<Ran, Problem> {
    let name = command.get_program().display().to_string();
    let failed = |e: std::io::Error| {
        Problem::new(format!("cannot run {name}: {e}\nThe stack's build image should have it; `landfall stacks` lists the stacks."))
    };
    let (reader, writer) = pipe().map_err(failed)?;
    let errors = writer.try_clone().map_err(failed)?;
    command.current_dir(&build.app).stdin(Stdio::null()).stdout(writer).stderr(errors);
    let mut child = command.spawn().map_err(failed)?;
    drop(command); // It holds the pipe's other end.
    let said = build.out.pump(reader);
    let status = child.wait().map_err(failed)?;
    Ok(Ran { ok: status.success(), said })
}
