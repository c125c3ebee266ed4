//! One run of one command of a release, with an end in time: the release phase and the postdeploy script.

use std::time::Duration;

use landfall_model::ReleaseVersion;

use crate::{Container, ContainerKind, Desired, Observed, Plan, State, Step, StopReason};

/// What is to be run, if anything.
pub(crate) struct Script {
    /// Which containers are runs of it.
    pub(crate) kind: ContainerKind,
    /// The release whose run somebody waits for.
    pub(crate) wanted: Option<ReleaseVersion>,
    /// Said to one that takes too long.
    pub(crate) late: StopReason,
}

impl Script {
    /// Stops runs that nobody waits for and those that take too long. What the end of the wanted one means says `ended`, from its release, its
    /// exit code and why we had told it to stop, if we had. Returns whether the wanted one is there.
    pub(crate) fn follow(
        &self,
        desired: &Desired,
        observed: &Observed,
        now: Duration,
        plan: &mut Plan,
        ended: impl Fn(ReleaseVersion, i32, Option<&StopReason>) -> Step,
    ) -> bool {
        let mut found = false;
        for container in observed.containers.iter().filter(|container| container.kind == self.kind) {
            let is_wanted = self.wanted == Some(container.release);
            found |= is_wanted;
            match &container.state {
                State::Starting | State::Ready if !is_wanted => plan.push(stop(desired, container, StopReason::Requested)),
                State::Starting | State::Ready => {
                    let deadline = container.started_at + desired.settings.release_timeout;
                    if now < deadline {
                        plan.wake(deadline);
                    } else {
                        plan.push(stop(desired, container, self.late.clone()));
                    }
                }
                State::Exited { code, reason, .. } if is_wanted => plan.push(ended(container.release, *code, reason.as_ref())),
                State::Stopping { .. } | State::Exited { .. } => {}
            }
        }
        found
    }
}

fn stop(desired: &Desired, container: &Container, reason: StopReason) -> Step {
    let (key, dyno) = (container.key.clone(), container.dyno.clone());
    Step::StopDyno { key, dyno, reason, grace: desired.settings.stop_grace, crash: None }
}
