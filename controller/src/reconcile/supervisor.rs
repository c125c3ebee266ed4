//! Owns the loops: makes one for each app, wakes them, and waits for them in the end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use landfall_model::AppId;
use landfall_router::control::Client;
use landfall_runtime::client::Agent;
use landfall_store::Store;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::app_loop;
use super::cache::Cache;
use super::clock::Clock;
use super::routes::RouteTable;
use super::shared::{AppHandle, Shared};
use crate::app_log::AppLogs;
use crate::config::ServerConfig;
use crate::housekeeping::ImageHolds;

/// How often the list of apps is read although nothing said it changed.
const LIST: Duration = Duration::from_secs(30);

/// The reconcile loops of all apps.
#[derive(Clone, Debug)]
pub struct Supervisor {
    shared: Arc<Shared>,
}

impl Supervisor {
    /// Joins the parts; nothing runs yet.
    pub fn new(store: Store, config: ServerConfig, cancel: CancellationToken, tasks: TaskTracker) -> Self {
        let system = store.system();
        let shared = Shared {
            cache: Arc::new(Cache::new(store.instance())),
            store,
            system,
            agent: Agent::new(config.agent_socket()),
            routes: RouteTable::new(Client::new(config.router_socket())),
            image_holds: ImageHolds::default(),
            litter: Notify::new(),
            logs: AppLogs::new(config.logs_dir()),
            config,
            clock: Clock::new(),
            cancel,
            tasks,
            apps: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// What the loops share with the rest of the server.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Starts watching and looping; returns at once. Everything ends with the cancellation token.
    pub fn start(&self) {
        let shared = &self.shared;
        shared.tasks.spawn(shared.cache.clone().run(shared.agent.clone(), shared.config.run_dir.clone(), shared.cancel.clone()));
        let own = shared.clone();
        shared.tasks.spawn(async move { own.routes.run(own.clone()).await });
        shared.tasks.spawn(self.clone().supervise());
    }

    /// The loop of an app, made if need be.
    pub fn handle(&self, app: AppId) -> Arc<AppHandle> {
        let mut apps = self.shared.apps();
        if let Some(handle) = apps.get(&app) {
            return handle.clone();
        }
        let handle = AppHandle::new(app);
        apps.insert(app, handle.clone());
        drop(apps);
        self.shared.tasks.spawn(app_loop::run(self.shared.clone(), handle.clone()));
        handle
    }

    async fn supervise(self) {
        let mut store_changes = self.shared.store.changes();
        let mut agent_changes = self.shared.cache.changes();
        let mut list = tokio::time::interval(LIST);
        list.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.shared.cancel.cancelled() => return,
                // Loops that are there have a timer of their own.
                _ = list.tick() => drop(self.list().await),
                change = store_changes.recv() => match change {
                    Ok(app) => self.handle(app).wake(),
                    Err(RecvError::Lagged(_)) => self.wake_all().await,
                    Err(RecvError::Closed) => return,
                },
                change = agent_changes.recv() => match change {
                    Ok(Some(app)) => self.handle(app).wake(),
                    Ok(None) | Err(RecvError::Lagged(_)) => self.wake_all().await,
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    async fn wake_all(&self) {
        for handle in self.list().await {
            handle.wake();
        }
    }

    /// The loop of every app there is, in the store or among the containers; made where it was missing.
    async fn list(&self) -> Vec<Arc<AppHandle>> {
        let mut apps = self.shared.cache.apps();
        let stored = self.shared.store.app_ids(&self.shared.system).await;
        apps.extend(stored.iter().flatten());
        let handles = apps.into_iter().map(|app| self.handle(app)).collect();
        match stored {
            Ok(_) => self.shared.routes.listed(),
            Err(error) => tracing::warn!(error = %error, "the list of apps could not be read; trying again"),
        }
        handles
    }
}
