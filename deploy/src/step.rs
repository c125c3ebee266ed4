//! What to do next.

use std::collections::BTreeSet;
use std::time::Duration;

use landfall_model::{DynoName, DynoSize, ReleaseStatus, ReleaseVersion};

use crate::{ContainerKey, Crash, Probe, ProbeId, RouteMode, Told};

/// The next steps for one app. They are independent of each other: any order, any subset, each at most once per plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do now. Empty = nothing to do until something changes or `wake_at` comes.
    pub steps: Vec<Step>,
    /// When to plan again although nothing was observed to change (same clock as `now`).
    pub wake_at: Option<Duration>,
}

impl Plan {
    pub(crate) fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    pub(crate) fn wake(&mut self, at: Duration) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// One thing to do. Each is idempotent for whoever performs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Start the `release` process of a pending release.
    RunReleasePhase {
        /// Which release.
        version: ReleaseVersion,
    },
    /// Its release phase ended: record how.
    FinishRelease {
        /// Which release.
        version: ReleaseVersion,
        /// `Succeeded` or `Failed`.
        status: ReleaseStatus,
    },
    /// This release is the first of the app to be live: record that, and begin its postdeploy script, if it has one.
    FirstLive {
        /// Which release.
        version: ReleaseVersion,
    },
    /// The postdeploy script is over: record how.
    FinishPostdeploy {
        /// How.
        end: PostdeployEnd,
    },
    /// Write to the app's log, as `heroku[<dyno>]`, and remember that it was written.
    Report {
        /// Which container.
        key: ContainerKey,
        /// Its name in the log.
        dyno: DynoName,
        /// What is told from now on.
        told: Told,
        /// The lines.
        lines: Vec<String>,
        /// To be added to the crash record of that dyno.
        crash: Option<Crash>,
    },
    /// Replace the app's entry in the route table.
    SetRoutes {
        /// What visitors get.
        mode: RouteMode,
        /// Who answers.
        backends: BTreeSet<ContainerKey>,
    },
    /// Take the app out of the route table.
    RemoveRoutes,
    /// Start one dyno.
    StartDyno {
        /// Its name.
        dyno: DynoName,
        /// Which release.
        release: ReleaseVersion,
        /// Its size.
        size: DynoSize,
        /// To be kept with the container.
        fingerprint: String,
        /// To be kept with the container.
        generation: u64,
    },
    /// Ask a dyno over HTTP.
    CheckHealth {
        /// Which container.
        key: ContainerKey,
        /// Which check.
        id: ProbeId,
        /// What to ask.
        probe: Probe,
    },
    /// Ask the router to tell when the container's last request ended. It is in no route table any more.
    Drain {
        /// Which container.
        key: ContainerKey,
    },
    /// SIGTERM now, SIGKILL after `grace` (at once when zero).
    StopDyno {
        /// Which container.
        key: ContainerKey,
        /// Its name in the log.
        dyno: DynoName,
        /// Why.
        reason: StopReason,
        /// How long it has.
        grace: Duration,
        /// To be added to the crash record of that dyno now, so that its successor need not wait for its end.
        crash: Option<Crash>,
    },
    /// Remove an ended container and all that is left of it.
    RemoveContainer {
        /// Which container.
        key: ContainerKey,
    },
}

/// How a postdeploy script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostdeployEnd {
    /// With this exit code, or 128 + signal.
    Exited(i32),
    /// Nobody saw it end, and it is not there any more.
    Lost,
}

/// Which health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    /// Before anything else.
    Startup,
    /// Before the first request, and as long as it serves.
    Readiness,
    /// As long as it runs.
    Liveness,
}

/// Why a container is told to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// A newer release (or size, or command) runs in its place.
    Replaced,
    /// A restart was asked for, and its successor runs.
    Restarted,
    /// The formation no longer has it.
    ScaledDown,
    /// The app is gone.
    Destroyed,
    /// A person stopped it.
    Requested,
    /// R10: it did not listen in time. The advice says what it did instead.
    BootTimeout {
        /// How long it had.
        after: Duration,
        /// What to change.
        advice: String,
    },
    /// Its startup check failed too often.
    HealthCheckFailed {
        /// Path and last failure, in words.
        detail: String,
    },
    /// It was up, and its liveness check fails.
    Unhealthy {
        /// Path and last failure, in words.
        detail: String,
    },
    /// The release phase took too long.
    ReleaseTimeout,
    /// The postdeploy script took too long.
    PostdeployTimeout,
    /// It did not end although its grace is over.
    Stuck,
}

impl StopReason {
    /// Whether the dyno is to blame: it counts as a crash and is started again with a back-off.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::BootTimeout { .. } | Self::HealthCheckFailed { .. })
    }
}
