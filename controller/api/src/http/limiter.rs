//! Counting requests: so many in a window for each key, then 429. Memory is bounded, and nothing that happens to other keys fills a bucket.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Keys with a bucket of their own in one window. Those beyond it share buckets until the window is over.
const MAX_KEYS: usize = 10_000;
/// Buckets for who comes when every own bucket is taken.
const SHARED: usize = 256;

/// A token bucket for each key.
#[derive(Debug)]
pub(crate) struct Limiter<K> {
    capacity: f64,
    window: Duration,
    state: Mutex<State<K>>,
    places: RandomState,
}

/// A bucket nobody took from for a whole window is full, so it can be forgotten: buckets of this window are in `young`, those of the window
/// before in `old`, and a turn of the window forgets what is left there.
#[derive(Debug)]
struct State<K> {
    young: HashMap<K, Bucket>,
    old: HashMap<K, Bucket>,
    turned: Option<Instant>,
    shared: Vec<Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    since: Instant,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    /// `capacity` requests at once, refilled evenly over `window`.
    pub(crate) fn new(capacity: u32, window: Duration) -> Self {
        let state = State { young: HashMap::new(), old: HashMap::new(), turned: None, shared: Vec::new() };
        Self { capacity: f64::from(capacity), window, state: Mutex::new(state), places: RandomState::new() }
    }

    /// Takes one: what remains, or `None` when nothing is left.
    pub(crate) fn take(&self, key: &K, now: Instant) -> Option<u32> {
        let mut forgotten = HashMap::new();
        let mut state = self.lock();
        let turned = *state.turned.get_or_insert(now);
        let age = now.saturating_duration_since(turned);
        if age >= self.window {
            forgotten = std::mem::take(&mut state.young);
            if age < self.window * 2 {
                std::mem::swap(&mut forgotten, &mut state.old);
            } else {
                state.old.clear();
            }
            state.turned = Some(now);
        }
        let bucket = self.bucket(&mut state, key, now);
        let refilled = now.saturating_duration_since(bucket.since).as_secs_f64() * self.capacity / self.window.as_secs_f64();
        *bucket = Bucket { left: (bucket.left + refilled).min(self.capacity), since: now };
        let remaining = (bucket.left >= 1.0).then(|| {
            bucket.left -= 1.0;
            bucket.left as u32
        });
        drop(state);
        // Thousands of keys are freed while nobody waits for them.
        drop(forgotten);
        remaining
    }

    /// Puts back what [`Self::take`] took.
    pub(crate) fn give_back(&self, key: &K) {
        let mut state = self.lock();
        if let Some(bucket) = state.young.get_mut(key) {
            bucket.left = (bucket.left + 1.0).min(self.capacity);
        }
    }

    fn bucket<'a>(&self, state: &'a mut State<K>, key: &K, now: Instant) -> &'a mut Bucket {
        let full = Bucket { left: self.capacity, since: now };
        if let Some(moved) = state.old.remove(key) {
            state.young.insert(key.clone(), moved);
        } else if state.young.len() >= MAX_KEYS && !state.young.contains_key(key) {
            if state.shared.is_empty() {
                state.shared = vec![full; SHARED];
            }
            return &mut state.shared[self.places.hash_one(key) as usize % SHARED];
        }
        state.young.entry(key.clone()).or_insert(full)
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        limiter.give_back(&1);
        assert_eq!(limiter.take(&1, start + Duration::from_secs(5)), Some(0));
    }

    #[test]
    fn a_bucket_lives_over_the_turn_of_the_window() {
        let limiter = Limiter::new(10, Duration::from_secs(10));
        let start = Instant::now();
        limiter.take(&0, start);
        let before = start + Duration::from_secs(9);
        for _ in 0..10 {
            limiter.take(&1, before);
        }
        assert_eq!(limiter.take(&1, before + Duration::from_secs(2)), Some(1), "two of ten came back in two of ten seconds");
        assert_eq!(limiter.take(&1, before + Duration::from_mins(1)), Some(9));
        let state = limiter.lock();
        assert_eq!((state.young.len(), state.old.len()), (1, 0), "what is full is forgotten");
    }

    #[test]
    fn a_flood_of_keys_neither_grows_it_nor_fills_a_bucket() {
        let limiter = Limiter::new(2, Duration::from_secs(1000));
        let start = Instant::now();
        assert_eq!([limiter.take(&0, start), limiter.take(&0, start), limiter.take(&0, start)], [Some(1), Some(0), None]);
        let mut passed = 0;
        for key in 1..MAX_KEYS * 2 {
            passed += usize::from(limiter.take(&key, start).is_some());
        }
        assert_eq!(limiter.take(&0, start), None, "a flood gave back what was spent");
        assert!(limiter.lock().young.len() <= MAX_KEYS);
        assert!(passed < MAX_KEYS + 2 * SHARED, "{passed} keys passed although only so many have a bucket of their own");
    }
}
