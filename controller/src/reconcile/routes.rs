//! The route table as the loops want it, and what the router confirmed of it.
//!
//! Loops say what they want ([`RouteTable::set`]); one task tells the router. After the server (or its connection) starts anew, nothing is
//! sent until every app's loop has planned once: then the whole table goes in one piece, so that no app is missing for a moment.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use landfall_deploy::{ContainerKey, RouteMode, RouterView, Routes};
use landfall_failpoint::failpoint;
use landfall_model::AppId;
use landfall_router::control::{AppRoutes, Backend, Client, Mode, Table};
use landfall_store::DesiredApp;
use tokio::sync::{Notify, watch};

use super::memory::id_of;
use super::shared::Shared;

/// How often the router is asked whether it is still there. A net only: its end is an event.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How soon it is looked for again while it is away; each look itself waits for it a while.
const AWAY: Duration = Duration::from_millis(100);
/// Longest wait for loops that cannot plan (database away for one app) before the table goes out without them.
const FIRST_PLANS: Duration = Duration::from_secs(5);

/// Longest wait for the router to confirm that it sends nothing to a container.
const UNROUTED: Duration = Duration::from_secs(2);

/// What the loops want and what the router confirmed.
#[derive(Debug)]
pub struct RouteTable {
    client: Client,
    inner: Mutex<Inner>,
    changed: Notify,
    /// Told whenever the router confirmed something, or went away.
    confirmed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Connected, and told something.
    initialised: bool,
    /// It was told a whole table: it has nothing else.
    whole: bool,
    /// Apps it was told to forget.
    removed: HashSet<AppId>,
    /// It is being told of this app, and may have heard it or not.
    telling: Option<AppId>,
    away: bool,
    wanted: HashMap<AppId, Entry>,
    acknowledged: HashMap<AppId, Entry>,
    dirty: BTreeSet<AppId>,
    /// Names and hosts.
    frames: HashMap<AppId, AppRoutes>,
    /// The supervisor has made a loop for every app there is.
    listed: bool,
    /// Counts the router's comings and goings.
    epoch: u64,
    /// Loops that have planned in this epoch.
    planned: HashSet<AppId>,
    generation: u64,
}

impl Inner {
    /// Nobody knows what the router has of this app: it is being told, or what an earlier server told it is still in force.
    fn is_untold(&self, app: AppId) -> bool {
        let unheard = !self.whole && !self.acknowledged.contains_key(&app) && !self.removed.contains(&app);
        unheard || self.telling == Some(app)
    }

    fn view(&self, app: AppId) -> RouterView {
        match self.acknowledged.get(&app) {
            _ if self.away => RouterView::Away,
            _ if self.is_untold(app) => RouterView::Untold,
            entry => RouterView::Here { acknowledged: entry.map(|entry| entry.routes.clone()) },
        }
    }
}

/// A time in which the router neither came nor went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch(u64);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    routes: Routes,
    wire: AppRoutes,
}

impl RouteTable {
    /// For the router behind one socket.
    pub fn new(client: Client) -> Self {
        let generation = u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap_or(1);
        Self {
            client: client.with_patience(Duration::from_secs(3)),
            inner: Mutex::new(Inner { generation, ..Inner::default() }),
            changed: Notify::new(),
            confirmed: watch::Sender::new(()),
        }
    }

    /// The router's client, for drains.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What the plan may believe, and when: see [`Self::planned`].
    pub(super) fn view(&self, app: AppId) -> (RouterView, Epoch) {
        let inner = self.lock();
        (inner.view(app), Epoch(inner.epoch))
    }

    /// Keeps an app's name, hosts and log up to date, whatever its dynos do.
    pub(super) fn describe(&self, app: &DesiredApp, shared: &Shared) {
        let own = format!("{}.{}", app.name, shared.config.platform_domain);
        let frame = AppRoutes {
            id: app.id.to_string(),
            name: app.name.to_string(),
            hosts: app.hosts.iter().map(ToString::to_string).filter(|host| *host != own).collect(),
            log_dir: Some(shared.logs.dir(app.id)),
            mode: Mode::default(),
            backends: Vec::new(),
        };
        let mut inner = self.lock();
        let changed = inner.frames.insert(app.id, frame.clone()).is_some_and(|old| old != frame);
        if changed && let Some(entry) = inner.wanted.get_mut(&app.id) {
            entry.wire = AppRoutes { mode: entry.wire.mode, backends: std::mem::take(&mut entry.wire.backends), ..frame };
            inner.dirty.insert(app.id);
            self.changed.notify_one();
        }
    }

