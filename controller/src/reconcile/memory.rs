//! What one app's loop remembers between rounds: comforts that agent, router and store cannot tell again.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use landfall_deploy::{
    Container, ContainerKey, ContainerKind, Crash, Desired, Drain, Health, Observed, ProbeKind, RouterView, State, StopReason, Told,
};
use landfall_model::{DynoName, ReleaseVersion};
use landfall_runtime_wire::{ContainerId, ContainerInfo, ContainerState};

use super::clock::Clock;
use super::labels::{Kind, Labels};
use super::status::Failure;

/// How many failures are kept for whoever waits for a deploy.
const FAILURES: usize = 50;

/// What is remembered of one container.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) labels: Labels,
    pub(crate) started_at: Duration,
    pub(crate) up_since: Option<Duration>,
    pub(crate) changed_at: jiff::Timestamp,
    pub(crate) told: Told,
    pub(crate) health: Health,
    pub(crate) drain: Drain,
    pub(crate) stopping: Option<Stopping>,
    last_state: Option<ContainerState>,
}

/// A stop that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Stopping {
    pub(crate) since: Duration,
    pub(crate) grace: Duration,
    pub(crate) reason: Option<StopReason>,
}

/// Something under way that must not be done twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Busy {
    Stop(ContainerKey),
    Drain(ContainerKey),
    Remove(ContainerKey),
    ReleasePhase(ReleaseVersion),
    FinishRelease(ReleaseVersion),
    FirstDeploy,
}

/// One app's loop's memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) seen: BTreeMap<ContainerKey, Seen>,
    /// Containers the agent was asked to start and has not told of yet.
    pub(crate) starting: BTreeSet<ContainerKey>,
    pub(crate) busy: HashSet<Busy>,
    pub(crate) held: HashSet<ContainerKey>,
    pub(crate) crashes: BTreeMap<DynoName, Vec<Crash>>,
    /// Containers whose end was the last to be reported of a dyno.
    pub(crate) reported: BTreeMap<DynoName, ContainerKey>,
    /// Containers that passed the checks that guard a dyno's first request, by dyno.
    pub(crate) passed: BTreeMap<DynoName, ContainerKey>,
    /// What an earlier server wrote down of crashes is taken back.
    pub(crate) recalled: bool,
    pub(crate) failures: Vec<Failure>,
    /// How often the agent refused to start a release phase.
    pub(crate) refused: BTreeMap<ReleaseVersion, u32>,
    /// One-off dynos of an earlier server whose clients cannot come back.
    pub(crate) abandoned: Vec<ContainerKey>,
    /// The newest release whose making is in the log.
    pub(crate) announced: Option<ReleaseVersion>,
    pub(crate) rush: Rush,
}

/// Whether releases come faster than they can be started. Then most of them are never started: only the one that is still the newest after a
/// moment of quiet.
#[derive(Debug, Default)]
pub(crate) struct Rush {
    target: Option<ReleaseVersion>,
    /// Since when that is the target.
    since: Duration,
    /// It was live, or has nothing to come up for.
    was_live: bool,
    /// Since when nothing of the newest release was started, for lack of quiet.
    waits_since: Option<Duration>,
}

impl Rush {
    /// Sees which release must run; says until when it is to be left alone.
    pub(crate) fn until(
        &mut self,
        target: Option<ReleaseVersion>,
        settings: &landfall_deploy::Settings,
        now: Duration,
    ) -> Option<Duration> {
        if target != self.target {
            if self.target.is_some() && !self.was_live {
                self.waits_since.get_or_insert(now);
            }
            *self = Self { target, since: now, was_live: false, waits_since: self.waits_since };
        }
        Some((self.since + settings.quiet).min(self.waits_since? + settings.quiet_limit))
    }

    /// All of the target is up.
    pub(crate) fn live(&mut self) {
        (self.was_live, self.waits_since) = (true, None);
    }

    /// Something of the target is being started.
    pub(crate) fn started(&mut self, now: Duration) {
        self.waits_since = self.waits_since.map(|_| now);
    }
}

impl Memory {
    /// Releases of which something runs, or would be started again after a crash.
    pub(crate) fn releases(&self) -> BTreeSet<ReleaseVersion> {
        let crashed = self.crashes.values().flatten().map(|crash| crash.release);
        self.seen.values().map(|seen| seen.labels.release).chain(crashed).collect()
    }

