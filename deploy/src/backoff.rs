//! When a crashed dyno may start again: at once after the first crash, then 1 s, 2 s, 4 s … up to the cap, each with ±20 % jitter.

use std::time::Duration;

use landfall_model::DynoName;

use crate::{Crash, Settings};

/// Time between the last crash and the next start, after `streak` crashes in a row.
pub fn restart_delay(settings: &Settings, dyno: &DynoName, streak: u32) -> Duration {
    if streak <= 1 {
        return Duration::ZERO;
    }
    let doubled = settings.backoff_first.saturating_mul(1_u32.checked_shl(streak - 2).unwrap_or(u32::MAX));
    let base = doubled.min(settings.backoff_cap);
    let spread = mix(settings.jitter_seed, dyno, streak) % 401; // 0 ..= 400 thousandths
    base.mul_f64(0.8 + spread as f64 / 1000.0).min(settings.backoff_cap)
}

/// Crashes in a row: going back from the last one, until one that came after a long healthy time.
pub(crate) fn streak<'a>(settings: &Settings, crashes: impl DoubleEndedIterator<Item = &'a Crash>) -> (u32, Option<&'a Crash>) {
    let mut count = 0;
    let mut last = None;
    for crash in crashes.rev() {
        last = last.or(Some(crash));
        count += 1;
        if crash.up_for.is_some_and(|up| up >= settings.stable_after) {
            break;
        }
    }
    (count, last)
}

/// Crashes kept for one dyno of one release and generation; more would only repeat the longest delay.
const KEPT: usize = 12;
/// Crashes kept for one dyno in all.
const KEPT_IN_ALL: usize = 3 * KEPT;

/// Adds a crash to a dyno's record and forgets what no longer matters.
pub fn remember_crash(record: &mut Vec<Crash>, crash: Crash) {
    record.push(crash);
    let newest = record[record.len() - 1].clone();
    let same =
        |other: &Crash| other.release == newest.release && other.generation == newest.generation && other.fingerprint == newest.fingerprint;
    if record.iter().filter(|other| same(other)).count() > KEPT
        && let Some(oldest) = record.iter().position(same)
    {
        record.remove(oldest);
    }
    if record.len() > KEPT_IN_ALL {
        record.remove(0);
    }
}

/// FNV-1a: small, stable across versions, good enough to spread restarts.
fn mix(seed: u64, dyno: &DynoName, streak: u32) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let bytes = seed
        .to_le_bytes()
        .into_iter()
        .chain(dyno.process_type.as_str().bytes())
        .chain(dyno.index.to_le_bytes())
        .chain(streak.to_le_bytes());
    for byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_restart_is_immediate_then_doubles_to_the_cap() {
        let settings = Settings::default();
        let web: DynoName = "web.1".parse().unwrap();
        assert_eq!(restart_delay(&settings, &web, 0), Duration::ZERO);
        assert_eq!(restart_delay(&settings, &web, 1), Duration::ZERO);
        for streak in 2..80 {
            let delay = restart_delay(&settings, &web, streak);
            let base = settings.backoff_first.saturating_mul(1_u32.checked_shl(streak - 2).unwrap_or(u32::MAX)).min(settings.backoff_cap);
            assert!(delay >= base.mul_f64(0.79) && delay <= base.mul_f64(1.21) && delay <= settings.backoff_cap, "{streak}: {delay:?}");
        }
    }

    #[test]
    fn jitter_differs_between_apps_and_repeats_for_one() {
        let web: DynoName = "web.1".parse().unwrap();
        let delay = |seed| restart_delay(&Settings { jitter_seed: seed, ..Settings::default() }, &web, 6);
        assert_eq!(delay(7), delay(7));
        assert!((0..20).any(|seed| delay(seed) != delay(7)));
    }
}
