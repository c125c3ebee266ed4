//! Memory: one budget of bytes for the buffers of all connections.
//!
//! What every connection needs in any case ([`CONNECTION`]) is set aside when it is admitted: there are never more of them than that
//! allows (see [`crate::resources`]). So whoever is inside can always send and be sent a request of common size, and bodies of any size.
//! What goes beyond, large heads, is taken from the [`Budget`] while it lasts. Nothing is asked or counted while buffers keep their size.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What a buffer has in any case: enough for bodies and for heads of common size.
pub(crate) const SMALL: usize = 8 * 1024;
/// What is written to the peer from a [`SMALL`] buffer fits into this: heads grow a little on the way ([`crate::http1::rewritten`]).
pub(crate) const REWRITTEN: usize = 10 * 1024;
/// Task, timer, sockets' entries in the runtime: what a connection and the one to its dyno take besides their buffers.
pub(crate) const TASK: usize = 6 * 1024;
/// Set aside for each connection: a buffer each way, the head for the dyno, and what is framed anew each way.
pub(crate) const CONNECTION: usize = TASK + 2 * SMALL + 3 * REWRITTEN;
/// An idle connection to a dyno, its buffer included.
pub(crate) const IDLE: usize = 1024 + SMALL;

/// What connections may take beyond what is set aside for them.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// Somebody was refused, and it did not get much better since.
    short: AtomicBool,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0), short: AtomicBool::new(false) })
    }

    /// Bytes that are taken now.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// All or nothing.
    fn take(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= self.limit);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if !taken && !self.short.swap(true, Ordering::Relaxed) {
            tracing::warn!(limit_bytes = self.limit, "memory for large heads is used up; requests that need more are answered with 503");
        }
        taken
    }

    fn give(&self, bytes: usize) {
        let left = self.used.fetch_sub(bytes, Ordering::Relaxed) - bytes;
        // One warning for each time it becomes scarce, not for each request meanwhile.
        if left <= self.limit / 2 && self.short.load(Ordering::Relaxed) && self.short.swap(false, Ordering::Relaxed) {
            tracing::info!(limit_bytes = self.limit, "there is memory for large heads again");
        }
    }
}

/// A vector that is asked to make room before it is written to. Its first bytes are set aside already, the others are taken from the
/// budget, and given back when it is released or dropped.
#[derive(Debug)]
pub(crate) struct BudgetVec {
    data: Vec<u8>,
    set_aside: usize,
    taken: usize,
    budget: Arc<Budget>,
}

impl BudgetVec {
    pub(crate) fn new(set_aside: usize, budget: &Arc<Budget>) -> Self {
        Self { data: Vec::new(), set_aside, taken: 0, budget: Arc::clone(budget) }
    }

    /// Makes room for `size` bytes in all, those that are in it included. False, with nothing changed, if the budget is used up; never
    /// for what is set aside.
    pub(crate) fn fit(&mut self, size: usize) -> bool {
        if size <= self.data.capacity() {
            return true;
        }
        let size = size.next_multiple_of(1024);
        let more = size.saturating_sub(self.set_aside + self.taken);
        if more > 0 && !self.budget.take(more) {
            return false;
        }
        self.taken += more;
        self.data.reserve_exact(size - self.data.len());
        self.check();
        true
    }

    /// Gives back what was taken from the budget, if anything was: then the content goes with it.
    pub(crate) fn release(&mut self) {
        self.check();
        if self.taken > 0 {
            self.data = Vec::new();
            self.budget.give(std::mem::take(&mut self.taken));
        }
    }

    /// Whoever writes more than there is room for makes the vector grow by itself, and nobody would know.
    fn check(&self) {
        debug_assert!(self.data.capacity() <= self.set_aside + self.taken, "it grew to {} unasked", self.data.capacity());
    }
}

impl Drop for BudgetVec {
    fn drop(&mut self) {
        self.release();
    }
}

impl Deref for BudgetVec {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.data
    }
}

impl DerefMut for BudgetVec {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_aside_is_always_there() {
        let budget = Budget::new(0);
        let mut vec = BudgetVec::new(SMALL, &budget);
        assert!(vec.fit(10) && vec.fit(SMALL) && vec.capacity() == SMALL);
        vec.extend_from_slice(b"kept");
        assert!(!vec.fit(SMALL + 1));
        assert_eq!((vec.as_slice(), vec.capacity(), budget.used()), (&b"kept"[..], SMALL, 0));
    }

    #[test]
    fn what_is_taken_is_given_back() {
        let budget = Budget::new(3 * 1024);
        let (mut one, mut two) = (BudgetVec::new(1024, &budget), BudgetVec::new(1024, &budget));
        assert!(one.fit(2048) && one.fit(3000));
        assert_eq!(budget.used(), 2048, "each byte is counted once");
        assert!(!two.fit(3000) && two.fit(2048));
        assert_eq!(budget.used(), 3 * 1024);
        one.release();
        assert_eq!((one.capacity(), budget.used()), (0, 1024));
        assert!(two.fit(3000) && one.fit(1024));
        drop((one, two));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn an_episode_ends_when_half_is_free() {
        let budget = Budget::new(100);
        assert!(budget.take(100) && !budget.take(1));
        budget.give(40);
        assert!(budget.short.load(Ordering::Relaxed));
        budget.give(10);
        assert!(!budget.short.load(Ordering::Relaxed));
        assert!(!budget.take(usize::MAX), "a sum that is no number is too much as well");
    }

    #[test]
    fn threads_together_never_take_more_than_there_is() {
        let budget = Budget::new(10 * 1024);
        std::thread::scope(|scope| {
            for size in 1..=4 {
                let budget = &budget;
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        let mut vec = BudgetVec::new(0, budget);
                        let fitted = vec.fit(size * 1024);
                        let used = budget.used();
                        assert!(used <= 10 * 1024 && (!fitted || used >= size * 1024), "{used}");
                    }
                });
            }
        });
        assert_eq!(budget.used(), 0);
    }
}