    /// A release is wholly up: nobody goes back to an earlier one because of a crash any more. Whose record changed.
    pub(crate) fn settled(&mut self, version: ReleaseVersion) -> Vec<DynoName> {
        let mut changed = Vec::new();
        self.crashes.retain(|dyno, record| {
            let before = record.len();
            record.retain(|crash| crash.release >= version);
            if record.len() != before {
                changed.push(dyno.clone());
            }
            !record.is_empty()
        });
        changed
    }

    /// A container is about to be asked for.
    pub(crate) fn expect(&mut self, key: ContainerKey, labels: Labels, now: Duration) {
        self.starting.insert(key.clone());
        self.seen.insert(key, Seen::new(labels, now));
    }

    /// Whether a container is wanted still: it was not told to stop, nor did it come, end and go already.
    pub(crate) fn counts_on(&self, key: &ContainerKey) -> bool {
        self.seen.get(key).is_some_and(|seen| seen.stopping.is_none())
    }

    /// Writes down why the dynos of a release do not come up.
    pub(crate) fn failed(&mut self, failure: Failure) {
        if self.failures.len() == FAILURES {
            self.failures.remove(0);
        }
        self.failures.push(failure);
    }

    /// Joins what the agent tells with what is remembered.
    pub(crate) fn observe(&mut self, containers: &[ContainerInfo], router: RouterView, desired: &Desired, clock: &Clock) -> Observed {
        let now = clock.now();
        let mut observed = Vec::new();
        let mut there = BTreeSet::new();
        for info in containers {
            let Some(labels) = Labels::read(info).filter(|labels| labels.kind != Kind::Build) else { continue };
            let key = ContainerKey(info.id.to_string());
            self.starting.remove(&key);
            if labels.attached && !self.seen.contains_key(&key) {
                self.abandoned.push(key.clone());
            }
            let known =
                Known { reported: self.reported.get(&labels.dyno) == Some(&key), passed: self.passed.get(&labels.dyno) == Some(&key) };
            let seen = self.seen.entry(key.clone()).or_insert_with(|| adopt(labels, info, desired, clock, known));
            seen.note(info, clock, desired.settings.stop_grace);
            observed.push(container(key.clone(), seen, state(info.state, seen, now), &info.other_listeners, self.held.contains(&key)));
            there.insert(key);
        }
        self.seen.retain(|key, _| there.contains(key) || self.starting.contains(key));
        for key in &self.starting {
            if let Some(seen) = self.seen.get(key) {
                observed.push(container(key.clone(), seen, State::Starting, &[], self.held.contains(key)));
            }
        }
        let target = desired.current.as_ref().map(|target| target.version);
        let quiet_until = self.rush.until(target, &desired.settings, now);
        Observed { containers: observed, router, quiet_until, crashes: self.crashes.clone() }
    }
}

impl Seen {
    fn new(labels: Labels, now: Duration) -> Self {
        Self {
            labels,
            started_at: now,
            up_since: None,
            changed_at: jiff::Timestamp::now(),
            told: Told::Starting,
            health: Health::default(),
            drain: Drain::NotAsked,
            stopping: None,
            last_state: None,
        }
    }

    fn note(&mut self, info: &ContainerInfo, clock: &Clock, grace: Duration) {
        let state = info.state;
        if self.last_state != Some(state) {
            self.last_state = Some(state);
            self.changed_at = i64::try_from(info.changed_at_ms)
                .ok()
                .and_then(|at| jiff::Timestamp::from_millisecond(at).ok())
                .unwrap_or_else(jiff::Timestamp::now);
        }
        if state == ContainerState::Ready {
            self.up_since.get_or_insert_with(|| clock.at(info.changed_uptime_ms, info.changed_at_ms));
        }
        if state == ContainerState::Stopping && self.stopping.is_none() {
            self.stopping = Some(Stopping { since: clock.at(info.changed_uptime_ms, info.changed_at_ms), grace, reason: None });
        }
    }
}

/// What an earlier server wrote down of a container.
#[derive(Clone, Copy)]
struct Known {
    /// Its end is in the log.
    reported: bool,
    /// It passed the checks that guard its first request.
    passed: bool,
}

/// A container this server did not start: whatever its state is, the log already says so. Only a dyno of the current release whose checks
/// are not known to have passed is checked again.
fn adopt(labels: Labels, info: &ContainerInfo, desired: &Desired, clock: &Clock, known: Known) -> Seen {
    let checked = !known.passed
        && desired.current.as_ref().is_some_and(|target| target.version == labels.release)
        && labels.dyno.process_type.is_web()
        && [ProbeKind::Startup, ProbeKind::Readiness].into_iter().any(|kind| desired.health.of(kind).next().is_some());
    let told = match info.state {
        ContainerState::Exited(_) if known.reported => Told::Ended,
        ContainerState::Ready if !checked => Told::Up,
        _ => Told::Starting,
    };
    Seen { started_at: clock.at(info.started_uptime_ms, info.started_at_ms), told, ..Seen::new(labels, clock.now()) }
}

