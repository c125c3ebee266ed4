//! One at a time, in order of arrival, and whoever waits is told for what (trust rule G5).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Turns by key: pushes and builds of one app take one each.
#[derive(Debug)]
pub struct Turns<K: Eq + Hash + Clone> {
    lines: Arc<Mutex<HashMap<K, Arc<Line>>>>,
    width: usize,
}

#[derive(Debug)]
struct Line {
    permits: Arc<Semaphore>,
    holders: Mutex<Vec<String>>,
}

/// The turn; the next in line goes on when this is dropped.
#[derive(Debug)]
pub struct Turn<K: Eq + Hash + Clone> {
    lines: Arc<Mutex<HashMap<K, Arc<Line>>>>,
    key: K,
    line: Arc<Line>,
    holder: String,
    permit: Option<OwnedSemaphorePermit>,
}

impl<K: Eq + Hash + Clone> Clone for Turns<K> {
    fn clone(&self) -> Self {
        Self { lines: self.lines.clone(), width: self.width }
    }
}

impl<K: Eq + Hash + Clone> Turns<K> {
    /// `width` may go at the same time under one key (at least 1).
    pub fn new(width: usize) -> Self {
        Self { lines: Arc::default(), width: width.max(1) }
    }

    /// Waits for a turn. `holder` says, for those who come later, what they wait for. `on_wait` is called once, with the present holders,
    /// if there is a wait. Cancel-safe: dropping the future leaves the line.
    pub async fn take(&self, key: K, holder: impl Into<String>, on_wait: impl FnOnce(&[String])) -> Turn<K> {
        let line = {
            let mut lines = lock(&self.lines);
            let fresh = || Arc::new(Line { permits: Arc::new(Semaphore::new(self.width)), holders: Mutex::default() });
            lines.entry(key.clone()).or_insert_with(fresh).clone()
        };
        // The guard exists before the wait, so that a dropped wait also tidies the map.
        let mut turn = Turn { lines: self.lines.clone(), key, line, holder: holder.into(), permit: None };
        let permit = if let Ok(permit) = turn.line.permits.clone().try_acquire_owned() {
            permit
        } else {
            let holders = lock(&turn.line.holders).clone();
            on_wait(&holders);
            turn.line.permits.clone().acquire_owned().await.expect("the semaphore is never closed")
        };
        lock(&turn.line.holders).push(turn.holder.clone());
        turn.permit = Some(permit);
        turn
    }
}

impl<K: Eq + Hash + Clone> Drop for Turn<K> {
    fn drop(&mut self) {
        if self.permit.is_some() {
            let mut holders = lock(&self.line.holders);
            if let Some(at) = holders.iter().position(|holder| *holder == self.holder) {
                holders.remove(at);
            }
        }
        let mut lines = lock(&self.lines);
        // Two: the map's and ours. Nobody can add one while the map is locked.
        if Arc::strong_count(&self.line) == 2 {
            lines.remove(&self.key);
        }
        drop(lines);
        self.permit = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn the_second_waits_and_is_told_for_whom() {
        let turns = Turns::new(1);
        let first = turns.take("blog", "ann's push of 1a2b", |_| panic!("nobody to wait for")).await;
        let mut told = Vec::new();
        {
            let mut second = Box::pin(turns.take("blog", "bob's push", |holders| told = holders.to_vec()));
            assert!(second.as_mut().now_or_never().is_none());
            assert!(turns.take("shop", "other app", |_| panic!("another app has its own line")).now_or_never().is_some());
            drop(first);
            drop(second.await);
        }
        assert_eq!(told, ["ann's push of 1a2b"]);
        assert!(lock(&turns.lines).is_empty(), "nothing is kept for apps at rest");
    }

    #[tokio::test]
    async fn a_dropped_wait_leaves_the_line() {
        let turns = Turns::new(1);
        let first = turns.take(1, "a", |_| ()).await;
        assert!(turns.take(1, "b", |_| ()).now_or_never().is_none());
        drop(first);
        assert!(turns.take(1, "c", |_| panic!("b is gone")).now_or_never().is_some());
        assert!(lock(&turns.lines).is_empty());
    }
}
