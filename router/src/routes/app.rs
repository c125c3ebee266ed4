//! One app as requests see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::backend::{Backend, Slot};
use crate::access_log::AppLog;
use crate::code::Code;
use crate::config::Limits;
use crate::control::{AppRoutes, Mode};

/// One app: what the table says now, and what outlives table changes.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) id: Arc<str>,
    state: ArcSwap<State>,
    /// Told when a slot is free, and when the state changed.
    pub(crate) wake: Notify,
    pub(crate) waiting: AtomicUsize,
    /// Requests and WebSockets under way, those that wait included.
    open: AtomicUsize,
    pub(crate) requests: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct State {
    mode: Mode,
    removed: bool,
    pub(crate) backends: Vec<Arc<Backend>>,
    pub(crate) log: Option<Arc<AppLog>>,
}

/// One request or WebSocket of an app.
#[derive(Debug)]
pub(crate) struct Open(Arc<App>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a request can do now.
pub(crate) enum Choice {
    /// Go through this backend.
    Go(Slot),
    /// All dynos are busy: wait for one.
    Queue,
    /// There is no dyno yet: wait for one.
    Boot,
    /// Nothing will come.
    Fail(Code),
    /// The app is gone.
    Gone,
}

impl App {
    pub(crate) fn new(routes: &AppRoutes) -> Arc<Self> {
        Arc::new(Self {
            id: routes.id.as_str().into(),
            state: ArcSwap::from_pointee(State { mode: Mode::Booting, removed: false, backends: Vec::new(), log: None }),
            wake: Notify::new(),
            waiting: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    pub(crate) fn state(&self) -> arc_swap::Guard<Arc<State>> {
        self.state.load()
    }

    /// Makes this the state; returns the backends that are no longer in it.
    pub(crate) fn replace(&self, routes: &AppRoutes, backends: Vec<Arc<Backend>>) -> Vec<Arc<Backend>> {
        let old = self.state.load_full();
        let log = AppLog::keep_or_open(old.log.as_ref(), routes.log_dir.as_deref());
        let state = Arc::new(State { mode: routes.mode, removed: false, backends, log });
        // In force first, then closed to those who still hold the old state: they ask again and find the new one.
        self.state.store(Arc::clone(&state));
        let mut gone = old.backends.clone();
        gone.retain(|backend| !state.backends.iter().any(|kept| Arc::ptr_eq(kept, backend)));
        self.retire(gone)
    }

    /// It left the table. Returns the backends it had.
    pub(crate) fn remove(&self) -> Vec<Arc<Backend>> {
        let old = self.state.load_full();
        self.state.store(Arc::new(State { mode: Mode::NoWeb, removed: true, backends: Vec::new(), log: old.log.clone() }));
        self.retire(old.backends.clone())
    }

    fn retire(&self, gone: Vec<Arc<Backend>>) -> Vec<Arc<Backend>> {
        for backend in &gone {
            backend.retire();
        }
        self.wake.notify_waiters();
        gone
    }

    /// Counts a request for as long as the result lives; `None` if the app has as many as it may.
    pub(crate) fn open(self: &Arc<Self>, max: usize) -> Option<Open> {
        let open = Open(Arc::clone(self));
        (self.open.fetch_add(1, Ordering::Relaxed) < max).then_some(open)
    }

    /// Decides for one request. `tried` holds the ids of backends that already failed it and `failure` how the last one did.
    pub(crate) fn choose(self: &Arc<Self>, random: u64, now_ms: u64, limits: &Limits, tried: &[Arc<str>], failure: Option<Code>) -> Choice {
        let state = self.state.load();
        if state.removed {
            return Choice::Gone;
        }
        match state.mode {
            Mode::Maintenance => return Choice::Fail(Code::H80),
            Mode::NoWeb => return Choice::Fail(Code::H14),
            Mode::Crashed => return Choice::Fail(Code::H10),
            Mode::Blank => return Choice::Fail(Code::H81),
            Mode::Serving | Mode::Booting => {}
        }
        if state.backends.is_empty() {
            return Choice::Boot;
        }
        let fits = |backend: &&Arc<Backend>, desperate: bool| {
            backend.usable(now_ms, desperate) && (tried.is_empty() || !tried.contains(&backend.id))
        };
        let mut all_busy = false;
        // Dynos that refused a moment ago are asked again before a visitor is turned away; those that timed out are not.
        for desperate in [false, true] {
            if let Some(slot) = two_choices(self, &state.backends, random, limits.active_per_backend, |backend| fits(backend, desperate)) {
                return Choice::Go(slot);
            }
            all_busy |= state.backends.iter().any(|backend| fits(&backend, desperate));
            if all_busy {
                break;
            }
        }
        if all_busy {
            if self.waiting.load(Ordering::Relaxed) >= limits.backlog_per_backend * state.backends.len() {
                return Choice::Fail(Code::H11);
            }
            return Choice::Queue;
        }
        Choice::Fail(failure.unwrap_or(Code::H19))
    }
}

/// The less busy of two backends taken at random; any that is free if both are full.
fn two_choices(app: &Arc<App>, backends: &[Arc<Backend>], random: u64, max: u32, fits: impl Fn(&&Arc<Backend>) -> bool) -> Option<Slot> {
    let count = backends.len() as u64;
    let one = &backends[(random % count) as usize];
    let other = &backends[((random >> 32) % count) as usize];
    let (first, second) = if other.load() < one.load() { (other, one) } else { (one, other) };
    [first, second].into_iter().chain(backends.iter()).filter(fits).find_map(|backend| Slot::take(app, backend, max))
}