    /// An app's loop wants this.
    pub(super) fn set(&self, app: AppId, mode: RouteMode, backends: BTreeSet<ContainerKey>, shared: &Shared) {
        let wire_backends = backends.iter().filter_map(|key| {
            let info = shared.cache.get(&id_of(key))?;
            let labels = super::labels::Labels::read(&info)?;
            let addr = SocketAddr::from((info.ip?, shared.config.deploy.port));
            Some(Backend { id: key.0.clone(), addr, dyno: labels.dyno.to_string() })
        });
        let wire_backends = wire_backends.collect();
        let mut inner = self.lock();
        let Some(frame) = inner.frames.get(&app) else { return };
        let wire = AppRoutes { mode: wire_mode(mode), backends: wire_backends, ..frame.clone() };
        let entry = Entry { routes: Routes { mode, backends }, wire };
        if inner.wanted.get(&app) != Some(&entry) || inner.acknowledged.get(&app) != Some(&entry) {
            inner.wanted.insert(app, entry);
            inner.dirty.insert(app);
            self.changed.notify_one();
        }
    }

    /// The app leaves the table.
    pub(super) fn remove(&self, app: AppId) {
        let mut inner = self.lock();
        let known = inner.wanted.remove(&app).is_some() | inner.acknowledged.contains_key(&app);
        if known || inner.is_untold(app) {
            inner.dirty.insert(app);
            self.changed.notify_one();
        }
    }

    /// An app's loop has planned with what it saw in this epoch: its wish (or having none) counts. While the router is away nobody wishes anything,
    /// so a plan from then says nothing about the table that the router gets when it is back.
    pub(super) fn planned(&self, app: AppId, epoch: Epoch) {
        let mut inner = self.lock();
        if !inner.initialised && !inner.away && epoch == Epoch(inner.epoch) && inner.planned.insert(app) {
            self.changed.notify_one();
        }
    }

    /// Every app there is has a loop now.
    pub(super) fn listed(&self) {
        let first = !std::mem::replace(&mut self.lock().listed, true);
        if first {
            self.changed.notify_one();
        }
    }

    /// An app's loop ended.
    pub(super) fn forget(&self, app: AppId) {
        let mut inner = self.lock();
        inner.planned.insert(app);
        inner.frames.remove(&app);
        drop(inner);
        self.changed.notify_one();
    }

    /// Waits until the router confirmed that it sends nothing to a container, for a short while.
    pub(super) async fn wait_unrouted(&self, app: AppId, key: &ContainerKey) {
        let routed = || match self.lock().view(app) {
            RouterView::Away => false,
            RouterView::Untold => true,
            RouterView::Here { acknowledged } => acknowledged.is_some_and(|routes| routes.backends.contains(key)),
        };
        let mut confirmed = self.confirmed.subscribe();
        // The sender lives as long as self does, so this ends with the routes or the time.
        let _ = tokio::time::timeout(UNROUTED, confirmed.wait_for(|()| !routed())).await;
    }

