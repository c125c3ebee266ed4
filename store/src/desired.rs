//! What should be true, read in one moment of the database.

use landfall_model::AppId;
use sqlx::any::AnyRow;
use uuid::Uuid;

use crate::access::SystemScope;
use crate::db::Tx;
use crate::nouns::{DesiredApp, DesiredRelease, Release, ReleaseRef};
use crate::{Result, Store, StoreError, builds, first_deploys, formation, releases, row, sharing};

impl Store {
    /// One app as it should be, also a destroyed one that is not purged yet; `None` = there is no trace of it.
    pub async fn desired(&self, _system: &SystemScope, app: AppId) -> Result<Option<DesiredApp>> {
        let mut tx = self.db().snapshot().await?;
        let row = sqlx::query("SELECT id, name, user_block, stack, maintenance, destroyed_at FROM apps WHERE id = $1")
            .bind(app.to_string())
            .fetch_optional(&mut *tx)
            .await?;
        match row {
            Some(row) => self.desired_app(&mut tx, &row).await.map(Some),
            None => Ok(None),
        }
    }

    async fn desired_app(&self, tx: &mut Tx, row: &AnyRow) -> Result<DesiredApp> {
        let mut desired = DesiredApp {
            id: row::parsed(row, "id")?,
            name: row::parsed(row, "name")?,
            user_block: row::small(row, "user_block")?,
            stack: row::text(row, "stack")?,
            maintenance: row::flag(row, "maintenance")?,
            destroyed_at: row::time_opt(row, "destroyed_at")?,
            hosts: Vec::new(),
            current: None,
            first_deploy: None,
            formation: Vec::new(),
            restarts: formation::restarts(tx, row::parsed(row, "id")?).await?,
            pending: Vec::new(),
        };
        if desired.destroyed_at.is_some() {
            return Ok(desired);
        }
        desired.first_deploy = first_deploys::find(tx, desired.id).await?;
        desired.hosts = sharing::domains(tx, desired.id).await?.into_iter().map(|domain| domain.hostname).collect();
        desired.formation = formation::list(tx, desired.id).await?.into_iter().map(|formation| formation.entry).collect();
        desired.current = match releases::find(tx, desired.id, ReleaseRef::Current).await {
            Ok((release, config)) => Some(self.desired_release(tx, release, config).await?),
            Err(StoreError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        for (release, config) in releases::pending(tx, desired.id).await? {
            desired.pending.push(self.desired_release(tx, release, config).await?);
        }
        Ok(desired)
    }

    async fn desired_release(&self, tx: &mut Tx, release: Release, config: Uuid) -> Result<DesiredRelease> {
        let slug = match release.slug {
            Some(slug) => Some(builds::slug(tx, release.app, slug).await?),
            None => None,
        };
        let config = self.config_open(tx, release.app, config).await?;
        Ok(DesiredRelease { release, slug, config })
    }
}
