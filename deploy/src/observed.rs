//! What is true of one app, as agent and router tell it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use landfall_model::{DynoName, DynoSize, ReleaseVersion};

use crate::StopReason;

/// A container's id, opaque here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerKey(pub String);

/// One app as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Its containers, builds excepted.
    pub containers: Vec<Container>,
    /// What the router says.
    pub router: RouterView,
    /// Crashes by dyno name, oldest first.
    pub crashes: BTreeMap<DynoName, Vec<Crash>>,
}

impl Observed {
    /// Containers the router confirmed it sends requests to.
    pub fn acknowledged(&self) -> BTreeSet<ContainerKey> {
        match &self.router {
            RouterView::Here { acknowledged: Some(routes) } => routes.backends.clone(),
            _ => BTreeSet::new(),
        }
    }

    /// Whether the router confirmed that it sends requests to this container.
    pub fn is_acknowledged(&self, key: &ContainerKey) -> bool {
        matches!(&self.router, RouterView::Here { acknowledged: Some(routes) } if routes.backends.contains(key))
    }
}

/// What a container is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerKind {
    /// One of the formation.
    Dyno,
    /// `landfall run`: its owner ends it.
    OneOff,
    /// The release phase of a pending release.
    Release,
}

/// One container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub key: ContainerKey,
    /// What it is for.
    pub kind: ContainerKind,
    /// `web.1`, `run.4821`.
    pub dyno: DynoName,
    /// Which release it runs.
    pub release: ReleaseVersion,
    /// Its size.
    pub size: DynoSize,
    /// See [`crate::TypeSpec::fingerprint`].
    pub fingerprint: String,
    /// See [`landfall_model::Restarts::generation`].
    pub generation: u64,
    /// Where it is in its life.
    pub state: State,
    /// When it was asked for.
    pub started_at: Duration,
    /// When it was first seen up.
    pub up_since: Option<Duration>,
    /// What its health checks said.
    pub health: Health,
    /// Where its last requests are.
    pub drain: Drain,
    /// `address:port` it listens on besides the wanted one.
    pub listeners: Vec<String>,
    /// What its log already says about it.
    pub told: Told,
    /// Somebody is attached: its end is reported, its removal waits.
    pub held: bool,
}

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its port does not listen yet.
    Starting,
    /// It listens, or runs when it has no port.
    Ready,
    /// Told to stop.
    Stopping {
        /// Since when.
        since: Duration,
        /// How long it has.
        grace: Duration,
        /// Why, when we still know.
        reason: Option<StopReason>,
    },
    /// Ended.
    Exited {
        /// Exit code, or 128 + signal.
        code: i32,
        /// Killed by the kernel for memory.
        oom: bool,
        /// Why it was told to stop, if it was.
        reason: Option<StopReason>,
        /// It had been told to, and its grace was over.
        late: bool,
    },
}

/// Health check results of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The startup check passed (or there is none and somebody said so; see [`crate::HealthCheck`]).
    pub startup_passed: bool,
    /// The readiness check failed `attempts` times in a row and has not passed since.
    pub unready: bool,
    /// Failures in a row of the check that is due.
    pub failures: u32,
    /// When a check was last started.
    pub last_at: Option<Duration>,
    /// A check is under way.
    pub in_flight: bool,
    /// What the last failure was, in words.
    pub last_failure: Option<String>,
}

/// A retired web dyno's last requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drain {
    /// Nobody asked the router yet.
    #[default]
    NotAsked,
    /// The router was asked and has not answered.
    Asked {
        /// Since when.
        since: Duration,
    },
    /// The last request ended.
    Done,
}

/// What the app's log already says about a container; kept so that a repeated plan repeats no line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    /// Nothing, or that it starts.
    #[default]
    Starting,
    /// That it is up.
    Up,
    /// That it ended.
    Ended,
}

/// The router, as far as this app is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouterView {
    /// Not connected: it serves with its last table, and nobody knows which.
    Away,
    /// Connected.
    Here {
        /// What it confirmed for this app. `None` = it has nothing.
        acknowledged: Option<Routes>,
    },
}

impl Default for RouterView {
    fn default() -> Self {
        Self::Here { acknowledged: None }
    }
}

/// One app's entry in the route table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes {
    /// What visitors get.
    pub mode: RouteMode,
    /// Who answers, in serving mode.
    pub backends: BTreeSet<ContainerKey>,
}

/// What visitors of an app get. All but `Serving` have no backend to ask and say why (Heroku's H-codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteMode {
    /// Answers of its web dynos.
    Serving,
    /// H80: the owner switched maintenance on.
    Maintenance,
    /// H81: nothing was deployed yet.
    Blank,
    /// H14: no web dynos are wanted.
    NoWeb,
    /// H20: web dynos are booting; requests may wait for them.
    Booting,
    /// H10: web dynos crashed.
    Crashed,
}

/// One crash of one dyno.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// When.
    pub at: Duration,
    /// Of which release.
    pub release: ReleaseVersion,
    /// Its fingerprint.
    pub fingerprint: String,
    /// Its generation.
    pub generation: u64,
    /// Its size.
    pub size: DynoSize,
    /// How long it had been up; `None` = it never was.
    pub up_for: Option<Duration>,
}
