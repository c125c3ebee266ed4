//! A world that does what it is told: late, in any order, or not at all. It watches that no step breaks a promise.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use landfall_deploy::{
    Container, ContainerKey, ContainerKind, Desired, Drain, FirstDeploy, Health, HealthCheck, Observed, PostdeployEnd, Probe, ProbeKind,
    RouterView, Routes, Settings, State, Step, StopReason, Target, Told, TypeSpec, plan, remember_crash,
};
use landfall_model::{DynoName, DynoSize, ProcessType, ReleaseStatus, ReleaseVersion};

/// How the web dynos of a release behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    Good,
    NeverListens,
    CrashesAtBoot,
    FailsHealthCheck,
    NeverReady,
}

pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) desired: Desired,
    pub(crate) observed: Observed,
    /// Whom the router really sends requests to.
    table: BTreeSet<ContainerKey>,
    pub(crate) natures: BTreeMap<ReleaseVersion, Nature>,
    pub(crate) lines: Vec<String>,
    /// Releases whose phase failed.
    pub(crate) failed: BTreeSet<ReleaseVersion>,
    phase_fails: BTreeSet<ReleaseVersion>,
    /// How often a postdeploy script was begun.
    pub(crate) postdeploys: usize,
    /// How those ended.
    pub(crate) ends: Vec<PostdeployEnd>,
    /// Containers that run on without being alive.
    pub(crate) sick: BTreeSet<ContainerKey>,
    newest: u32,
    next_id: u32,
    /// Involuntary losses since the last plan: they are nobody's decision.
    losses: usize,
}

pub(crate) fn web() -> ProcessType {
    ProcessType::web()
}

pub(crate) fn worker() -> ProcessType {
    "worker".parse().unwrap()
}

impl World {
    pub(crate) fn new() -> Self {
        let desired = Desired {
            destroyed: false,
            maintenance: false,
            current: None,
            pending: None,
            restarts: landfall_model::Restarts::default(),
            first_deploy: FirstDeploy::Over,
            health: HealthCheck::default(),
            settings: Settings::default(),
        };
        Self {
            now: Duration::from_secs(1000),
            desired,
            observed: Observed::default(),
            table: BTreeSet::new(),
            natures: BTreeMap::new(),
            lines: Vec::new(),
            failed: BTreeSet::new(),
            phase_fails: BTreeSet::new(),
            postdeploys: 0,
            ends: Vec::new(),
            sick: BTreeSet::new(),
            newest: 0,
            next_id: 0,
            losses: 0,
        }
    }

    /// A world in which `web` and `worker` dynos of v1 run and serve.
    pub(crate) fn serving(web_quantity: u32, worker_quantity: u32) -> Self {
        let mut world = Self::new();
        world.deploy(Nature::Good);
        world.scale(&web(), web_quantity);
        world.scale(&worker(), worker_quantity);
        world.settle();
        world.lines.clear();
        world
    }

    pub(crate) fn deploy(&mut self, nature: Nature) -> ReleaseVersion {
        self.newest += 1;
        let version = ReleaseVersion(self.newest);
        self.natures.insert(version, nature);
        self.promote(version);
        version
    }

    pub(crate) fn deploy_with_phase(&mut self, nature: Nature, fails: bool) -> ReleaseVersion {
        self.newest += 1;
        let version = ReleaseVersion(self.newest);
        self.natures.insert(version, nature);
        if fails {
            self.phase_fails.insert(version);
        }
        self.desired.pending = Some(version);
        version
    }

    fn promote(&mut self, version: ReleaseVersion) {
        if self.desired.current.as_ref().is_some_and(|current| current.version > version) {
            return;
        }
        let types = self.desired.current.take().map_or_else(
            || {
                let spec = TypeSpec { quantity: 0, size: DynoSize::Standard1X, fingerprint: "f".into() };
                [(web(), spec.clone()), (worker(), spec)].into()
            },
            |target| target.types,
        );
        self.desired.current = Some(Target { version, types });
        let nature = self.natures[&version];
        let probes = |wanted: bool| if wanted { vec![Probe::default()] } else { Vec::new() };
        self.desired.health = HealthCheck {
            startup: probes(nature == Nature::FailsHealthCheck || version.0.is_multiple_of(3)),
            readiness: probes(nature == Nature::NeverReady || version.0.is_multiple_of(7)),
            liveness: probes(version.0.is_multiple_of(5)),
        };
    }

    pub(crate) fn scale(&mut self, process_type: &ProcessType, quantity: u32) {
        if let Some(spec) = self.desired.current.as_mut().and_then(|target| target.types.get_mut(process_type)) {
            spec.quantity = quantity;
        }
    }

    pub(crate) fn plan(&mut self) -> landfall_deploy::Plan {
        self.losses = 0;
        plan(&self.desired, &self.observed, self.now)
    }

