//! What should be true of one app.

use std::collections::BTreeMap;
use std::time::Duration;

use landfall_model::{DynoSize, ProcessType, ReleaseVersion, Restarts};

use crate::{ProbeId, ProbeKind};

/// One app as its owner wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The app is gone: everything of it stops and leaves.
    pub destroyed: bool,
    /// Visitors see the maintenance page; dynos run on.
    pub maintenance: bool,
    /// The newest release whose release phase (if any) succeeded. `None` = nothing was ever deployed.
    pub current: Option<Target>,
    /// The release whose release phase must run now.
    pub pending: Option<ReleaseVersion>,
    /// Whether anything of it was live yet, and what follows from that.
    pub first_deploy: FirstDeploy,
    /// How often dynos were asked to restart.
    pub restarts: Restarts,
    /// The current release's health checks of `web`.
    pub health: HealthCheck,
    /// Timers and bounds.
    pub settings: Settings,
}

impl Desired {
    /// What a process type of the current release should be.
    pub fn spec(&self, process_type: &ProcessType) -> Option<&TypeSpec> {
        if self.destroyed {
            return None;
        }
        self.current.as_ref()?.types.get(process_type)
    }

    /// How many dynos of a type should run.
    pub fn quantity(&self, process_type: &ProcessType) -> u32 {
        self.spec(process_type).map_or(0, |spec| spec.quantity)
    }
}

/// Whether an app's first deploy is live yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirstDeploy {
    /// Nothing was ever live. Once the current release is, that is recorded, and its postdeploy script begun, if it has one.
    #[default]
    Waiting,
    /// The postdeploy script of this release was begun.
    Postdeploy(ReleaseVersion),
    /// It was, and what followed is over.
    Over,
}

/// The release that must run, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its number.
    pub version: ReleaseVersion,
    /// Its process types with their formation. Empty = the release has no code yet.
    pub types: BTreeMap<ProcessType, TypeSpec>,
}

/// One process type of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeSpec {
    /// How many dynos.
    pub quantity: u32,
    /// How big.
    pub size: DynoSize,
    /// Changes whenever a running dyno would have to be replaced although the release is the same (size, command).
    pub fingerprint: String,
}

/// Health checks of `web`, from app.json. All of a kind must pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthCheck {
    /// Must pass once before anything else is asked; a dyno that fails is killed and tried again.
    pub startup: Vec<Probe>,
    /// Must pass before the first request reaches the dyno, and keep passing for requests to reach it.
    pub readiness: Vec<Probe>,
    /// Must keep passing; a dyno that fails is replaced.
    pub liveness: Vec<Probe>,
}

impl HealthCheck {
    /// The checks of a kind.
    pub fn of(&self, kind: ProbeKind) -> impl Iterator<Item = (ProbeId, &Probe)> {
        let probes = match kind {
            ProbeKind::Startup => &self.startup,
            ProbeKind::Readiness => &self.readiness,
            ProbeKind::Liveness => &self.liveness,
        };
        probes.iter().enumerate().map(move |(index, probe)| (ProbeId { kind, index }, probe))
    }
}

/// One HTTP check. A status from 200 to 399 passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Path and query asked for.
    pub path: String,
    /// Text the body must hold.
    pub content: Option<String>,
    /// How long one answer may take.
    pub timeout: Duration,
    /// Failures in a row before it counts; at least 1.
    pub attempts: u32,
    /// Time between two tries.
    pub wait: Duration,
    /// Time after the port listens before the first try.
    pub initial_delay: Duration,
}

impl Default for Probe {
    fn default() -> Self {
        let wait = Duration::from_secs(5);
        Self { path: "/".into(), content: None, timeout: Duration::from_secs(5), attempts: 3, wait, initial_delay: Duration::ZERO }
    }
}

/// Timers and bounds; the defaults are Heroku's where Heroku has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The port web dynos are told in `PORT`.
    pub port: u16,
    /// A web dyno must listen within this time (R10).
    pub boot_timeout: Duration,
    /// SIGTERM to SIGKILL (R12).
    pub stop_grace: Duration,
    /// Longest wait for a retired web dyno's last request before SIGTERM is sent anyway.
    pub drain_limit: Duration,
    /// Longest release phase, and longest postdeploy script.
    pub release_timeout: Duration,
    /// How long releases must have ceased to come before the newest one is started, if they come faster than dynos boot.
    pub quiet: Duration,
    /// The longest such wait: a stream of releases that never ends is followed at this pace.
    pub quiet_limit: Duration,
    /// Most dynos of one process type that start at the same time; at least 1.
    pub max_surge: u32,
    /// Delay after the second crash in a row; doubles with each further one.
    pub backoff_first: Duration,
    /// Longest delay.
    pub backoff_cap: Duration,
    /// A dyno that was up this long starts with a clean record.
    pub stable_after: Duration,
    /// Spreads restarts of different apps; any number.
    pub jitter_seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port: 5000,
            boot_timeout: Duration::from_mins(1),
            stop_grace: Duration::from_secs(30),
            drain_limit: Duration::from_secs(30),
            release_timeout: Duration::from_hours(1),
            // Nobody notices half a second after the last of many changes; a person's two commands in a row are one rollout.
            quiet: Duration::from_millis(500),
            quiet_limit: Duration::from_secs(5),
            max_surge: 2,
            backoff_first: Duration::from_secs(1),
            backoff_cap: Duration::from_mins(5),
            stable_after: Duration::from_mins(5),
            jitter_seed: 0,
        }
    }
}
