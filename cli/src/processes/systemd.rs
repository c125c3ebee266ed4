//! Starting and stopping through systemd, where the machine was booted with it.

use std::path::Path;
use std::process::Command;

use super::units::Units;
use crate::args::ConfigArg;
use crate::config::{self, Config};
use crate::error::{CliError, Result};

/// Lines of the journal that are shown when a process does not come up.
const TAIL: &str = "8";

/// Whether this machine was booted with systemd (sd_booted(3)).
pub(crate) fn is_booted() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Writes the units, lets them start at each boot, and starts what does not run.
pub(crate) fn start(units: &Units, arg: &ConfigArg, config: &Config) -> Result<()> {
    write(units, arg, config)?;
    systemctl(&["enable", &units.main()], units)?;
    let all: Vec<String> = std::iter::once(units.main()).chain(units.roles()).collect();
    systemctl(&words("start", &all), units)
}

/// Starts agent, router and server anew. The dynos' unit stays as it is.
pub(crate) fn restart(units: &Units, arg: &ConfigArg, config: &Config) -> Result<()> {
    write(units, arg, config)?;
    systemctl(&words("restart", &units.roles()), units)
}

/// Stops all of it, now and at the next boot. `false` = nothing ran.
pub(crate) fn stop(units: &Units) -> Result<bool> {
    let ran = is_active(&units.main());
    systemctl(&["disable", "--now", &units.main()], units)?;
    Ok(ran)
}

/// Whether a unit is up.
pub(crate) fn is_active(unit: &str) -> bool {
    Command::new("systemctl").args(["--quiet", "is-active", unit]).status().is_ok_and(|status| status.success())
}

/// How often systemd has started a unit again because it ended.
pub(crate) fn restarts(unit: &str) -> u32 {
    let shown = Command::new("systemctl").args(["show", "--property=NRestarts", "--value", unit]).output();
    shown.ok().and_then(|shown| String::from_utf8(shown.stdout).ok()?.trim().parse().ok()).unwrap_or(0)
}

/// The last lines a unit wrote.
pub(crate) fn journal(unit: &str) -> String {
    let shown = Command::new("journalctl").args(["--unit", unit, "--lines", TAIL, "--output", "cat", "--no-pager"]).output();
    shown.map_or_else(|error| error.to_string(), |shown| String::from_utf8_lossy(&shown.stdout).into_owned())
}

fn write(units: &Units, arg: &ConfigArg, config: &Config) -> Result<()> {
    // systemd would start them without these, and so would the next boot.
    let lost = config::keys_in(std::env::vars());
    if !lost.is_empty() {
        let said = format!("systemd starts Landfall, and does not know what your shell's environment sets: {}", lost.join(", "));
        return Err(CliError::new(said, format!("write them into {} and unset them", arg.config.display())));
    }
    let program = std::env::current_exe().map_err(|error| CliError::io("finding this program", error, "landfall doctor"))?;
    let changed =
        units.write(&program, arg, config).map_err(|error| CliError::io("writing the systemd units", error, "landfall doctor"))?;
    if changed { systemctl(&["daemon-reload"], units) } else { Ok(()) }
}

fn words<'a>(verb: &'a str, units: &'a [String]) -> Vec<&'a str> {
    std::iter::once(verb).chain(units.iter().map(String::as_str)).collect()
}

fn systemctl(args: &[&str], units: &Units) -> Result<()> {
    let advice = format!("systemctl status {}", units.main());
    let done = Command::new("systemctl").args(args).output();
    let done = done.map_err(|error| CliError::io("running systemctl", error, &advice))?;
    if done.status.success() {
        return Ok(());
    }
    let said = format!("systemctl {}: {}", args.join(" "), String::from_utf8_lossy(&done.stderr).trim());
    let journal = journal(&units.main());
    Err(CliError::new(format!("{said}\n{}", journal.trim_end()), advice))
}
