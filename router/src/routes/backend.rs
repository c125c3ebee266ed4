//! One web dyno as requests see it: how busy it is, whether it answers, and its idle connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::app::App;
use super::idle::{Idle, Pool};
use crate::control::{self, Drained};
use crate::serve::upstream::Upstream;

/// One web dyno.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) id: Arc<str>,
    pub(crate) addr: SocketAddr,
    pub(crate) dyno: Box<str>,
    pub(crate) requests: AtomicU64,
    active: AtomicU32,
    tunnels: AtomicU32,
    removed: AtomicBool,
    /// Milliseconds on the router's clock.
    quarantined_until: AtomicU64,
    timed_out: AtomicBool,
    pub(super) idle: Idle,
    drained: Notify,
}

impl Backend {
    pub(crate) fn new(wanted: &control::Backend) -> Self {
        Self {
            id: wanted.id.as_str().into(),
            addr: wanted.addr,
            dyno: wanted.dyno.as_str().into(),
            requests: AtomicU64::new(0),
            active: AtomicU32::new(0),
            tunnels: AtomicU32::new(0),
            removed: AtomicBool::new(false),
            quarantined_until: AtomicU64::new(0),
            timed_out: AtomicBool::new(false),
            idle: Idle::default(),
            drained: Notify::new(),
        }
    }

    /// Requests under way.
    pub(crate) fn load(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    pub(crate) fn tunnels(&self) -> u32 {
        self.tunnels.load(Ordering::Relaxed)
    }

    /// It left the table.
    pub(super) fn retire(&self) {
        self.removed.store(true, Ordering::SeqCst);
        self.idle.close_all();
    }

    /// It is in the table (again).
    pub(super) fn restore(&self) {
        self.removed.store(false, Ordering::SeqCst);
    }

    pub(super) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::SeqCst)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.active.load(Ordering::SeqCst) == 0 && self.tunnels.load(Ordering::SeqCst) == 0
    }

    /// Not in quarantine, or there for a reason that is worth another try when nobody else is left.
    pub(super) fn usable(&self, now_ms: u64, desperate: bool) -> bool {
        self.quarantined_until.load(Ordering::Relaxed) <= now_ms || (desperate && !self.timed_out.load(Ordering::Relaxed))
    }

    /// It did not accept a connection: pass it over until then.
    pub(crate) fn quarantine(&self, until_ms: u64, timed_out: bool) {
        self.timed_out.store(timed_out, Ordering::Relaxed);
        self.quarantined_until.store(until_ms, Ordering::Relaxed);
    }

    /// An idle connection that is still good, as far as can be known without asking.
    pub(crate) fn idle_connection(&self, max_idle: Duration, now: Instant) -> Option<Box<Upstream>> {
        self.idle.take(max_idle, now)
    }

    /// Gives a connection back for another request.
    pub(crate) fn keep(self: &Arc<Self>, upstream: Box<Upstream>, pool: &Arc<Pool>) {
        if self.removed.load(Ordering::SeqCst) {
            return;
        }
        pool.keep(self, upstream);
        if self.removed.load(Ordering::SeqCst) {
            self.retire();
        }
    }

    /// Returns when no request is under way, or at `deadline`.
    pub(crate) async fn drain(&self, deadline: Instant) -> Drained {
        loop {
            let mut ended = std::pin::pin!(self.drained.notified());
            ended.as_mut().enable();
            let requests = self.active.load(Ordering::SeqCst);
            if requests == 0 || timeout_at(deadline, ended).await.is_err() {
                return Drained { requests: self.active.load(Ordering::SeqCst), tunnels: self.tunnels() };
            }
        }
    }
}

/// One request's place at a backend; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    app: Arc<App>,
    pub(crate) backend: Arc<Backend>,
    tunnel: bool,
}

impl Slot {
    /// A place, unless the backend is full or just left the table.
    pub(super) fn take(app: &Arc<App>, backend: &Arc<Backend>, max: u32) -> Option<Self> {
        backend.active.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |active| (active < max).then_some(active + 1)).ok()?;
        let slot = Self { app: Arc::clone(app), backend: Arc::clone(backend), tunnel: false };
        // Counted first, then looked: whoever drains either sees the count or we see the removal.
        (!backend.removed.load(Ordering::SeqCst)).then_some(slot)
    }

    /// The request became a WebSocket: it no longer counts as active, nor is it waited for.
    pub(crate) fn become_tunnel(&mut self) {
        if !self.tunnel {
            self.backend.tunnels.fetch_add(1, Ordering::SeqCst);
            self.tunnel = true;
            self.free();
        }
    }

    fn free(&self) {
        if self.backend.active.fetch_sub(1, Ordering::SeqCst) == 1 && self.backend.removed.load(Ordering::SeqCst) {
            self.backend.drained.notify_waiters();
        }
        if self.app.waiting.load(Ordering::SeqCst) > 0 {
            self.app.wake.notify_one();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.tunnel {
            self.backend.tunnels.fetch_sub(1, Ordering::SeqCst);
        } else {
            self.free();
        }
    }
}