    pub(crate) fn apply(&mut self, step: Step) {
        self.check(&step);
        match step {
            Step::RunReleasePhase { version } => {
                let dyno = "release.1".parse().unwrap();
                self.start(ContainerKind::Release, dyno, version, DynoSize::Standard1X, String::new(), 0);
            }
            Step::FinishRelease { version, status } => {
                self.desired.pending = None;
                if status == ReleaseStatus::Succeeded {
                    self.promote(version);
                } else {
                    self.failed.insert(version);
                }
            }
            Step::FirstLive { version } => {
                self.postdeploys += 1;
                self.desired.first_deploy = FirstDeploy::Postdeploy(version);
                let dyno = format!("postdeploy.{}", version.0).parse().unwrap();
                self.start(ContainerKind::Postdeploy, dyno, version, DynoSize::Standard1X, String::new(), 0);
            }
            Step::FinishPostdeploy { end } => {
                self.ends.push(end);
                self.desired.first_deploy = FirstDeploy::Over;
            }
            Step::Report { key, dyno, told, lines, crash } => {
                self.lines.extend(lines.into_iter().map(|line| format!("{dyno}: {line}")));
                if let Some(container) = self.get(&key) {
                    container.told = told;
                }
                if let Some(crash) = crash {
                    remember_crash(self.observed.crashes.entry(dyno).or_default(), crash);
                }
            }
            Step::SetRoutes { mode, backends } => {
                self.table.clone_from(&backends);
                self.observed.router = RouterView::Here { acknowledged: Some(Routes { mode, backends }) };
            }
            Step::RemoveRoutes => {
                self.table.clear();
                self.observed.router = RouterView::Here { acknowledged: None };
            }
            Step::StartDyno { dyno, release, size, fingerprint, generation } => {
                self.start(ContainerKind::Dyno, dyno, release, size, fingerprint, generation);
            }
            Step::CheckHealth { key, id, .. } => {
                let (now, natures, sick) = (self.now, self.natures.clone(), self.sick.contains(&key));
                if let Some(container) = self.get(&key) {
                    let passes = match id.kind {
                        ProbeKind::Startup => natures[&container.release] != Nature::FailsHealthCheck,
                        ProbeKind::Readiness => natures[&container.release] != Nature::NeverReady,
                        ProbeKind::Liveness => !sick,
                    };
                    let probed = container.health.of_mut(id);
                    probed.asked(now);
                    probed.answered(if passes { Ok(()) } else { Err("status 500".to_owned()) });
                }
            }
            Step::Drain { key } => {
                let now = self.now;
                self.get(&key).unwrap().drain = Drain::Asked { since: now };
            }
            Step::StopDyno { key, dyno, reason, grace, crash } => {
                if let Some(crash) = crash {
                    remember_crash(self.observed.crashes.entry(dyno.clone()).or_default(), crash);
                    self.losses += 1;
                }
                self.lines.extend(reason.lines(grace).into_iter().map(|line| format!("{dyno}: {line}")));
                let now = self.now;
                if let Some(container) = self.get(&key).filter(|c| !matches!(c.state, State::Exited { .. })) {
                    container.state = State::Stopping { since: now, grace, reason: Some(reason) };
                }
            }
            Step::RemoveContainer { key } => self.observed.containers.retain(|c| c.key != key),
        }
    }

    /// Promises no step may break.
    fn check(&self, step: &Step) {
        match step {
            Step::SetRoutes { backends, .. } => {
                let wanted = self.desired.quantity(&web()) as usize;
                let before = self.healthy(&self.observed.acknowledged());
                let after = self.healthy(backends);
                assert!(after + self.losses >= wanted.min(before), "{before} routed web dynos became {after}, {wanted} wanted");
                for key in backends {
                    let Some(container) = self.observed.containers.iter().find(|c| c.key == *key) else { continue };
                    assert!(!self.failed.contains(&container.release), "a failed release was routed");
                    assert!(!matches!(container.state, State::Starting), "a booting dyno was routed");
                    assert!(matches!(self.natures[&container.release], Nature::Good), "a release that never boots was routed");
                }
            }
            Step::StopDyno { key, reason, .. } => {
                let spared = self.desired.destroyed || reason.is_failure() || matches!(reason, StopReason::Unhealthy { .. });
                assert!(spared || !self.table.contains(key), "a routed dyno was stopped: {reason:?}");
            }
            Step::Drain { key } => assert!(!self.table.contains(key), "nobody waits for the end of what goes on"),
            Step::RemoveContainer { key } => {
                let container = self.observed.containers.iter().find(|c| c.key == *key).unwrap();
                assert!(matches!(container.state, State::Exited { .. }), "a running container was removed");
            }
            Step::StartDyno { dyno, release, .. } => {
                assert!(!self.desired.destroyed);
                assert!(dyno.index <= self.desired.quantity(&dyno.process_type), "more was started than wanted");
                assert!(!self.failed.contains(release), "a failed release was started");
                let target = self.desired.current.as_ref().unwrap().version;
                let booting = |c: &&Container| {
                    c.state == State::Starting
                        && c.dyno.process_type == dyno.process_type
                        && c.release == target
                        && c.dyno.index <= self.desired.quantity(&c.dyno.process_type)
                        && c.generation == self.desired.restarts.generation(&c.dyno)
                };
                let surge = self.observed.containers.iter().filter(booting).count();
                assert!(*release != target || surge < 2, "{surge} dynos boot already");
            }
            _ => {}
        }
    }

