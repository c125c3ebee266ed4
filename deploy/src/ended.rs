//! After the end: report it once, then remove what is left; and hurry those that do not end.

use std::time::Duration;

use crate::boot::matches_target;
use crate::lines::End;
use crate::{Container, ContainerKind, Crash, Desired, FirstDeploy, Observed, Plan, State, Step, StopReason, Told, lines};

/// How long after its grace a container may still be there before it is killed again.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// Reports ended containers and removes those nobody needs. A crashed dyno stays, so that `ps` can show it, until its successor starts.
pub(crate) fn plan(desired: &Desired, observed: &Observed, now: Duration, plan: &mut Plan) {
    for container in &observed.containers {
        match &container.state {
            State::Stopping { since, grace, .. } => {
                let deadline = *since + *grace + STUCK_AFTER;
                if now < deadline {
                    plan.wake(deadline);
                } else {
                    plan.push(Step::StopDyno {
                        key: container.key.clone(),
                        dyno: container.dyno.clone(),
                        reason: StopReason::Stuck,
                        grace: Duration::ZERO,
                        crash: None,
                    });
                }
            }
            State::Exited { code, oom, reason, late } if container.told != Told::Ended => {
                report(desired, container, now, plan, &End { code: *code, oom: *oom, reason: reason.as_ref(), late: *late });
            }
            State::Exited { .. } if !container.held && !is_kept(desired, observed, container) => {
                plan.push(Step::RemoveContainer { key: container.key.clone() });
            }
            State::Exited { .. } | State::Starting | State::Ready => {}
        }
    }
}

fn report(desired: &Desired, container: &Container, now: Duration, plan: &mut Plan, end: &End<'_>) {
    let (lines, crashed) = lines::ended(container.kind, container.told, end, desired.settings.stop_grace);
    let crash = crashed.then(|| Crash {
        up_for: container.up_since.filter(|_| container.told == Told::Up).map(|since| now.saturating_sub(since)),
        ..Crash::of(container, now)
    });
    plan.push(Step::Report { key: container.key.clone(), dyno: container.dyno.clone(), told: Told::Ended, lines, crash });
}

/// A release phase stays until its release is finished, a postdeploy script until its end is recorded; a crashed dyno as long as its place
/// is empty and it is the last to have held it.
fn is_kept(desired: &Desired, observed: &Observed, container: &Container) -> bool {
    match container.kind {
        ContainerKind::OneOff => false,
        ContainerKind::Release => !desired.destroyed && desired.pending == Some(container.release),
        ContainerKind::Postdeploy => !desired.destroyed && desired.first_deploy == FirstDeploy::Postdeploy(container.release),
        ContainerKind::Dyno => {
            matches_target(desired, container)
                && !observed.containers.iter().any(|other| {
                    other.kind == ContainerKind::Dyno
                        && other.key != container.key
                        && other.dyno == container.dyno
                        && (other.started_at, &other.key) > (container.started_at, &container.key)
                })
        }
    }
}
