//! Dynos as people see them, and stopping them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use jiff::Timestamp;
use landfall_api::platform::{DynoSelector, DynoView, PlatformError};
use landfall_deploy::{ContainerKey, ContainerKind, StopReason};
use landfall_model::{AppId, DynoId, DynoName, DynoState, ReleaseId, ReleaseVersion};
use landfall_runtime_wire::ContainerId;
use landfall_store::ReleaseRef;

use super::{Live, of_store};
use crate::reconcile::DynoStatus;

impl Live {
    /// Dynos of the app's loop as it last saw them; a loop that has not looked yet is waited for.
    pub(super) async fn statuses(&self, app: AppId) -> Result<Vec<DynoStatus>, PlatformError> {
        self.known_agent()?;
        let handle = self.supervisor.handle(app);
        let mut status = handle.status();
        let looked = tokio::time::timeout(std::time::Duration::from_secs(5), status.wait_for(|status| status.target.is_some())).await;
        match looked {
            Ok(Ok(status)) => Ok(status.dynos.clone()),
            _ => Err(PlatformError::Unavailable("The app's dynos could not be looked at. Try again in a minute.".into())),
        }
    }

    pub(super) async fn list_dynos(&self, app: AppId) -> Result<Vec<DynoView>, PlatformError> {
        let dynos = self.statuses(app).await?;
        let mut releases: HashMap<ReleaseVersion, ReleaseId> = HashMap::new();
        let mut views = Vec::new();
        for dyno in dynos {
            let id = match releases.entry(dyno.release) {
                Entry::Occupied(entry) => *entry.get(),
                Entry::Vacant(entry) => {
                    let scope = self.shared().system.app(app);
                    let release = self.shared().store.release_get(&scope, ReleaseRef::Version(dyno.release)).await.map_err(of_store)?;
                    *entry.insert(release.id)
                }
            };
            views.push(self.view(&dyno, id));
        }
        Ok(views)
    }

    pub(super) fn view(&self, dyno: &DynoStatus, release: ReleaseId) -> DynoView {
        let created = self.shared().cache.get(&dyno.container).and_then(|info| Timestamp::from_millisecond(info.started_at_ms as i64).ok());
        DynoView {
            id: dyno_id(&dyno.container),
            name: dyno.name.clone(),
            state: dyno.state,
            command: dyno.command.clone(),
            size: dyno.size,
            release: (release, dyno.release),
            created_at: created.unwrap_or(dyno.updated_at),
            updated_at: dyno.updated_at,
            note: dyno.note.clone(),
        }
    }

    pub(super) async fn find_dyno(&self, app: AppId, name: &DynoName) -> Result<DynoStatus, PlatformError> {
        let mut found: Vec<DynoStatus> = self.statuses(app).await?.into_iter().filter(|dyno| dyno.name == *name).collect();
        // During a rollout there may be two of one name: the newer one is meant.
        found.sort_by_key(|dyno| (dyno.state == DynoState::Up, dyno.release));
        found.pop().ok_or_else(|| PlatformError::NotFound(format!("Couldn't find the dyno {name}. See what runs with: landfall ps")))
    }

    pub(super) async fn running_container(&self, app: AppId, id: DynoId) -> Result<ContainerId, PlatformError> {
        let found = self.statuses(app).await?.into_iter().find(|dyno| dyno_id(&dyno.container) == id);
        let dyno = found.ok_or_else(|| PlatformError::NotFound("That dyno is gone. See what runs with: landfall ps".into()))?;
        match dyno.state {
            DynoState::Up | DynoState::Starting => Ok(dyno.container),
            state => {
                let name = dyno.name;
                Err(PlatformError::Conflict(format!("{name} is {}, so nothing can run in it. See: landfall ps", state.as_str())))
            }
        }
    }

    pub(super) async fn stop_dynos(&self, app: AppId, which: DynoSelector) -> Result<(), PlatformError> {
        let chosen: Vec<DynoStatus> = match &which {
            DynoSelector::One(name) => vec![self.find_dyno(app, name).await?],
            DynoSelector::Type(process_type) => {
                self.statuses(app).await?.into_iter().filter(|dyno| dyno.name.process_type == *process_type).collect()
            }
            DynoSelector::All => self.statuses(app).await?.into_iter().filter(|dyno| dyno.kind == ContainerKind::Dyno).collect(),
        };
        let handle = self.supervisor.handle(app);
        let (shared, grace) = (self.shared(), self.shared().config.deploy.stop_grace);
        for dyno in chosen.into_iter().filter(|dyno| matches!(dyno.state, DynoState::Up | DynoState::Starting)) {
            handle.stop(shared, &ContainerKey(dyno.container.to_string()), StopReason::Requested, grace).await;
        }
        handle.wake();
        Ok(())
    }
}

/// The container's name holds the dyno's id.
pub(super) fn dyno_id(container: &ContainerId) -> DynoId {
    let text = container.as_str();
    let id = text.split_once('-').map_or(text, |(_, id)| id);
    DynoId(uuid::Uuid::parse_str(id).unwrap_or_else(|_| uuid::Uuid::nil()))
}
