//! Which app a command means.

use std::process::Command;

use landfall_model::AppName;

use crate::args::AppArg;
use crate::error::{CliError, Result};

/// `-a NAME` (or `LANDFALL_APP`), else the git remote's.
pub(crate) fn app_name(arg: &AppArg) -> Result<AppName> {
    // An empty variable is how shells and CI systems unset one.
    let name = match arg.app.as_ref().filter(|name| !name.is_empty()) {
        Some(name) => name.clone(),
        None => app_of_remote(&arg.remote).ok_or_else(|| {
            CliError::new(
                format!("no app was named, and this folder has no git remote \"{}\"", arg.remote),
                "repeat the command with -a NAME   (landfall apps lists them)",
            )
        })?,
    };
    name.parse().map_err(|error: landfall_model::NameError| CliError::new(error.to_string(), "landfall apps"))
}

fn app_of_remote(remote: &str) -> Option<String> {
    let output = Command::new("git").args(["config", "--get", &format!("remote.{remote}.url")]).output().ok()?;
    let url = String::from_utf8(output.stdout).ok()?;
    let last = url.trim().trim_end_matches('/').rsplit(['/', ':']).next()?;
    let name = last.strip_suffix(".git").unwrap_or(last);
    (!name.is_empty()).then(|| name.to_owned())
}

/// Whether this folder is in a git work tree.
pub(crate) fn in_git_repository() -> bool {
    Command::new("git").args(["rev-parse", "--git-dir"]).output().is_ok_and(|output| output.status.success())
}

/// Removes the remotes of this folder that point to an address, and names them. Best effort: what they pointed to is gone either way.
pub(crate) fn remove_remotes(url: &str) -> Vec<String> {
    let listed = Command::new("git").args(["config", "--local", "--get-regexp", r"^remote\..*\.url$"]).output();
    let listed = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let names = listed.lines().filter_map(|line| {
        let (key, there) = line.split_once(' ')?;
        (there == url).then(|| key.strip_prefix("remote.")?.strip_suffix(".url"))?
    });
    let removed =
        |name: &&str| Command::new("git").args(["remote", "remove", "--", name]).output().is_ok_and(|output| output.status.success());
    names.filter(removed).map(str::to_owned).collect()
}

/// Adds the remote, or points it to the new address.
pub(crate) fn set_remote(remote: &str, url: &str) -> Result<()> {
    let known =
        Command::new("git").args(["config", "--get", &format!("remote.{remote}.url")]).output().is_ok_and(|output| output.status.success());
    let verb = if known { "set-url" } else { "add" };
    let output = Command::new("git")
        .args(["remote", verb, "--", remote, url])
        .output()
        .map_err(|error| CliError::io("running git", error, "apt-get install git"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(CliError::new(String::from_utf8_lossy(&output.stderr).trim().to_owned(), format!("git remote {verb} {remote} {url}")))
}