    fn healthy(&self, keys: &BTreeSet<ContainerKey>) -> usize {
        self.observed.containers.iter().filter(|c| keys.contains(&c.key) && c.state == State::Ready).count()
    }

    fn get(&mut self, key: &ContainerKey) -> Option<&mut Container> {
        self.observed.containers.iter_mut().find(|c| c.key == *key)
    }

    fn start(
        &mut self,
        kind: ContainerKind,
        dyno: DynoName,
        release: ReleaseVersion,
        size: DynoSize,
        fingerprint: String,
        generation: u64,
    ) {
        self.next_id += 1;
        self.observed.containers.push(Container {
            key: ContainerKey(format!("{}-{}", dyno, self.next_id)),
            kind,
            dyno,
            release,
            size,
            fingerprint,
            generation,
            state: State::Starting,
            started_at: self.now,
            up_since: None,
            health: Health::default(),
            drain: Drain::NotAsked,
            listeners: Vec::new(),
            told: Told::Starting,
            held: false,
        });
    }

    pub(crate) fn one_off(&mut self) {
        let version = self.desired.current.as_ref().unwrap().version;
        self.start(ContainerKind::OneOff, "run.7".parse().unwrap(), version, DynoSize::Standard1X, String::new(), 0);
    }

    /// Lets one container move as its nature is.
    pub(crate) fn advance(&mut self, position: usize) {
        let now = self.now;
        if self.observed.containers.is_empty() {
            return;
        }
        let position = position % self.observed.containers.len();
        let fails = self.phase_fails.contains(&self.observed.containers[position].release);
        let container = &mut self.observed.containers[position];
        let listens_never = container.dyno.process_type.is_web() && self.natures[&container.release] == Nature::NeverListens;
        let crashes = container.kind == ContainerKind::Dyno && self.natures[&container.release] == Nature::CrashesAtBoot;
        match container.state.clone() {
            State::Starting if crashes => container.state = State::Exited { code: 1, oom: false, reason: None, late: false },
            State::Starting if !listens_never => {
                container.state = State::Ready;
                container.up_since = Some(now);
            }
            State::Ready if matches!(container.kind, ContainerKind::Release | ContainerKind::Postdeploy) => {
                container.state = State::Exited { code: i32::from(fails), oom: false, reason: None, late: false };
            }
            State::Ready if matches!(container.drain, Drain::Asked { .. }) => container.drain = Drain::Done,
            State::Stopping { reason, .. } => container.state = State::Exited { code: 143, oom: false, reason, late: false },
            _ => {}
        }
    }

    /// From now on its liveness check fails.
    pub(crate) fn sicken(&mut self, position: usize) {
        let count = self.observed.containers.len().max(1);
        if let Some(container) = self.observed.containers.get(position % count) {
            self.sick.insert(container.key.clone());
        }
    }

    pub(crate) fn crash(&mut self, position: usize) {
        if self.observed.containers.is_empty() {
            return;
        }
        let position = position % self.observed.containers.len();
        let container = &mut self.observed.containers[position];
        if matches!(container.state, State::Starting | State::Ready) {
            container.state = State::Exited { code: 1, oom: false, reason: None, late: false };
            self.losses += 1;
        }
    }

    /// kill -9 of the server: what only it remembered is gone.
    pub(crate) fn server_restarts(&mut self) {
        self.observed.crashes.clear();
        self.observed.router = RouterView::Untold;
        for container in &mut self.observed.containers {
            container.drain = Drain::NotAsked;
            container.health = Health::default();
            container.up_since = container.up_since.filter(|_| container.state == State::Ready);
            container.told = match &mut container.state {
                State::Ready if self.natures[&container.release] == Nature::Good => Told::Up,
                State::Stopping { reason, .. } | State::Exited { reason, .. } => {
                    *reason = None;
                    Told::Starting
                }
                State::Ready | State::Starting => Told::Starting,
            };
        }
    }

    /// Plans and performs everything in order until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        for _ in 0..400 {
            let plan = self.plan();
            let before = self.observed.clone();
            let busy = !plan.steps.is_empty();
            for step in plan.steps {
                self.apply(step);
            }
            for position in 0..self.observed.containers.len() {
                self.advance(position);
            }
            if !busy && before == self.observed {
                match plan.wake_at {
                    Some(at) => self.now = at.max(self.now),
                    None => return,
                }
            }
        }
        let steps = self.plan();
        panic!("no end: {:#?}\n{steps:#?}", self.observed);
    }
}

impl World {
    /// Lets a release phase that is under way come to its end.
    pub(crate) fn settle_pending(&mut self) {
        for _ in 0..100 {
            if self.desired.pending.is_none() {
                return;
            }
            for step in self.plan().steps {
                self.apply(step);
            }
            for position in 0..self.observed.containers.len() {
                self.advance(position);
            }
        }
        panic!("the release phase never ends");
    }
}
