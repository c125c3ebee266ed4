//! What is true of one app, as agent and router tell it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use landfall_model::{DynoName, DynoSize, ReleaseVersion};

use crate::{ProbeKind, StopReason};

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
    /// Releases come faster than they can be started: until then nothing of the newest one is. See [`crate::Settings::quiet`].
    pub quiet_until: Option<Duration>,
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
    /// The postdeploy script of the first release that was live.
    Postdeploy,
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

/// Which check of an app: its kind, and its place among those of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId {
    /// Its kind.
    pub kind: ProbeKind,
    /// Its place, from 0.
    pub index: usize,
}

/// Health check results of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health(BTreeMap<ProbeId, Probed>);

impl Health {
    /// What is known of one check. `None` = it was never asked.
    pub fn of(&self, id: ProbeId) -> Option<&Probed> {
        self.0.get(&id)
    }

    /// The same, to be changed.
    pub fn of_mut(&mut self, id: ProbeId) -> &mut Probed {
        self.0.entry(id).or_default()
    }
}

/// What is known of one check of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probed {
    /// It passed at least once.
    pub passed: bool,
    /// Failures in a row.
    pub failures: u32,
    /// When it was last asked.
    pub last_at: Option<Duration>,
    /// It is being asked.
    pub in_flight: bool,
    /// What the last failure was, in words.
    pub last_failure: Option<String>,
}

impl Probed {
    /// It is being asked.
    pub fn asked(&mut self, now: Duration) {
        self.in_flight = true;
        self.last_at = Some(now);
    }

    /// The answer, or why there is none.
    pub fn answered(&mut self, result: Result<(), String>) {
        self.in_flight = false;
        self.passed |= result.is_ok();
        self.failures = if result.is_ok() { 0 } else { self.failures.saturating_add(1) };
        self.last_failure = result.err();
    }
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
    /// Connected, but not told of this app yet, or just being told: it serves with its last table, and nobody knows which.
    Untold,
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

impl Crash {
    /// Of a container that was never up.
    pub(crate) fn of(container: &Container, at: Duration) -> Self {
        Self {
            at,
            release: container.release,
            fingerprint: container.fingerprint.clone(),
            generation: container.generation,
            size: container.size,
            up_for: None,
        }
    }
}
