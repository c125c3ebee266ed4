//! Health checks of web dynos: which are due, and what their results mean.

use std::time::Duration;

use crate::boot::is_up;
use crate::{Container, ContainerKind, Crash, Desired, HealthCheck, Observed, Plan, ProbeKind, Step, StopReason};

/// The checks of a container, if it is checked. Only the current release's web dynos are: the checks are part of that release.
fn checks<'a>(desired: &'a Desired, container: &Container) -> Option<&'a HealthCheck> {
    let current = desired.current.as_ref()?.version;
    let checked = container.kind == ContainerKind::Dyno && container.dyno.process_type.is_web() && container.release == current;
    checked.then_some(&desired.health)
}

/// Whether each of a kind has passed at least once.
fn all_passed(checks: &HealthCheck, container: &Container, kind: ProbeKind) -> bool {
    checks.of(kind).all(|(id, _)| container.health.of(id).is_some_and(|probed| probed.passed))
}

/// Whether all that must pass before the first request has passed.
pub(crate) fn may_take_requests(desired: &Desired, container: &Container) -> bool {
    let passed = |checks| [ProbeKind::Startup, ProbeKind::Readiness].into_iter().all(|kind| all_passed(checks, container, kind));
    checks(desired, container).is_none_or(passed)
}

/// Whether a readiness check fails now.
pub(crate) fn is_unready(desired: &Desired, container: &Container) -> bool {
    let fails = |id, attempts| container.health.of(id).is_some_and(|probed| probed.failures >= attempts);
    checks(desired, container).is_some_and(|checks| checks.of(ProbeKind::Readiness).any(|(id, probe)| fails(id, probe.attempts)))
}

/// Asks what is due of a dyno that listens, and stops it if it fails for good.
pub(crate) fn plan(desired: &Desired, observed: &Observed, container: &Container, now: Duration, plan: &mut Plan) {
    let Some(checks) = checks(desired, container) else { return };
    let starts = !is_up(desired, observed, container) && !all_passed(checks, container, ProbeKind::Startup);
    let kinds: &[ProbeKind] = if starts { &[ProbeKind::Startup] } else { &[ProbeKind::Readiness, ProbeKind::Liveness] };
    for (id, probe) in kinds.iter().flat_map(|kind| checks.of(*kind)) {
        let probed = container.health.of(id).cloned().unwrap_or_default();
        if probed.in_flight || id.kind == ProbeKind::Startup && probed.passed {
            continue;
        }
        if probed.failures >= probe.attempts.max(1) && id.kind != ProbeKind::Readiness {
            let why = probed.last_failure.as_deref().unwrap_or("no answer");
            return plan.push(failed(desired, container, now, id.kind, format!("{}: {why}", probe.path)));
        }
        let begin = container.up_since.unwrap_or(container.started_at) + probe.initial_delay;
        let due = probed.last_at.map_or(begin, |last| last + probe.wait);
        if now < due {
            plan.wake(due);
        } else {
            plan.push(Step::CheckHealth { key: container.key.clone(), id, probe: probe.clone() });
        }
    }
}

/// A dyno that never came up is killed and tried again; one that was up leaves like any other, and its successor need not wait for that.
fn failed(desired: &Desired, container: &Container, now: Duration, kind: ProbeKind, detail: String) -> Step {
    let (reason, grace, crash) = match kind {
        ProbeKind::Startup | ProbeKind::Readiness => (StopReason::HealthCheckFailed { detail }, Duration::ZERO, None),
        ProbeKind::Liveness => {
            let crash = Crash { up_for: container.up_since.map(|since| now.saturating_sub(since)), ..Crash::of(container, now) };
            (StopReason::Unhealthy { detail }, desired.settings.stop_grace, Some(crash))
        }
    };
    Step::StopDyno { key: container.key.clone(), dyno: container.dyno.clone(), reason, grace, crash }
}
