//! The postdeploy script of app.json: one run, once the app's first deploy is live.
//!
//! It is written down as begun before it is asked for. So it runs at most once: if it is not there any more and nobody saw it end, it is lost, and
//! its owner decides what is left to do.

use std::time::Duration;

use crate::live::is_live;
use crate::{ContainerKind, Desired, FirstDeploy, Observed, Plan, PostdeployEnd, State, Step, StopReason};

/// Notices the first deploy that is live, and follows its script to its end.
pub(crate) fn plan(desired: &Desired, observed: &Observed, now: Duration, plan: &mut Plan) {
    let running = match desired.first_deploy {
        FirstDeploy::Waiting => {
            if let Some(target) = desired.current.as_ref().filter(|target| !target.types.is_empty() && is_live(desired, observed)) {
                plan.push(Step::FirstLive { version: target.version });
            }
            return;
        }
        FirstDeploy::Postdeploy(version) => Some(version),
        FirstDeploy::Over => None,
    };
    let mut found = false;
    for container in observed.containers.iter().filter(|container| container.kind == ContainerKind::Postdeploy) {
        let wanted = running == Some(container.release);
        found |= wanted;
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
                    plan.push(stop(StopReason::PostdeployTimeout));
                }
            }
            State::Exited { code, .. } if wanted => plan.push(Step::FinishPostdeploy { end: PostdeployEnd::Exited(*code) }),
            State::Stopping { .. } | State::Exited { .. } => {}
        }
    }
    if running.is_some() && !found {
        plan.push(Step::FinishPostdeploy { end: PostdeployEnd::Lost });
    }
}
