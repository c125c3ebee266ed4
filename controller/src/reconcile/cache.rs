//! What the agent last said of every container, kept fresh by its watch.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use landfall_model::AppId;
use landfall_runtime::client::Agent;
use landfall_runtime_wire::{ContainerEvent, ContainerId, ContainerInfo};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::labels::{INSTANCE, app_of};
use crate::wait::News;

/// Pauses between looks for an agent that is away double from the first to the last; its socket's appearing starts anew.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LAST_LOOK: Duration = Duration::from_secs(2);

/// The last word on every container of this database; those of another one are told of once and then left alone. While the agent is away nothing is known: [`Cache::is_live`] is false.
#[derive(Debug)]
pub struct Cache {
    instance: String,
    containers: RwLock<BTreeMap<ContainerId, ContainerInfo>>,
    /// Of whom it was said already that they are not ours.
    strangers: Mutex<BTreeSet<ContainerId>>,
    live: watch::Sender<bool>,
    changes: broadcast::Sender<Option<AppId>>,
}

impl Cache {
    /// Knows nothing yet.
    pub fn new(instance: Uuid) -> Self {
        Self {
            instance: instance.to_string(),
            containers: RwLock::default(),
            strangers: Mutex::default(),
            live: watch::Sender::new(false),
            changes: broadcast::Sender::new(1024),
        }
    }

    /// Whether the agent is there.
    pub fn is_live(&self) -> bool {
        *self.live.borrow()
    }

    /// Waits for the agent.
    pub async fn wait_live(&self) {
        let mut live = self.live.subscribe();
        // The sender lives as long as self does, so this only ends with `true`.
        let _ = live.wait_for(|live| *live).await;
    }

    /// Which app's containers changed; `None` = any app's.
    pub fn changes(&self) -> broadcast::Receiver<Option<AppId>> {
        self.changes.subscribe()
    }

    /// All containers of one app.
    pub fn of(&self, app: AppId) -> Vec<ContainerInfo> {
        self.read(|containers| containers.values().filter(|info| app_of(info) == Some(app)).cloned().collect())
    }

    /// One container.
    pub fn get(&self, id: &ContainerId) -> Option<ContainerInfo> {
        self.read(|containers| containers.get(id).cloned())
    }

    /// Every app that has containers.
    pub fn apps(&self) -> std::collections::BTreeSet<AppId> {
        self.read(|containers| containers.values().filter_map(app_of).collect())
    }

    /// Takes an answer of the agent that is newer than what the watch told so far.
    pub fn insert(&self, info: ContainerInfo) {
        let app = app_of(&info);
        // The watch may already have told more than the answer to `start` did: a state never goes back.
        self.containers.write().unwrap_or_else(PoisonError::into_inner).entry(info.id.clone()).or_insert(info);
        let _ = self.changes.send(app);
    }

    /// Forgets a container that is gone.
    pub fn forget(&self, id: &ContainerId) {
        let gone = self.containers.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        let _ = self.changes.send(gone.as_ref().and_then(app_of));
    }

    /// Watches until cancelled. `run_dir` is where the agent's socket appears.
    pub async fn run(self: Arc<Self>, agent: Agent, run_dir: PathBuf, cancel: CancellationToken) {
        let mut was_away = false;
        let mut pause = FIRST_LOOK;
        let sockets = News::of_dir(&run_dir);
        loop {
            let error = tokio::select! {
                error = self.follow(&agent) => error,
                () = cancel.cancelled() => return,
            };
            if !was_away {
                tracing::warn!(error, "the agent is away; nothing is started or stopped until it is back");
            }
            was_away = !self.live.send_replace(false);
            if !was_away {
                pause = FIRST_LOOK;
                let _ = self.changes.send(None);
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LAST_LOOK),
                () = sockets.wait() => pause = FIRST_LOOK,
                () = cancel.cancelled() => return,
            }
        }
    }

    async fn follow(&self, agent: &Agent) -> String {
        let mut watch = match agent.watch().await {
            Ok(watch) => watch,
            Err(error) => return error.to_string(),
        };
        loop {
            match watch.next().await {
                Some(Ok(event)) => self.take(event),
                Some(Err(error)) => return error.to_string(),
                None => return "the watch ended".to_owned(),
            }
        }
    }

    fn take(&self, event: ContainerEvent) {
        let mut containers = self.containers.write().unwrap_or_else(PoisonError::into_inner);
        let app = match event {
            ContainerEvent::Snapshot { containers: all } => {
                *containers = all.into_iter().filter(|info| !self.is_foreign(info)).map(|info| (info.id.clone(), info)).collect();
                self.live.send_replace(true);
                None
            }
            ContainerEvent::Changed { container } if self.is_foreign(&container) => return,
            ContainerEvent::Changed { container } => {
                let app = app_of(&container);
                containers.insert(container.id.clone(), container);
                app
            }
            ContainerEvent::Removed { id } => containers.remove(&id).as_ref().and_then(app_of),
        };
        drop(containers);
        let _ = self.changes.send(app);
    }

    /// Whether a container is another database's.
    fn is_foreign(&self, info: &ContainerInfo) -> bool {
        let foreign = info.labels.get(INSTANCE).is_some_and(|instance| *instance != self.instance);
        if foreign && self.first_sight(&info.id) {
            tracing::warn!(
                container.id = %info.id,
                instance = info.labels.get(INSTANCE),
                "a container belongs to another Landfall database; it is left alone. If that database is gone, end its containers with: landfall down"
            );
        }
        foreign
    }

    /// Whether a container that is not to be touched is seen for the first time.
    pub(super) fn first_sight(&self, id: &ContainerId) -> bool {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone())
    }

    fn read<T>(&self, look: impl FnOnce(&BTreeMap<ContainerId, ContainerInfo>) -> T) -> T {
        look(&self.containers.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use landfall_runtime_wire::ContainerState;

    #[test]
    fn containers_of_another_database_are_nobodys_business() {
        let cache = Cache::new(Uuid::from_u128(1));
        let app = AppId::new();
        let info = |name: &str, instance: Option<u128>| {
            let instance = instance.map(|id| (INSTANCE.to_owned(), Uuid::from_u128(id).to_string()));
            ContainerInfo {
                id: super::super::labels::container_id(name.to_owned()),
                labels: [("app".to_owned(), app.to_string())].into_iter().chain(instance).collect(),
                state: ContainerState::Ready,
                ip: None,
                other_listeners: vec![],
                started_at_ms: 0,
                changed_at_ms: 0,
                started_uptime_ms: 0,
                changed_uptime_ms: 0,
            }
        };
        let all = vec![info("d-ours", Some(1)), info("d-old", None), info("d-theirs", Some(2))];
        cache.take(ContainerEvent::Snapshot { containers: all });
        cache.take(ContainerEvent::Changed { container: info("d-theirs-too", Some(2)) });
        let known: Vec<String> = cache.of(app).iter().map(|info| info.id.to_string()).collect();
        assert_eq!(known, ["d-old", "d-ours"]);
    }
}