fn state(state: ContainerState, seen: &Seen, now: Duration) -> State {
    let reason = seen.stopping.as_ref().and_then(|stopping| stopping.reason.clone());
    match (state, &seen.stopping) {
        (ContainerState::Exited(status), stopping) => {
            let late = stopping.as_ref().is_some_and(|stopping| now >= stopping.since + stopping.grace);
            State::Exited { code: status.code, oom: status.oom, reason, late }
        }
        (_, Some(stopping)) => State::Stopping { since: stopping.since, grace: stopping.grace, reason },
        (ContainerState::Starting, None) => State::Starting,
        (ContainerState::Ready, None) => State::Ready,
        (ContainerState::Stopping, None) => State::Stopping { since: now, grace: Duration::ZERO, reason },
    }
}

fn container(key: ContainerKey, seen: &Seen, state: State, listeners: &[String], held: bool) -> Container {
    let labels = &seen.labels;
    Container {
        key,
        kind: match labels.kind {
            Kind::OneOff => ContainerKind::OneOff,
            Kind::Release => ContainerKind::Release,
            Kind::Postdeploy => ContainerKind::Postdeploy,
            Kind::Dyno | Kind::Build => ContainerKind::Dyno,
        },
        dyno: labels.dyno.clone(),
        release: labels.release,
        size: labels.size,
        fingerprint: labels.fingerprint.clone(),
        generation: labels.generation,
        state,
        started_at: seen.started_at,
        up_since: seen.up_since,
        health: seen.health.clone(),
        drain: seen.drain,
        listeners: listeners.to_vec(),
        told: seen.told,
        held,
    }
}

