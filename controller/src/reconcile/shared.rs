//! What every app's loop and the rest of the server share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use landfall_model::AppId;
use landfall_runtime::client::{Agent, ClientError};
use landfall_runtime_wire::agent::FaultCode;
use landfall_runtime_wire::{ContainerInfo, ContainerSpec};
use landfall_store::{Store, SystemScope};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cache::Cache;
use super::clock::Clock;
use super::labels::INSTANCE;
use super::memory::Memory;
use super::routes::RouteTable;
use super::status::AppStatus;
use crate::app_log::AppLogs;
use crate::config::ServerConfig;
use crate::housekeeping::ImageHolds;

/// Everything the loops need. One per server.
#[derive(Debug)]
pub struct Shared {
    /// What is remembered.
    pub store: Store,
    /// The platform's own right to every app.
    pub system: SystemScope,
    /// The agent.
    pub agent: Agent,
    /// What the agent says.
    pub cache: Arc<Cache>,
    /// The router.
    pub routes: RouteTable,
    /// Images that are made and not released yet.
    pub image_holds: ImageHolds,
    /// Something new took the place of something old: there may be something to let go of.
    pub litter: Notify,
    /// The platform's log lines.
    pub logs: AppLogs,
    /// The configuration.
    pub config: ServerConfig,
    /// Time.
    pub clock: Clock,
    /// Fires when the server stops.
    pub cancel: CancellationToken,
    /// Every task that is under way.
    pub tasks: TaskTracker,
    pub(super) apps: Mutex<HashMap<AppId, Arc<AppHandle>>>,
}

/// One app's loop, from outside.
#[derive(Debug)]
pub struct AppHandle {
    /// Which app.
    pub app: AppId,
    pub(super) memory: Mutex<Memory>,
    pub(super) wake: Notify,
    pub(super) status: watch::Sender<AppStatus>,
}

impl AppHandle {
    pub(super) fn new(app: AppId) -> Arc<Self> {
        Arc::new(Self { app, memory: Mutex::default(), wake: Notify::new(), status: watch::Sender::new(AppStatus::default()) })
    }

    /// Look again soon.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// What the loop last saw, and every later sight.
    pub fn status(&self) -> watch::Receiver<AppStatus> {
        self.status.subscribe()
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// The loop of an app, if it has one.
    pub fn app(&self, app: AppId) -> Option<Arc<AppHandle>> {
        self.apps().get(&app).cloned()
    }

    pub(super) fn apps(&self) -> MutexGuard<'_, HashMap<AppId, Arc<AppHandle>>> {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a container, marked as this database's: no server on another one will touch it.
    pub(crate) async fn start(&self, mut spec: ContainerSpec) -> Result<ContainerInfo, ClientError> {
        spec.labels.insert(INSTANCE.to_owned(), self.store.instance().to_string());
        self.agent.start(spec).await
    }

    /// Wakes an app's loop, if it has one.
    pub fn wake(&self, app: AppId) {
        if let Some(handle) = self.app(app) {
            handle.wake();
        }
    }
}

/// Code and words for what the agent did not start, to stand behind `Error `.
pub(super) fn not_started(what: &str, error: &ClientError) -> String {
    let why = landfall_model::chain(error);
    match error.fault_code() {
        Some(FaultCode::Digest) => {
            format!("R17 (Checksum error) -> {what} was not started: {why}. {}", error.hint().unwrap_or_default())
        }
        _ => format!("R99 (Platform error) -> {what} could not be started: {why}"),
    }
}
