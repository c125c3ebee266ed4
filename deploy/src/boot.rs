//! From started to up: the port, the health checks, and what happens when neither comes.

use std::time::Duration;

use crate::start::was_up_before;
use crate::{Container, ContainerKind, Desired, Observed, Plan, State, Step, StopReason, Told, advice, health, lines};

/// Whether a container has come up: it listens (or runs, when it has no port), and the checks that guard its first request have passed.
///
/// A dyno of another release than the current one is up only if it was already: its checks are no longer known.
pub(crate) fn is_up(desired: &Desired, observed: &Observed, container: &Container) -> bool {
    let current = desired.current.as_ref().map(|target| target.version);
    let passed = || match current {
        Some(current) if current == container.release => health::may_take_requests(desired, container),
        _ => was_up_before(observed, container),
    };
    container.state == State::Ready
        && (container.told == Told::Up || observed.is_acknowledged(&container.key) || container.kind != ContainerKind::Dyno || passed())
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
            State::Ready => health::plan(desired, observed, container, now, plan),
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
    let reason = StopReason::BootTimeout { after: desired.settings.boot_timeout, advice };
    plan.push(Step::StopDyno { key: container.key.clone(), dyno: container.dyno.clone(), reason, grace: Duration::ZERO, crash: None });
}
