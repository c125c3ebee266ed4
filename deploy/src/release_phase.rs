//! The release phase: one run of the `release` process before anything switches.

use std::time::Duration;

use landfall_model::ReleaseStatus;

use crate::{ContainerKind, Desired, Observed, Plan, State, Step, StopReason};

/// Runs the pending release's phase, records its end, and stops phases nobody waits for.
pub(crate) fn plan(desired: &Desired, observed: &Observed, now: Duration, plan: &mut Plan) {
    let pending = desired.pending.filter(|_| !desired.destroyed);
    let mut runs = false;
    for container in observed.containers.iter().filter(|container| container.kind == ContainerKind::Release) {
        let wanted = pending == Some(container.release);
        runs |= wanted;
        let stop = |reason: StopReason| Step::StopDyno {
            key: container.key.clone(),
            dyno: container.dyno.clone(),
            reason,
            grace: desired.settings.stop_grace,
            crash: None,
        };
        match &container.state {
            State::Starting | State::Ready if !wanted => plan.push(stop(StopReason::Requested)),
            State::Starting | State::Ready => {
                let deadline = container.started_at + desired.settings.release_timeout;
                if now < deadline {
                    plan.wake(deadline);
                } else {
                    plan.push(stop(StopReason::ReleaseTimeout));
                }
            }
            State::Exited { code, reason, .. } if wanted => {
                let status = if *code == 0 && reason.is_none() { ReleaseStatus::Succeeded } else { ReleaseStatus::Failed };
                plan.push(Step::FinishRelease { version: container.release, status });
            }
            State::Stopping { .. } | State::Exited { .. } => {}
        }
    }
    if let Some(version) = pending.filter(|_| !runs) {
        plan.push(Step::RunReleasePhase { version });
    }
}