    /// Tells the router, until cancelled.
    pub(super) async fn run(&self, shared: Arc<Shared>) {
        let mut waiting_since = tokio::time::Instant::now();
        let mut gone = Box::pin(self.client.until_gone());
        let mut look_at = waiting_since;
        loop {
            let result = tokio::select! {
                () = shared.cancel.cancelled() => return,
                () = self.changed.notified() => self.tell(&shared, waiting_since.elapsed()).await,
                _ = &mut gone => {
                    gone = Box::pin(self.client.until_gone());
                    look_at = tokio::time::Instant::now();
                    continue;
                }
                () = tokio::time::sleep_until(look_at) => match self.client.sync().await {
                    Ok(in_force) => {
                        // Its table may be of a time when the clock said more than now.
                        let was_away = {
                            let mut inner = self.lock();
                            inner.generation = inner.generation.max(in_force);
                            inner.epoch += u64::from(inner.away);
                            std::mem::replace(&mut inner.away, false)
                        };
                        if was_away {
                            tracing::info!("the router is back");
                            waiting_since = tokio::time::Instant::now();
                            wake_all(&shared);
                        }
                        self.tell(&shared, waiting_since.elapsed()).await
                    }
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = result {
                self.lost(&shared, &error);
            }
            let pause = match () {
                () if self.lock().away => AWAY,
                // The whole table waits for loops that have not planned: for those that cannot, only so long.
                () if !self.lock().initialised => FIRST_PLANS.saturating_sub(waiting_since.elapsed()).max(Duration::from_secs(1)),
                () => HEARTBEAT,
            };
            look_at = tokio::time::Instant::now() + pause;
        }
    }

    fn lost(&self, shared: &Arc<Shared>, error: &landfall_router::control::ClientError) {
        let mut inner = self.lock();
        let was_away = inner.away;
        let (generation, epoch) = (inner.generation, inner.epoch + 1);
        let frames = std::mem::take(&mut inner.frames);
        *inner = Inner { away: true, listed: inner.listed, generation, epoch, frames, ..Inner::default() };
        drop(inner);
        self.confirmed.send_replace(());
        if !was_away {
            tracing::warn!(error = %error, "the router is away; it serves with its last table, and no dyno it may use is stopped");
            wake_all(shared);
        }
    }

    /// The first word to the router: the whole table, once every loop has planned. If one cannot, the others are sent one by one, so that the
    /// router keeps what it has of that one.
    async fn begin(&self, shared: &Arc<Shared>, waited: Duration) -> Result<bool, landfall_router::control::ClientError> {
        let apps: HashSet<AppId> = shared.apps().keys().copied().collect();
        let (table, entries) = {
            let mut inner = self.lock();
            if inner.away || !inner.listed || !shared.cache.is_live() {
                return Ok(false);
            }
            if !apps.is_subset(&inner.planned) {
                inner.initialised = waited > FIRST_PLANS;
                return Ok(inner.initialised);
            }
            inner.generation += 1;
            inner.dirty.clear();
            let entries = inner.wanted.clone();
            (Table { generation: inner.generation, apps: entries.values().map(|entry| entry.wire.clone()).collect() }, entries)
        };
        failpoint("server.table.before");
        self.client.replace_table(table).await?;
        failpoint("server.table.acknowledged");
        let mut inner = self.lock();
        // What changed meanwhile is still dirty, and told next.
        inner.acknowledged = entries;
        (inner.initialised, inner.whole) = (true, true);
        drop(inner);
        self.confirmed.send_replace(());
        wake_all(shared);
        Ok(true)
    }

    /// Sends what is to be sent.
    async fn tell(&self, shared: &Arc<Shared>, waited: Duration) -> Result<(), landfall_router::control::ClientError> {
        if !self.lock().initialised && !self.begin(shared, waited).await? {
            return Ok(());
        }
        loop {
            let (app, entry, generation) = {
                let mut inner = self.lock();
                let Some(app) = inner.dirty.pop_first() else { return Ok(()) };
                inner.generation += 1;
                inner.telling = Some(app);
                (app, inner.wanted.get(&app).cloned(), inner.generation)
            };
            if let Some(entry) = &entry {
                failpoint("server.routes.before");
                self.client.replace_app(generation, entry.wire.clone()).await?;
                failpoint("server.routes.acknowledged");
            } else {
                failpoint("server.unroute.before");
                self.client.remove_app(generation, app.to_string()).await?;
                failpoint("server.unroute.acknowledged");
            }
            let mut inner = self.lock();
            inner.telling = None;
            if let Some(entry) = entry {
                inner.acknowledged.insert(app, entry);
            } else {
                inner.acknowledged.remove(&app);
                inner.removed.insert(app);
            }
            drop(inner);
            self.confirmed.send_replace(());
            shared.wake(app);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake_all(shared: &Shared) {
    for handle in shared.apps().values() {
        handle.wake();
    }
}

fn wire_mode(mode: RouteMode) -> Mode {
    match mode {
        RouteMode::Serving => Mode::Serving,
        RouteMode::Maintenance => Mode::Maintenance,
        RouteMode::Blank => Mode::Blank,
        RouteMode::NoWeb => Mode::NoWeb,
        RouteMode::Booting => Mode::Booting,
        RouteMode::Crashed => Mode::Crashed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_made_while_the_router_was_away_does_not_count_when_it_is_back() {
        let table = RouteTable::new(Client::new("/nowhere"));
        let app = AppId::new();
        let counts = |epoch| {
            table.planned(app, epoch);
            std::mem::take(&mut table.lock().planned).contains(&app)
        };
        let (_, at_first) = table.view(app);
        assert!(counts(at_first));
        *table.lock() = Inner { away: true, epoch: 1, ..Inner::default() };
        let (view, while_away) = table.view(app);
        assert_eq!(view, RouterView::Away);
        assert!(!counts(at_first) && !counts(while_away));
        let mut inner = table.lock();
        (inner.away, inner.epoch) = (false, 2);
        drop(inner);
        assert!(!counts(while_away) && counts(table.view(app).1));
    }

    #[test]
    fn what_the_router_has_of_an_app_is_known_once_it_said_so() {
        let table = RouteTable::new(Client::new("/nowhere"));
        let app = AppId::new();
        let view = || table.view(app).0;
        assert_eq!(view(), RouterView::Untold, "an earlier server may have told it something");
        table.lock().whole = true;
        assert_eq!(view(), RouterView::Here { acknowledged: None });
        table.lock().telling = Some(app);
        assert_eq!(view(), RouterView::Untold, "it may have heard it or not");
        *table.lock() = Inner { removed: [app].into(), ..Inner::default() };
        assert_eq!(view(), RouterView::Here { acknowledged: None });
    }
}