/// The agent's name of a container.
pub(crate) fn id_of(key: &ContainerKey) -> ContainerId {
    super::labels::container_id(key.0.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use landfall_model::{AppId, DynoSize};
    use landfall_runtime_wire::ExitStatus;

    fn desired() -> Desired {
        Desired {
            destroyed: false,
            maintenance: false,
            current: None,
            pending: None,
            restarts: landfall_model::Restarts::default(),
            first_deploy: landfall_deploy::FirstDeploy::default(),
            health: landfall_deploy::HealthCheck::default(),
            settings: landfall_deploy::Settings::default(),
        }
    }

    fn info(state: ContainerState, changed_at_ms: u64) -> ContainerInfo {
        let labels = Labels {
            app: AppId::new(),
            kind: Kind::Dyno,
            release: ReleaseVersion(3),
            dyno: "web.1".parse().unwrap(),
            size: DynoSize::default(),
            fingerprint: String::new(),
            generation: 0,
            command: String::new(),
            attached: false,
        };
        ContainerInfo {
            id: super::super::labels::container_id("d-1".into()),
            labels: labels.to_map(),
            state,
            ip: None,
            other_listeners: vec![],
            started_at_ms: changed_at_ms,
            changed_at_ms,
            started_uptime_ms: 0,
            changed_uptime_ms: 0,
        }
    }

    #[test]
    fn a_dyno_that_ran_before_this_server_is_as_old_as_it_is() {
        let clock = Clock::new();
        let an_hour_ago = clock.unix_ms(clock.now().saturating_sub(Duration::from_hours(1)));
        let mut memory = Memory::default();
        let observed = memory.observe(&[info(ContainerState::Ready, an_hour_ago)], RouterView::Away, &desired(), &clock);
        let up_for = clock.now().saturating_sub(observed.containers[0].up_since.unwrap());
        assert!(up_for.abs_diff(Duration::from_hours(1)) < Duration::from_secs(5), "{up_for:?}");
        let seen = memory.seen.values().next().unwrap();
        assert_eq!(seen.changed_at.as_millisecond().cast_unsigned(), an_hour_ago);
        assert_eq!(memory.releases(), [ReleaseVersion(3)].into());
    }

    #[test]
    fn nobody_counts_on_a_start_that_was_stopped_and_is_gone() {
        let clock = Clock::new();
        let starting = info(ContainerState::Starting, clock.unix_ms(clock.now()));
        let (key, labels) = (ContainerKey("d-1".into()), Labels::read(&starting).unwrap());
        let mut memory = Memory::default();
        memory.expect(key.clone(), labels, clock.now());
        memory.observe(&[], RouterView::Away, &desired(), &clock);
        assert!(memory.counts_on(&key), "it is not there yet");
        memory.observe(std::slice::from_ref(&starting), RouterView::Away, &desired(), &clock);
        assert!(memory.counts_on(&key));
        memory.seen.get_mut(&key).unwrap().stopping = Some(Stopping { since: clock.now(), grace: Duration::ZERO, reason: None });
        assert!(!memory.counts_on(&key));
        memory.observe(&[], RouterView::Away, &desired(), &clock);
        assert!(!memory.counts_on(&key), "the answer to its start comes last");
    }

    #[test]
    fn a_clock_that_was_set_makes_no_dyno_older() {
        let clock = Clock::new();
        let second = Duration::from_secs(1);
        let uptime = landfall_runtime::uptime_ms();
        for set in [Duration::from_hours(24), Duration::from_hours(48)] {
            // Asked for when the clock said something else.
            let wall = clock.unix_ms(clock.now() + Duration::from_hours(24)).saturating_sub(set.as_millis() as u64);
            let mut memory = Memory::default();
            let info = ContainerInfo { started_uptime_ms: uptime, changed_uptime_ms: uptime, ..info(ContainerState::Starting, wall) };
            let observed = memory.observe(&[info], RouterView::Away, &desired(), &clock);
            let age = clock.now().saturating_sub(observed.containers[0].started_at);
            assert!(age < second, "{age:?}");
        }
    }

    #[test]
    fn an_end_that_was_reported_is_not_reported_again() {
        let clock = Clock::new();
        let ended = info(ContainerState::Exited(ExitStatus { code: 3, oom: false }), clock.unix_ms(clock.now()));
        let told = |reported: Option<&str>| {
            let reported = reported.map(|key| ("web.1".parse().unwrap(), ContainerKey(key.to_owned())));
            let mut memory = Memory { reported: reported.into_iter().collect(), ..Memory::default() };
            memory.observe(std::slice::from_ref(&ended), RouterView::Away, &desired(), &clock).containers[0].told
        };
        assert_eq!([told(None), told(Some("d-0")), told(Some("d-1"))], [Told::Starting, Told::Starting, Told::Ended]);
    }

    #[test]
    fn releases_that_come_too_fast_wait_for_quiet() {
        let settings = landfall_deploy::Settings::default();
        let (quiet, limit) = (settings.quiet, settings.quiet_limit);
        let at = |ms| Duration::from_secs(1000) + Duration::from_millis(ms);
        let mut rush = Rush::default();
        let sees = |rush: &mut Rush, version, ms| rush.until(Some(ReleaseVersion(version)), &settings, at(ms));
        assert_eq!(sees(&mut rush, 1, 0), None, "a server that starts is in no hurry");
        rush.live();
        assert_eq!(sees(&mut rush, 2, 10), None, "the first change starts at once");
        rush.started(at(10));
        assert_eq!(sees(&mut rush, 3, 60), Some(at(60) + quiet));
        assert_eq!(sees(&mut rush, 3, 90), Some(at(60) + quiet));
        assert_eq!(sees(&mut rush, 4, 100), Some(at(100) + quiet));
        assert_eq!(sees(&mut rush, 99, 5_000), Some(at(60) + limit), "a stream without end is followed");
        rush.started(at(5_060));
        assert_eq!(sees(&mut rush, 100, 5_100), Some(at(5_100) + quiet));
        rush.live();
        assert_eq!(sees(&mut rush, 100, 7_000), None);
        assert_eq!(sees(&mut rush, 101, 7_001), None);
    }

    #[test]
    fn once_a_release_is_up_nobody_goes_back_for_a_crash() {
        let crash = |release| Crash {
            at: Duration::ZERO,
            release: ReleaseVersion(release),
            fingerprint: String::new(),
            generation: 0,
            size: DynoSize::default(),
            up_for: Some(Duration::from_secs(1)),
        };
        let (web, worker): (DynoName, DynoName) = ("web.1".parse().unwrap(), "worker.1".parse().unwrap());
        let mut memory = Memory::default();
        memory.crashes.insert(web.clone(), vec![crash(3), crash(4)]);
        memory.crashes.insert(worker.clone(), vec![crash(3)]);
        assert_eq!(memory.releases(), [3, 4].map(ReleaseVersion).into());
        assert_eq!(memory.settled(ReleaseVersion(4)), [web.clone(), worker]);
        assert_eq!(memory.crashes, BTreeMap::from([(web, vec![crash(4)])]));
        assert!(memory.settled(ReleaseVersion(4)).is_empty());
    }
}
