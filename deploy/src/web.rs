//! Web dynos: no request may fail because of a deploy.
//!
//! The order is: new dyno up → in the routes → routes acknowledged by the router → an old one leaves the routes → acknowledged → its last
//! request ended → SIGTERM. A dyno leaves the routes only while enough others are acknowledged, so the number of routed healthy dynos never
//! falls below the smaller of what is wanted and what there was. As long as nobody knows whom the router sends requests to (it is away, or this
//! server has not told it anything yet), nothing that might be routed is stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use landfall_model::{DynoName, ProcessType};

use crate::boot::{is_booting, is_up};
use crate::health::is_unready;
use crate::start::{Starter, holders, live, was_up_before};
use crate::{Container, ContainerKey, Desired, Drain, Observed, Plan, RouteMode, RouterView, Routes, State, Step, StopReason};

/// What was decided about web, for the other process types.
pub(crate) struct WebState {
    /// Nothing needs to wait for web: none is wanted, or the current release's web already takes requests.
    pub(crate) settled: bool,
}

/// Plans routes, starts and stops of web dynos.
pub(crate) fn plan(desired: &Desired, observed: &Observed, now: Duration, plan: &mut Plan) -> WebState {
    let view = View::new(desired, observed);
    view.routes(plan);
    view.retire(now, plan);
    view.starts(now, plan);
    WebState { settled: view.wanted == 0 || view.settled > 0 }
}

struct View<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    web: ProcessType,
    /// How many web dynos should run.
    wanted: u32,
    acknowledged: BTreeSet<ContainerKey>,
    /// The current release's dyno of each place.
    holders: BTreeMap<u32, &'a Container>,
    /// How many of them take requests, as far as the router confirmed.
    settled: u32,
    /// Who should take requests.
    backends: BTreeSet<ContainerKey>,
    /// Dynos that are missing even with every old one kept.
    short: u32,
}

impl<'a> View<'a> {
    fn new(desired: &'a Desired, observed: &'a Observed) -> Self {
        let web = ProcessType::web();
        let wanted = desired.quantity(&web);
        let acknowledged = observed.acknowledged();
        let fit = |c: &Container| is_up(desired, observed, c) && !is_unready(desired, c);
        let holders = holders(desired, observed, &web, |c| (fit(c), acknowledged.contains(&c.key), is_up(desired, observed, c)));
        let ready: Vec<&Container> = holders.values().copied().filter(|c| fit(c)).collect();
        let taken_over: BTreeSet<u32> = ready.iter().filter(|c| acknowledged.contains(&c.key)).map(|c| c.dyno.index).collect();
        let settled = taken_over.len() as u32;

        let mut old: Vec<&Container> = live(observed, &web).filter(|c| fit(c) && !is_holder(&holders, c)).collect();
        old.sort_by_key(|c| {
            let replaced = taken_over.contains(&c.dyno.index) || c.dyno.index > wanted;
            std::cmp::Reverse((
                acknowledged.contains(&c.key),
                !replaced,
                c.release,
                std::cmp::Reverse(c.dyno.index),
                c.started_at,
                c.key.clone(),
            ))
        });
        let missing = wanted.saturating_sub(settled);
        let short = missing.saturating_sub(old.len() as u32);
        let mut backends: BTreeSet<ContainerKey> =
            ready.iter().copied().chain(old.into_iter().take(missing as usize)).map(|c| c.key.clone()).collect();
        if backends.is_empty() {
            // Better a dyno whose readiness check fails than nobody at all.
            backends = holders.values().filter(|c| is_up(desired, observed, c)).map(|c| c.key.clone()).collect();
        }
        Self { desired, observed, web, wanted, acknowledged, holders, settled, backends, short }
    }

