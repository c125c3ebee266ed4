//! Starting dynos: who may start now, and who must wait (for a back-off, or because enough of its type are booting).

use std::collections::BTreeMap;
use std::time::Duration;

use landfall_model::{DynoName, ProcessType};

use crate::boot::{is_booting, matches_target};
use crate::{Container, ContainerKind, Crash, Desired, Observed, Plan, State, Step, StopReason, Told, backoff};

/// Starts target dynos of one process type, a few at a time.
pub(crate) struct Starter<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    now: Duration,
    booting: u32,
}

impl<'a> Starter<'a> {
    /// For one process type.
    pub(crate) fn new(desired: &'a Desired, observed: &'a Observed, now: Duration, process_type: &ProcessType) -> Self {
        let booting =
            live(observed, process_type).filter(|c| matches_target(desired, c) && is_booting(desired, observed, c)).count() as u32;
        Self { desired, observed, now, booting }
    }

    /// Starts the current release in this place unless it must wait.
    pub(crate) fn start(&mut self, dyno: &DynoName, plan: &mut Plan) {
        let (Some(target), Some(spec)) = (&self.desired.current, self.desired.spec(&dyno.process_type)) else { return };
        let generation = self.desired.restarts.generation(dyno);
        let wanted = Identity { release: target.version, fingerprint: &spec.fingerprint, generation };
        if let Some(quiet_until) = self.observed.quiet_until.filter(|quiet_until| self.now < *quiet_until) {
            return plan.wake(quiet_until);
        }
        if self.ends_now(dyno) || self.booting >= self.desired.settings.max_surge.max(1) || !self.backoff_is_over(dyno, wanted, plan) {
            return;
        }
        self.booting += 1;
        let (release, size, fingerprint) = (target.version, spec.size, spec.fingerprint.clone());
        plan.push(Step::StartDyno { dyno: dyno.clone(), release, size, fingerprint, generation });
    }

    /// Starts once more what ran in this place before the current release, and was up. Not counted against the surge: it serves.
    pub(crate) fn restore(&self, dyno: &DynoName, plan: &mut Plan) -> bool {
        let Some(last) = self.restorable(dyno) else { return false };
        if !self.ends_now(dyno) && self.backoff_is_over(dyno, Identity::of(last), plan) {
            let Crash { release, size, generation, .. } = *last;
            plan.push(Step::StartDyno { dyno: dyno.clone(), release, size, fingerprint: last.fingerprint.clone(), generation });
        }
        true
    }

    /// A failed run whose crash is not on record yet: the back-off cannot be known before it is.
    fn ends_now(&self, dyno: &DynoName) -> bool {
        self.observed.containers.iter().filter(|c| c.kind == ContainerKind::Dyno && c.dyno == *dyno).any(|c| match &c.state {
            State::Stopping { reason, .. } => reason.as_ref().is_some_and(StopReason::is_failure),
            State::Exited { reason, .. } => c.told != Told::Ended && reason.as_ref().is_none_or(StopReason::is_failure),
            State::Starting | State::Ready => false,
        })
    }

    fn restorable(&self, dyno: &DynoName) -> Option<&'a Crash> {
        let current = self.desired.current.as_ref()?.version;
        self.observed.crashes.get(dyno)?.iter().rev().find(|crash| crash.up_for.is_some() && crash.release != current)
    }

    fn backoff_is_over(&self, dyno: &DynoName, wanted: Identity<'_>, plan: &mut Plan) -> bool {
        let crashes = self.observed.crashes.get(dyno).into_iter().flatten().filter(|crash| Identity::of(crash) == wanted);
        let (streak, last) = backoff::streak(&self.desired.settings, crashes);
        let Some(last) = last else { return true };
        let at = last.at + backoff::restart_delay(&self.desired.settings, dyno, streak);
        if at > self.now {
            plan.wake(at);
        }
        at <= self.now
    }
}

/// What makes two runs of a dyno "the same thing again".
#[derive(PartialEq, Eq)]
struct Identity<'a> {
    release: landfall_model::ReleaseVersion,
    fingerprint: &'a str,
    generation: u64,
}

impl<'a> Identity<'a> {
    fn of(crash: &'a Crash) -> Self {
        Self { release: crash.release, fingerprint: &crash.fingerprint, generation: crash.generation }
    }
}

/// Whether this container repeats a run that was up before and crashed.
pub(crate) fn was_up_before(observed: &Observed, container: &Container) -> bool {
    observed.crashes.get(&container.dyno).into_iter().flatten().any(|crash| {
        crash.up_for.is_some()
            && crash.release == container.release
            && crash.generation == container.generation
            && crash.fingerprint == container.fingerprint
    })
}

/// Dynos of one type that start or run.
pub(crate) fn live<'a>(observed: &'a Observed, process_type: &ProcessType) -> impl Iterator<Item = &'a Container> {
    observed.containers.iter().filter(move |c| {
        c.kind == ContainerKind::Dyno && c.dyno.process_type == *process_type && matches!(c.state, State::Starting | State::Ready)
    })
}

/// For each place of the current formation, the one container that holds it: best first by `better`.
pub(crate) fn holders<'a, Rank: Ord>(
    desired: &Desired,
    observed: &'a Observed,
    process_type: &ProcessType,
    rank: impl Fn(&Container) -> Rank,
) -> BTreeMap<u32, &'a Container> {
    let mut holders: BTreeMap<u32, &Container> = BTreeMap::new();
    for container in live(observed, process_type).filter(|c| matches_target(desired, c)) {
        let order = |c: &Container| (rank(c), std::cmp::Reverse((c.started_at, c.key.clone())));
        let holder = holders.entry(container.dyno.index).or_insert(container);
        if order(container) > order(holder) {
            *holder = container;
        }
    }
    holders
}
