//! Whether the current release is what visitors get, all of it.

use landfall_model::{DynoName, ProcessType};

use crate::{Container, ContainerKind, Desired, Observed, State, Told};

/// Every wanted dyno of the current release is up, and the router sends requests to the web ones. Nothing wanted is live at once.
pub fn is_live(desired: &Desired, observed: &Observed) -> bool {
    desired.current.as_ref().is_some_and(|target| {
        let is_there = |process_type: &ProcessType, index| {
            let dyno = DynoName::new(process_type.clone(), index);
            let fits = |c: &Container| {
                c.kind == ContainerKind::Dyno
                    && c.dyno == dyno
                    && c.release == target.version
                    && c.state == State::Ready
                    && c.told == Told::Up
            };
            observed.containers.iter().any(|c| fits(c) && (!process_type.is_web() || observed.is_acknowledged(&c.key)))
        };
        target.types.iter().all(|(process_type, spec)| (1..=spec.quantity).all(|index| is_there(process_type, index)))
    })
}
