//! Idle connections to dynos: a few for each backend, and a bound for all together.
//!
//! Most apps of a large table are silent, so a backend has a queue only while it has connections, and whoever looks them over looks
//! only at backends that have some.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use crossbeam_queue::{ArrayQueue, SegQueue};
use tokio::time::Instant;

use super::backend::Backend;
use crate::serve::upstream::Upstream;

/// Idle connections kept for each backend.
const MAX_IDLE: usize = 64;

type Queue = ArrayQueue<Box<Upstream>>;

/// One backend's idle connections.
#[derive(Debug, Default)]
pub(super) struct Idle {
    queue: ArcSwapOption<Queue>,
    /// In the pool's list.
    listed: AtomicBool,
}

impl Idle {
    /// One that is still good, as far as can be known without asking.
    pub(super) fn take(&self, max_idle: Duration, now: Instant) -> Option<Box<Upstream>> {
        let queue = self.queue.load();
        let queue = queue.as_ref()?;
        while let Some(mut upstream) = queue.pop() {
            upstream.permit = None;
            if upstream.is_fresh(max_idle, now) {
                return Some(upstream);
            }
        }
        None
    }

    pub(super) fn close_all(&self) {
        if let Some(queue) = self.queue.swap(None) {
            while queue.pop().is_some() {}
        }
    }

    /// A full queue drops the connection: there are enough.
    fn put(&self, upstream: Box<Upstream>) {
        let queue = self.queue.load();
        if let Some(queue) = queue.as_ref() {
            let _ = queue.push(upstream);
            return;
        }
        let new = Arc::new(Queue::new(MAX_IDLE));
        let _ = new.push(upstream);
        // If another request was faster, its queue stays and this connection is closed.
        self.queue.compare_and_swap(&queue, Some(new));
    }

    /// Closes what was idle for too long or closed by the dyno. Whether any are left; if none, the queue is given back. A connection
    /// that is put into it at that moment is closed with it.
    fn sweep(&self, max_idle: Duration, now: Instant) -> bool {
        let Some(queue) = self.queue.load_full() else { return false };
        for _ in 0..queue.len() {
            match queue.pop() {
                Some(upstream) if upstream.is_fresh(max_idle, now) => drop(queue.push(upstream)),
                Some(_) => {}
                None => break,
            }
        }
        let any = !queue.is_empty();
        if !any {
            self.queue.store(None);
        }
        any
    }
}

/// All idle connections.
#[derive(Debug)]
pub(crate) struct Pool {
    count: AtomicUsize,
    max: usize,
    /// Backends that have, or had a moment ago, idle connections.
    list: SegQueue<Arc<Backend>>,
}

/// One idle connection's place among all.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Pool>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { count: AtomicUsize::new(0), max, list: SegQueue::new() })
    }

    /// Connections that are kept now.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Keeps one, unless there are too many.
    pub(super) fn keep(self: &Arc<Self>, backend: &Arc<Backend>, mut upstream: Box<Upstream>) {
        let permit = Permit(Arc::clone(self));
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.max {
            return;
        }
        upstream.permit = Some(permit);
        backend.idle.put(upstream);
        if !backend.idle.listed.swap(true, Ordering::SeqCst) {
            self.list.push(Arc::clone(backend));
        }
    }

    /// Looks over every backend that has idle connections.
    pub(crate) fn sweep(&self, max_idle: Duration, now: Instant) {
        for _ in 0..self.list.len() {
            let Some(backend) = self.list.pop() else { return };
            // Off the list first: what is put there while we look lists it again.
            backend.idle.listed.store(false, Ordering::SeqCst);
            if backend.idle.sweep(max_idle, now) && !backend.idle.listed.swap(true, Ordering::SeqCst) {
                self.list.push(backend);
            }
        }
    }
}
