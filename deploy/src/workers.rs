//! Dynos that take no requests: start the new one, then stop the old one.
//!
//! Heroku starts and stops at the same time; here the old one leaves once the new one runs, so that a queue always has a consumer. Both may
//! work for a moment. A new release touches them only when its web dynos take requests: a release that never boots changes nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use landfall_model::{DynoName, ProcessType};

use crate::boot::is_up;
use crate::start::{Starter, holders, live};
use crate::web::{WebState, stop};
use crate::{Container, ContainerKind, Desired, Observed, Plan};

/// Plans starts and stops of every process type but web.
pub(crate) fn plan(desired: &Desired, observed: &Observed, now: Duration, web: &WebState, plan: &mut Plan) {
    let wanted = desired.current.iter().flat_map(|target| target.types.keys());
    let running = observed.containers.iter().filter(|c| c.kind == ContainerKind::Dyno).map(|c| &c.dyno.process_type);
    let types: BTreeSet<&ProcessType> = wanted.chain(running).filter(|process_type| !process_type.is_web()).collect();
    for process_type in types {
        plan_type(desired, observed, now, web, process_type, plan);
    }
}

fn plan_type(desired: &Desired, observed: &Observed, now: Duration, web: &WebState, process_type: &ProcessType, plan: &mut Plan) {
    let holders = holders(desired, observed, process_type, |c| is_up(desired, observed, c));
    let older = |c: &Container| desired.current.as_ref().is_some_and(|target| target.version != c.release);
    let must_wait = |c: &Container| older(c) && !web.settled;
    let mut starter = Starter::new(desired, observed, now, process_type);
    for index in 1..=desired.quantity(process_type) {
        let dyno = DynoName::new(process_type.clone(), index);
        let held_back = live(observed, process_type).any(|c| c.dyno == dyno && must_wait(c));
        if !holders.contains_key(&index) && !held_back {
            starter.start(&dyno, plan);
        }
    }
    for container in live(observed, process_type) {
        let done = match holders.get(&container.dyno.index) {
            Some(holder) => holder.key != container.key && is_up(desired, observed, holder),
            None if desired.spec(process_type).is_none() => !must_wait(container),
            None => container.dyno.index > desired.quantity(process_type),
        };
        if done {
            plan.push(stop(desired, container));
        }
    }
}
