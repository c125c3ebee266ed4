//! What one app's loop tells the rest of the server.

use jiff::Timestamp;
use landfall_deploy::{Container, ContainerKind, Desired, Observed, ProbeKind, State, Told, is_live};
use landfall_model::{DynoName, DynoSize, DynoState, ReleaseVersion};
use landfall_runtime_wire::ContainerId;

use super::memory::Memory;

/// One app as its loop last saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppStatus {
    /// The release that must run. `None` = nobody looked yet.
    pub target: Option<ReleaseVersion>,
    /// The release whose release phase is under way.
    pub pending: Option<ReleaseVersion>,
    /// Every wanted dyno of the target is up, and web ones take requests.
    pub live: bool,
    /// Releases that still answer visitors, lowest first.
    pub serving: Vec<ReleaseVersion>,
    /// Every dyno, one-off ones too, in name order.
    pub dynos: Vec<DynoStatus>,
    /// Why dynos did not come up, oldest first.
    pub failures: Vec<Failure>,
}

/// One dyno.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynoStatus {
    /// Its container.
    pub container: ContainerId,
    /// `web.1`.
    pub name: DynoName,
    /// Of the formation, a one-off, a release phase, or a postdeploy script.
    pub kind: ContainerKind,
    /// Its state in Heroku's words.
    pub state: DynoState,
    /// As people see it.
    pub command: String,
    /// Its size.
    pub size: DynoSize,
    /// What it runs.
    pub release: ReleaseVersion,
    /// Whether the router sends requests to it.
    pub routed: bool,
    /// Why it counts as up, or why it is down.
    pub note: Option<String>,
    /// When its state last changed.
    pub updated_at: Timestamp,
}

/// A dyno that did not come up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Of which release.
    pub release: ReleaseVersion,
    /// Its name.
    pub dyno: DynoName,
    /// What the log says about it.
    pub lines: Vec<String>,
    /// It had all the time it could have: nobody needs to see it fail a second time.
    pub decisive: bool,
}

/// Draws the picture.
pub(crate) fn status(desired: &Desired, observed: &Observed, memory: &Memory) -> AppStatus {
    let target = desired.current.as_ref().map(|target| target.version);
    let mut dynos: Vec<DynoStatus> = observed.containers.iter().filter_map(|c| dyno(desired, observed, memory, c)).collect();
    dynos.sort_by(|a, b| (&a.name, a.release).cmp(&(&b.name, b.release)));
    let mut serving: Vec<ReleaseVersion> =
        dynos.iter().filter(|dyno| dyno.routed && dyno.state == DynoState::Up).map(|dyno| dyno.release).collect();
    serving.sort_unstable();
    serving.dedup();
    let live = is_live(desired, observed);
    AppStatus { target, pending: desired.pending, live, serving, dynos, failures: memory.failures.clone() }
}

fn dyno(desired: &Desired, observed: &Observed, memory: &Memory, container: &Container) -> Option<DynoStatus> {
    let seen = memory.seen.get(&container.key)?;
    let state = match &container.state {
        State::Ready if container.told == Told::Up => DynoState::Up,
        State::Starting | State::Ready => DynoState::Starting,
        State::Stopping { reason, .. } if reason.as_ref().is_some_and(landfall_deploy::StopReason::is_failure) => DynoState::Crashed,
        State::Exited { reason, .. } if reason.as_ref().is_some_and(|reason| !reason.is_failure()) => DynoState::Down,
        State::Exited { .. } if container.kind == ContainerKind::Dyno => DynoState::Crashed,
        State::Stopping { .. } | State::Exited { .. } => DynoState::Down,
    };
    Some(DynoStatus {
        container: super::memory::id_of(&container.key),
        name: container.dyno.clone(),
        kind: container.kind,
        state,
        command: seen.labels.command.clone(),
        size: container.size,
        release: container.release,
        routed: observed.is_acknowledged(&container.key),
        note: note(desired, container, state),
        updated_at: seen.changed_at,
    })
}

fn note(desired: &Desired, container: &Container, state: DynoState) -> Option<String> {
    match (state, &container.state) {
        (DynoState::Up, _) if container.dyno.process_type.is_web() && container.kind == ContainerKind::Dyno => {
            let guards = [ProbeKind::Startup, ProbeKind::Readiness].into_iter().flat_map(|kind| desired.health.of(kind));
            let passed = guards.filter(|(id, _)| container.health.of(*id).is_some_and(|probed| probed.passed));
            let paths: Vec<&str> = passed.map(|(_, probe)| probe.path.as_str()).collect();
            Some(if paths.is_empty() {
                format!("listening on port {}", desired.settings.port)
            } else {
                format!("health check {} passed", paths.join(", "))
            })
        }
        (DynoState::Crashed | DynoState::Down, State::Exited { code, oom, .. }) => {
            let why = if *oom { " (out of memory)" } else { "" };
            Some(format!("exited with status {code}{why}"))
        }
        _ => None,
    }
}
