//! The postdeploy script of app.json: one run, once the app's first deploy is live.
//!
//! It is written down as begun before it is asked for. So it runs at most once: if it is not there any more and nobody saw it end, it is lost, and
//! its owner decides what is left to do.

use std::time::Duration;

use crate::live::is_live;
use crate::script::Script;
use crate::{ContainerKind, Desired, FirstDeploy, Observed, Plan, PostdeployEnd, Step, StopReason};

/// Notices the first deploy that is live, and follows its script to its end.
pub(crate) fn plan(desired: &Desired, observed: &Observed, now: Duration, plan: &mut Plan) {
    let wanted = match desired.first_deploy {
        FirstDeploy::Waiting => {
            if let Some(target) = desired.current.as_ref().filter(|target| !target.types.is_empty() && is_live(desired, observed)) {
                plan.push(Step::FirstLive { version: target.version });
            }
            return;
        }
        FirstDeploy::Postdeploy(version) => Some(version),
        FirstDeploy::Over => None,
    };
    let script = Script { kind: ContainerKind::Postdeploy, wanted, late: StopReason::PostdeployTimeout };
    let found = script.follow(desired, observed, now, plan, |_, code, _| Step::FinishPostdeploy { end: PostdeployEnd::Exited(code) });
    if wanted.is_some() && !found {
        plan.push(Step::FinishPostdeploy { end: PostdeployEnd::Lost });
    }
}
