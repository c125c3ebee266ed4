//! What the app's owner reads in the log, in Heroku's words. One place, so that it can be read as a whole.

use std::time::Duration;

use crate::{ContainerKind, StopReason, Told};

pub(crate) const UP: &str = "State changed from starting to up";

impl StopReason {
    /// Log lines for a dyno that is told to stop for this reason.
    pub fn lines(&self, grace: Duration) -> Vec<String> {
        let sigterm = || "Stopping all processes with SIGTERM".to_owned();
        let sigkill = || "Stopping process with SIGKILL".to_owned();
        match self {
            Self::Replaced | Self::Restarted => vec!["Restarting".to_owned(), sigterm()],
            Self::ScaledDown | Self::Destroyed | Self::Requested => vec![sigterm()],
            Self::BootTimeout { after, advice } => {
                let seconds = after.as_secs();
                vec![
                    format!("Error R10 (Boot timeout) -> Web process failed to bind to $PORT within {seconds} seconds of launch"),
                    advice.clone(),
                    sigkill(),
                ]
            }
            Self::HealthCheckFailed { detail } => vec![format!("Startup health check failed: {detail}"), sigkill()],
            Self::Unhealthy { detail } => vec![format!("Liveness health check failed: {detail}"), "Restarting".to_owned(), sigterm()],
            Self::ReleaseTimeout => {
                vec![format!("Release phase is taking too long; stopping it ({} s to finish)", grace.as_secs()), sigterm()]
            }
            Self::PostdeployTimeout => {
                vec![format!("The postdeploy script is taking too long; stopping it ({} s to finish)", grace.as_secs()), sigterm()]
            }
            Self::Stuck => vec!["Stopping remaining processes with SIGKILL".to_owned()],
        }
    }
}

/// How a container ended.
pub(crate) struct End<'a> {
    /// Exit code, or 128 + signal.
    pub(crate) code: i32,
    /// Killed by the kernel for memory.
    pub(crate) oom: bool,
    /// Why it was told to stop, if it was.
    pub(crate) reason: Option<&'a StopReason>,
    /// Its grace was over.
    pub(crate) late: bool,
}

/// How a container's end reads, and whether it was a crash.
pub(crate) fn ended(kind: ContainerKind, told: Told, end: &End<'_>, grace: Duration) -> (Vec<String>, bool) {
    let End { code, oom, reason, late } = *end;
    let mut lines = Vec::new();
    if oom {
        lines.push("Error R15 (Memory quota vastly exceeded)".to_owned());
        lines.push("Stopping process with SIGKILL".to_owned());
    }
    let asked_kindly = reason.is_some_and(|reason| !reason.is_failure());
    // A dyno that had not begun is killed at once, and a shim may be killed by anybody.
    if asked_kindly && code == 137 && !oom && late {
        let seconds = grace.as_secs();
        lines.push(format!("Error R12 (Exit timeout) -> At least one process failed to exit within {seconds} seconds of SIGTERM"));
        lines.push("Stopping remaining processes with SIGKILL".to_owned());
    }
    lines.push(format!("Process exited with status {code}"));
    let from = if told == Told::Up { "up" } else { "starting" };
    let crashed = kind == ContainerKind::Dyno && !asked_kindly;
    match (kind, reason) {
        (ContainerKind::OneOff | ContainerKind::Release | ContainerKind::Postdeploy, _) => {
            lines.push(format!("State changed from {from} to complete"));
        }
        (ContainerKind::Dyno, Some(StopReason::ScaledDown | StopReason::Requested)) => {
            lines.push(format!("State changed from {from} to down"));
        }
        (ContainerKind::Dyno, _) if crashed => lines.push(format!("State changed from {from} to crashed")),
        (ContainerKind::Dyno, _) => {}
    }
    (lines, crashed)
}
