//! From started to up: the port, the health checks, and what happens when neither comes.

use std::time::Duration;

use crate::start::was_up_before;
use crate::{
    Container, ContainerKind, Desired, HealthCheck, Observed, Plan, Probe, ProbeKind, State, Step, StopReason, Told, advice, lines,
};

/// Whether a container has come up: it listens (or runs, when it has no port), and its startup check has passed if it has one.
///
/// A dyno of another release than the current one is up only if it was already: its checks are no longer known.
pub(crate) fn is_up(desired: &Desired, observed: &Observed, container: &Container) -> bool {
    let current = desired.current.as_ref().map(|target| target.version);
    let checked = || container.health.startup_passed || probe_of(desired, container, ProbeKind::Startup).is_none();
    container.state == State::Ready
        && (container.told == Told::Up
            || observed.is_acknowledged(&container.key)
            || container.kind != ContainerKind::Dyno
            || current == Some(container.release) && checked()
            || was_up_before(observed, container))
}

/// Whether it is on its way up.
pub(crate) fn is_booting(desired: &Desired, observed: &Observed, container: &Container) -> bool {
    matches!(container.state, State::Starting | State::Ready) && !is_up(desired, observed, container)
}

/// Whether it is what the current release wants in its place.
pub(crate) fn matches_target(desired: &Desired, container: &Container) -> bool {
    let Some(target) = desired.current.as_ref().filter(|_| !desired.destroyed) else { return false };
    let Some(spec) = target.types.get(&container.dyno.process_type) else { return false };
    container.kind == ContainerKind::Dyno
        && (1..=spec.quantity).contains(&container.dyno.index)
        && container.release == target.version
        && container.fingerprint == spec.fingerprint
        && container.generation == desired.restarts.generation(&container.dyno)
}

/// Only the current release's web dynos are checked: the checks are part of that release.
fn probe_of<'a>(desired: &'a Desired, container: &Container, kind: ProbeKind) -> Option<&'a Probe> {
    let current = desired.current.as_ref()?;
    if !container.dyno.process_type.is_web() || container.kind != ContainerKind::Dyno || container.release != current.version {
        return None;
    }
    let HealthCheck { startup, readiness } = desired.health.as_ref()?;
    match kind {
        ProbeKind::Startup => startup.as_ref(),
        ProbeKind::Readiness => readiness.as_ref(),
    }
}

/// Reports dynos that came up, runs health checks that are due, and stops web dynos that never come up.
pub(crate) fn plan(desired: &Desired, observed: &Observed, now: Duration, plan: &mut Plan) {
    for container in &observed.containers {
        if is_up(desired, observed, container) && container.told == Told::Starting {
            let lines = vec![lines::UP.to_owned()];
            plan.push(Step::Report { key: container.key.clone(), dyno: container.dyno.clone(), told: Told::Up, lines, crash: None });
        }
        if container.kind != ContainerKind::Dyno || !container.dyno.process_type.is_web() || desired.destroyed {
            continue;
        }
        match container.state {
            State::Starting => boot_timeout(desired, container, now, plan),
            State::Ready => check(desired, observed, container, now, plan),
            State::Stopping { .. } | State::Exited { .. } => {}
        }
    }
}

fn boot_timeout(desired: &Desired, container: &Container, now: Duration, plan: &mut Plan) {
    let deadline = container.started_at + desired.settings.boot_timeout;
    if now < deadline {
        return plan.wake(deadline);
    }
    let advice = advice::boot_advice(desired.settings.port, &container.listeners);
    stop(container, StopReason::BootTimeout { after: desired.settings.boot_timeout, advice }, plan);
}

fn check(desired: &Desired, observed: &Observed, container: &Container, now: Duration, plan: &mut Plan) {
    let (kind, probe) = match (probe_of(desired, container, ProbeKind::Startup), probe_of(desired, container, ProbeKind::Readiness)) {
        (Some(probe), _) if !is_up(desired, observed, container) => (ProbeKind::Startup, probe),
        (_, Some(probe)) => (ProbeKind::Readiness, probe),
        _ => return,
    };
    if container.health.in_flight {
        return;
    }
    if kind == ProbeKind::Startup && container.health.failures >= probe.attempts.max(1) {
        let why = container.health.last_failure.as_deref().unwrap_or("no answer");
        return stop(container, StopReason::HealthCheckFailed { detail: format!("{}: {why}", probe.path) }, plan);
    }
    let due =
        container.health.last_at.map_or(container.up_since.unwrap_or(container.started_at) + probe.initial_delay, |last| last + probe.wait);
    if now < due {
        return plan.wake(due);
    }
    plan.push(Step::CheckHealth {
        key: container.key.clone(),
        kind,
        path: probe.path.clone(),
        timeout: probe.timeout,
        attempts: probe.attempts.max(1),
    });
}

fn stop(container: &Container, reason: StopReason, plan: &mut Plan) {
    plan.push(Step::StopDyno { key: container.key.clone(), dyno: container.dyno.clone(), reason, grace: Duration::ZERO });
}
