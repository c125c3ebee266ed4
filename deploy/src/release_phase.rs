//! The release phase: one run of the `release` process before anything switches.

use std::time::Duration;

use landfall_model::ReleaseStatus;

use crate::script::Script;
use crate::{ContainerKind, Desired, Observed, Plan, Step, StopReason};

/// Runs the pending release's phase, records its end, and stops phases nobody waits for.
pub(crate) fn plan(desired: &Desired, observed: &Observed, now: Duration, plan: &mut Plan) {
    let wanted = desired.pending.filter(|_| !desired.destroyed);
    let script = Script { kind: ContainerKind::Release, wanted, late: StopReason::ReleaseTimeout };
    let found = script.follow(desired, observed, now, plan, |version, code, reason| {
        let status = if code == 0 && reason.is_none() { ReleaseStatus::Succeeded } else { ReleaseStatus::Failed };
        Step::FinishRelease { version, status }
    });
    if let Some(version) = wanted.filter(|_| !found) {
        plan.push(Step::RunReleasePhase { version });
    }
}
