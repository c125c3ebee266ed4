//! The whole plan for one app.

use std::time::Duration;

use crate::{Desired, Observed, Plan, RouterView, State, Step, StopReason, boot, ended, postdeploy, release_phase, web, workers};

/// What to do next to bring an app from what is observed to what is desired.
///
/// `now` and every time in `observed` count from the same arbitrary monotonic start. The same input always gives the same plan. An empty
/// plan without `wake_at` means that everything is as desired.
pub fn plan(desired: &Desired, observed: &Observed, now: Duration) -> Plan {
    let mut plan = Plan::default();
    release_phase::plan(desired, observed, now, &mut plan);
    ended::plan(desired, observed, now, &mut plan);
    boot::plan(desired, observed, now, &mut plan);
    if desired.destroyed {
        destroy(desired, observed, &mut plan);
    } else {
        let web = web::plan(desired, observed, now, &mut plan);
        workers::plan(desired, observed, now, &web, &mut plan);
        postdeploy::plan(desired, observed, now, &mut plan);
    }
    keep_one_stop_each(&mut plan);
    plan
}

/// Everything of a destroyed app stops, one-off dynos included, whatever the router says.
fn destroy(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    if matches!(observed.router, RouterView::Here { acknowledged: Some(_) } | RouterView::Untold) {
        plan.push(Step::RemoveRoutes);
    }
    for container in observed.containers.iter().filter(|c| matches!(c.state, State::Starting | State::Ready)) {
        plan.push(Step::StopDyno {
            key: container.key.clone(),
            dyno: container.dyno.clone(),
            reason: StopReason::Destroyed,
            grace: desired.settings.stop_grace,
            crash: None,
        });
    }
}

/// Two rules may want the same container to stop; the first one says why.
fn keep_one_stop_each(plan: &mut Plan) {
    let mut stopped = std::collections::BTreeSet::new();
    plan.steps.retain(|step| match step {
        Step::StopDyno { key, .. } => stopped.insert(key.clone()),
        _ => true,
    });
}
