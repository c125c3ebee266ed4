//! Counting requests: so many in a window for each key, then 429. Memory is bounded: old windows are forgotten.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Most keys remembered at once. Beyond it the oldest windows are dropped first.
const MAX_KEYS: usize = 10_000;

/// A token bucket for each key.
#[derive(Debug)]
pub(crate) struct Limiter<K> {
    capacity: f64,
    per_second: f64,
    buckets: Mutex<HashMap<K, (f64, Instant)>>,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    /// `capacity` requests at once, refilled evenly over `window`.
    pub(crate) fn new(capacity: u32, window: Duration) -> Self {
        Self { capacity: f64::from(capacity), per_second: f64::from(capacity) / window.as_secs_f64(), buckets: Mutex::new(HashMap::new()) }
    }

    /// Takes one: what remains, or `None` when nothing is left.
    pub(crate) fn take(&self, key: &K, now: Instant) -> Option<u32> {
        let mut buckets = self.buckets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if buckets.len() >= MAX_KEYS && !buckets.contains_key(key) {
            self.forget(&mut buckets, now);
        }
        let (left, since) = buckets.entry(key.clone()).or_insert((self.capacity, now));
        *left = (*left + now.saturating_duration_since(*since).as_secs_f64() * self.per_second).min(self.capacity);
        *since = now;
        if *left < 1.0 {
            return None;
        }
        *left -= 1.0;
        Some(*left as u32)
    }

    fn forget(&self, buckets: &mut HashMap<K, (f64, Instant)>, now: Instant) {
        let full =
            |(left, since): &(f64, Instant)| left + now.saturating_duration_since(*since).as_secs_f64() * self.per_second >= self.capacity;
        buckets.retain(|_, bucket| !full(bucket));
        if buckets.len() >= MAX_KEYS {
            let oldest = buckets.iter().min_by_key(|(_, (_, since))| *since).map(|(key, _)| key.clone());
            oldest.and_then(|key| buckets.remove(&key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empties_and_refills() {
        let limiter = Limiter::new(2, Duration::from_secs(10));
        let start = Instant::now();
        assert_eq!([limiter.take(&1, start), limiter.take(&1, start), limiter.take(&1, start)], [Some(1), Some(0), None]);
        assert_eq!(limiter.take(&2, start), Some(1), "another key has its own");
        assert_eq!(limiter.take(&1, start + Duration::from_secs(5)), Some(0));
    }

    #[test]
    fn a_flood_of_keys_does_not_grow_it() {
        let limiter = Limiter::new(2, Duration::from_secs(1000));
        let start = Instant::now();
        for key in 0..MAX_KEYS + 50 {
            limiter.take(&key, start);
        }
        assert!(limiter.buckets.lock().unwrap().len() <= MAX_KEYS);
    }
}