    fn routes(&self, plan: &mut Plan) {
        let acknowledged = match &self.observed.router {
            RouterView::Away => return,
            RouterView::Untold => None,
            RouterView::Here { acknowledged } => acknowledged.as_ref(),
        };
        let routes = Routes { mode: self.mode(), backends: self.backends.clone() };
        if acknowledged != Some(&routes) {
            plan.push(Step::SetRoutes { mode: routes.mode, backends: routes.backends });
        }
    }

    fn mode(&self) -> RouteMode {
        let has_code = self.desired.current.as_ref().is_some_and(|target| !target.types.is_empty());
        let crashed = |index: u32| self.observed.crashes.contains_key(&DynoName::new(self.web.clone(), index));
        let booting = live(self.observed, &self.web).any(|c| is_booting(self.desired, self.observed, c));
        match () {
            () if self.desired.maintenance => RouteMode::Maintenance,
            () if !self.backends.is_empty() => RouteMode::Serving,
            () if !has_code => RouteMode::Blank,
            () if self.wanted == 0 => RouteMode::NoWeb,
            () if booting || !(1..=self.wanted).all(crashed) => RouteMode::Booting,
            () => RouteMode::Crashed,
        }
    }

    /// Stops what is neither a holder nor needed in the routes.
    fn retire(&self, now: Duration, plan: &mut Plan) {
        let known = matches!(self.observed.router, RouterView::Here { .. });
        let mut short = self.short;
        for container in live(self.observed, &self.web).filter(|c| !is_holder(&self.holders, c)) {
            if self.backends.contains(&container.key) || self.acknowledged.contains(&container.key) {
                continue;
            }
            // A dyno that listens may have been routed before its checks were forgotten.
            if !known && container.state != State::Starting {
                continue;
            }
            if is_booting(self.desired, self.observed, container) {
                let serves_again = was_up_before(self.observed, container) && container.dyno.index <= self.wanted && short > 0;
                if serves_again {
                    short -= 1;
                } else {
                    plan.push(stop(self.desired, container));
                }
            } else {
                self.drain(container, now, plan);
            }
        }
    }

    fn drain(&self, container: &Container, now: Duration, plan: &mut Plan) {
        match container.drain {
            Drain::NotAsked => plan.push(Step::Drain { key: container.key.clone() }),
            Drain::Asked { since } if now < since + self.desired.settings.drain_limit => {
                plan.wake(since + self.desired.settings.drain_limit);
            }
            Drain::Asked { .. } | Drain::Done => plan.push(stop(self.desired, container)),
        }
    }

    fn starts(&self, now: Duration, plan: &mut Plan) {
        let mut starter = Starter::new(self.desired, self.observed, now, &self.web);
        let mut short = self.short;
        for index in 1..=self.wanted {
            let dyno = DynoName::new(self.web.clone(), index);
            if !self.holders.contains_key(&index) {
                starter.start(&dyno, plan);
            }
            let others = live(self.observed, &self.web).any(|c| c.dyno == dyno && !is_holder(&self.holders, c));
            let holder_up = self.holders.get(&index).is_some_and(|c| is_up(self.desired, self.observed, c));
            if short > 0 && !others && !holder_up && starter.restore(&dyno, plan) {
                short -= 1;
            }
        }
    }
}

fn is_holder(holders: &BTreeMap<u32, &Container>, container: &Container) -> bool {
    holders.get(&container.dyno.index).is_some_and(|holder| holder.key == container.key)
}

/// SIGTERM for a dyno that has no place any more.
pub(crate) fn stop(desired: &Desired, container: &Container) -> Step {
    let reason = match &desired.current {
        _ if container.dyno.index > desired.quantity(&container.dyno.process_type) => StopReason::ScaledDown,
        Some(target) if target.version == container.release && container.generation != desired.restarts.generation(&container.dyno) => {
            StopReason::Restarted
        }
        _ => StopReason::Replaced,
    };
    Step::StopDyno { key: container.key.clone(), dyno: container.dyno.clone(), reason, grace: desired.settings.stop_grace, crash: None }
}
