//! Who starts agent, router and server, and starts again what dies: systemd where it runs, else a supervisor of our own.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use super::leftovers::Note;
use super::supervise::{ROLES, STOP_GRACE};
use super::systemd;
use super::units::Units;
use crate::args::ConfigArg;
use crate::config::Config;
use crate::error::{CliError, Result};

/// A process that was started again this often does not come up.
const RESTARTS: u32 = 3;
/// Lines of a log that are shown when a process does not come up.
const TAIL: usize = 8;

/// The one that keeps this instance.
pub(crate) enum Keeper {
    /// The machine's init.
    Systemd(Units),
    /// Our own, and the note about it.
    Supervisor(Note),
}

impl Keeper {
    /// A supervisor that runs already stays in charge.
    pub(crate) fn choose(config: &Config, own_supervisor: bool) -> Self {
        let note = Note::of(&config.run_dir, "supervisor");
        if systemd::is_booted() && !own_supervisor && note.running().is_none() {
            Self::Systemd(Units::of(config))
        } else {
            Self::Supervisor(note)
        }
    }

    /// Whether it has been told to run Landfall.
    pub(crate) fn runs(&self) -> bool {
        match self {
            Self::Systemd(units) => systemd::is_active(&units.main()),
            Self::Supervisor(note) => note.running().is_some(),
        }
    }

    /// Starts what does not run.
    pub(crate) fn start(&self, arg: &ConfigArg, config: &Config) -> Result<()> {
        match self {
            Self::Systemd(units) => systemd::start(units, arg, config),
            Self::Supervisor(note) if note.running().is_some() => Ok(()),
            Self::Supervisor(note) => {
                let child =
                    start_supervisor(arg, config).map_err(|error| CliError::io("starting the supervisor", error, "landfall doctor"))?;
                note.write(child).map_err(|error| CliError::io("noting the supervisor", error, "landfall doctor"))
            }
        }
    }

    /// Starts agent, router and server anew, as after an upgrade; dynos run on.
    pub(crate) fn restart(&self, arg: &ConfigArg, config: &Config) -> Result<()> {
        match self {
            Self::Systemd(units) if self.runs() => systemd::restart(units, arg, config),
            Self::Systemd(_) => Ok(()),
            Self::Supervisor(_) => stop_supervised(config).map(drop),
        }
    }

    /// How often it has started this process again.
    pub(crate) fn restarts(&self, role: &str) -> u32 {
        match self {
            Self::Systemd(units) => systemd::restarts(&units.role(role)),
            Self::Supervisor(_) => 0,
        }
    }

    /// Whether waiting for this process is in vain. `before` = what [`Self::restarts`] said when the wait began.
    pub(crate) fn gave_up(&self, role: &str, before: u32) -> bool {
        match self {
            Self::Systemd(_) => self.restarts(role) >= before + RESTARTS,
            Self::Supervisor(note) => note.running().is_none(),
        }
    }

    /// The end of what a process wrote, under a heading that says where the rest is.
    pub(crate) fn last_words(&self, role: &str, config: &Config) -> String {
        match self {
            Self::Systemd(units) => format!("the end of journalctl -u {}:\n{}", units.role(role), systemd::journal(&units.role(role))),
            Self::Supervisor(note) => {
                let name = if note.running().is_none() { "supervisor" } else { role };
                let log = config.data_dir.join("log").join(format!("{name}.log"));
                let text = fs::read_to_string(&log).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(TAIL).collect();
                format!("the end of {}:\n{}", log.display(), tail.into_iter().rev().collect::<Vec<_>>().join("\n"))
            }
        }
    }
}

/// Stops everything that runs for this instance, whoever started it. Under systemd the dynos end, too. `false` = nothing ran.
pub(crate) fn stop(config: &Config) -> Result<bool> {
    let units = Units::of(config);
    let ran = if systemd::is_booted() && units.are_written() { systemd::stop(&units)? } else { false };
    Ok(stop_supervised(config)? || ran)
}

/// Stops our own processes, in order. Dynos and their shims are not ours to stop here.
pub(crate) fn stop_supervised(config: &Config) -> Result<bool> {
    let stop = |name: &str| {
        Note::of(&config.run_dir, name)
            .stop(STOP_GRACE * 3)
            .map_err(|error| CliError::io(format!("stopping {name}"), error, "landfall down"))
    };
    let mut ran = stop("supervisor")?;
    for role in ROLES.iter().rev() {
        ran |= stop(role.name)?;
    }
    Ok(ran)
}

fn start_supervisor(arg: &ConfigArg, config: &Config) -> std::io::Result<u32> {
    let log = OpenOptions::new().create(true).append(true).open(config.data_dir.join("log/supervisor.log"))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("supervise").arg("--config").arg(&arg.config);
    for pair in &arg.set {
        command.arg("--set").arg(pair);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir("/").process_group(0);
    Ok(command.spawn()?.id())
}
