//! From how the sandbox ended and what it reported to an outcome or a failure.

use landfall_buildpacks::procfile::Procfile;
use landfall_lifecycle::report::Report;
use landfall_model::ProcessType;

use super::failure::BuildFailure;
use super::log::BuildLog;
use super::request::Process;
use crate::config::BuildConfig;
use crate::sandbox::{Killed, SandboxEnd};

const MIB: u64 = 1024 * 1024;
/// Exit codes of the lifecycle (CNB platform specification).
const NOT_DETECTED: [i32; 2] = [20, 21];

/// `Ok` = the lifecycle was content.
pub(super) fn judge(end: SandboxEnd, config: &BuildConfig) -> Result<(), BuildFailure> {
    match (end.killed, end.oom, end.code) {
        (Some(Killed::Time), ..) => Err(BuildFailure::OutOfTime { minutes: config.wall.as_secs().div_ceil(60) }),
        (Some(Killed::Disk), ..) => Err(BuildFailure::OutOfDisk { mib: config.disk_bytes / MIB }),
        (Some(Killed::Tree), ..) => Err(BuildFailure::TreeTooLarge),
        (Some(Killed::HostDisk), ..) => Err(BuildFailure::HostDiskFull),
        (Some(Killed::Shim), ..) => Err(BuildFailure::Platform("The build's supervisor ended unexpectedly.".to_owned())),
        (None, _, 0) => Ok(()),
        (None, true, _) => Err(BuildFailure::OutOfMemory { mib: config.memory_bytes / MIB }),
        (None, false, code) if NOT_DETECTED.contains(&code) => Err(BuildFailure::NotRecognised),
        // The lifecycle ends by itself whatever the buildpacks do.
        (None, false, code) if code > 128 => Err(BuildFailure::Ended { signal: code - 128 }),
        (None, false, code) => Err(BuildFailure::Buildpack { code }),
    }
}

/// The image's processes, told to the pusher as Heroku does.
pub(super) fn processes(report: &Report, procfile: Option<&Procfile>, log: &BuildLog) -> Vec<Process> {
    let mut all = Vec::new();
    for process in &report.processes {
        match process.kind.parse::<ProcessType>() {
            Ok(process_type) => all.push(Process { process_type, command: process.shown() }),
            Err(error) => log.problem(&format!("Warning: {error}; it is left out.")),
        }
    }
    all.sort_by(|a, b| a.process_type.cmp(&b.process_type));
    let declared = |process: &&Process| procfile.is_some_and(|file| file.command(process.process_type.as_str()).is_some());
    let names = |wanted: bool| -> Vec<&str> {
        all.iter().filter(|process| declared(process) == wanted).map(|process| process.process_type.as_str()).collect()
    };
    let (own, default) = (names(true), names(false));
    log.step("Discovering process types");
    log.detail(&format!("Procfile declares types -> {}", if own.is_empty() { "(none)".to_owned() } else { own.join(", ") }));
    if !default.is_empty() {
        log.detail(&format!("Default types for the buildpack -> {}", default.join(", ")));
    }
    if !all.iter().any(|process| process.process_type.is_web()) {
        log.problem("Warning: there is no web process, so nothing will answer requests.\nTo have one, add a line such as `web: COMMAND` to the Procfile.");
    }
    all
}

/// `12.3 MB`, `34 kB`
pub(super) fn size(bytes: u64) -> String {
    if bytes < 1_000_000 { format!("{} kB", bytes.div_ceil(1000)) } else { format!("{:.1} MB", bytes as f64 / 1_000_000.0) }
}
