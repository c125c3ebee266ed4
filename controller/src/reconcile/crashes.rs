//! Crash records outlive the server: a dyno in its back-off stays in it, an end that was reported is not reported again, and a dyno that passed
//! its first checks need not pass them again to go on serving.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use landfall_deploy::{ContainerKey, Crash};
use landfall_model::DynoName;
use landfall_store::{CrashRecord, PastCrash, StoreError};

use super::clock::Clock;
use super::shared::{AppHandle, Shared};
use crate::explain;

/// Takes back what an earlier server remembered; once for each loop.
pub(super) async fn recall(shared: &Shared, handle: &AppHandle) -> Result<(), StoreError> {
    if handle.memory().recalled {
        return Ok(());
    }
    let records = shared.store.crashes(&shared.system.app(handle.app)).await?;
    let mut memory = handle.memory();
    for (dyno, record) in records {
        memory.reported.extend(record.reported.map(|key| (dyno.clone(), ContainerKey(key))));
        memory.passed.extend(record.passed.map(|key| (dyno.clone(), ContainerKey(key))));
        memory.crashes.insert(dyno, record.crashes.into_iter().map(|crash| from_past(crash, &shared.clock)).collect());
    }
    memory.recalled = true;
    Ok(())
}

/// Writes down a dyno's record, in a task of its own: a comfort, so nobody waits for it.
pub(super) fn note(shared: &Arc<Shared>, handle: &Arc<AppHandle>, dyno: DynoName) {
    let (shared, handle) = (shared.clone(), handle.clone());
    shared.tasks.clone().spawn(async move {
        let record = {
            let memory = handle.memory();
            let crashes = memory.crashes.get(&dyno).into_iter().flatten().map(|crash| to_past(crash, &shared.clock)).collect();
            let key = |keys: &BTreeMap<DynoName, ContainerKey>| keys.get(&dyno).map(|key| key.0.clone());
            CrashRecord { reported: key(&memory.reported), passed: key(&memory.passed), crashes }
        };
        if let Err(error) = shared.store.crashes_note(&shared.system.app(handle.app), &dyno, &record).await {
            tracing::warn!(app.id = %handle.app, dyno.name = %dyno, error = explain(&error), "a crash was not written down");
        }
    });
}

fn to_past(crash: &Crash, clock: &Clock) -> PastCrash {
    PastCrash {
        at_unix_ms: clock.unix_ms(crash.at),
        at_uptime: clock.boot_time(crash.at),
        release: crash.release,
        fingerprint: crash.fingerprint.clone(),
        generation: crash.generation,
        size: crash.size,
        up_for_ms: crash.up_for.map(|up_for| u64::try_from(up_for.as_millis()).unwrap_or(u64::MAX)),
    }
}

fn from_past(past: PastCrash, clock: &Clock) -> Crash {
    Crash {
        at: past.at_uptime.as_ref().and_then(|at| clock.at_boot_time(at)).unwrap_or_else(|| clock.at_unix_ms(past.at_unix_ms)),
        release: past.release,
        fingerprint: past.fingerprint,
        generation: past.generation,
        size: past.size,
        up_for: past.up_for_ms.map(Duration::from_millis),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use landfall_store::BootTime;

    #[test]
    fn a_crash_is_as_old_after_a_restart() {
        let clock = Clock::new();
        let crash = Crash {
            at: clock.now().saturating_sub(Duration::from_secs(90)),
            release: landfall_model::ReleaseVersion(3),
            fingerprint: "standard-1x".into(),
            generation: 2,
            size: landfall_model::DynoSize::default(),
            up_for: Some(Duration::from_millis(1500)),
        };
        let past = to_past(&crash, &clock);
        let set_forward = PastCrash { at_unix_ms: past.at_unix_ms - 86_400_000, ..past.clone() };
        let after_a_boot =
            PastCrash { at_uptime: past.at_uptime.clone().map(|at| BootTime { boot: "another".into(), ..at }), ..past.clone() };
        for past in [past, set_forward, after_a_boot] {
            let back = from_past(past, &Clock::new());
            let age = Clock::new().now().saturating_sub(back.at);
            assert!(age.abs_diff(Duration::from_secs(90)) < Duration::from_secs(2), "{age:?}");
            assert_eq!(back, Crash { at: back.at, ..crash.clone() });
        }
    }
}
