//! Config vars: sealed at rest; every change is a release.

use std::collections::BTreeMap;

use landfall_model::{AppId, ConfigKey, ConfigVars, SecretString};
use uuid::Uuid;

use crate::access::AppScope;
use crate::db::Tx;
use crate::nouns::ConfigPatched;
use crate::releases::{self, Locked, NewRelease};
use crate::{MAX_CONFIG_BYTES, Result, Store, StoreError, row};

impl Store {
    /// The config vars the next release builds on: those of the newest release that did not fail.
    pub async fn config_get(&self, scope: &AppScope) -> Result<ConfigVars> {
        let mut tx = self.db().snapshot().await?;
        let (_, config) = releases::head(&mut tx, scope.app).await?;
        self.config_open(&mut tx, scope.app, config).await
    }

    /// Sets (`Some`) and unsets (`None`) config vars and makes a release of it, in one transaction. A change that changes nothing makes
    /// none.
    pub async fn config_patch(&self, scope: &AppScope, changes: &BTreeMap<ConfigKey, Option<SecretString>>) -> Result<ConfigPatched> {
        let mut tx = self.db().write().await?;
        let mut locked = releases::lock(&mut tx, scope.app).await?;
        let patched = self.config_change(&mut tx, &mut locked, scope, changes).await?;
        if patched.release.is_some() {
            self.commit(tx, scope.app).await?;
        }
        Ok(patched)
    }

    /// Sets those that are not set yet.
    pub(crate) async fn config_wish(
        &self,
        tx: &mut Tx,
        locked: &mut Locked,
        scope: &AppScope,
        wishes: &BTreeMap<ConfigKey, SecretString>,
    ) -> Result<()> {
        let (_, config) = releases::head(tx, scope.app).await?;
        let present = self.config_open(tx, scope.app, config).await?;
        let missing = wishes.iter().filter(|(key, _)| !present.0.contains_key(*key));
        let changes = missing.map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        self.config_change(tx, locked, scope, &changes).await.map(drop)
    }

    async fn config_change(
        &self,
        tx: &mut Tx,
        locked: &mut Locked,
        scope: &AppScope,
        changes: &BTreeMap<ConfigKey, Option<SecretString>>,
    ) -> Result<ConfigPatched> {
        if let Some((key, _)) = changes.iter().find(|(_, value)| value.as_ref().is_some_and(|value| value.expose().contains('\0'))) {
            return Err(StoreError::ConfigValueHasNul { key: key.to_string() });
        }
        let (head, config) = releases::head(tx, scope.app).await?;
        let before = self.config_open(tx, scope.app, config).await?;
        let after = before.patched(changes);
        if after == before {
            return Ok(ConfigPatched { release: None, config: after });
        }
        let bytes = after.iter_exposed().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > MAX_CONFIG_BYTES {
            return Err(StoreError::ConfigTooLarge { bytes, limit: MAX_CONFIG_BYTES });
        }
        let config = self.config_store(tx, scope.app, &after).await?;
        let new = NewRelease { description: describe(&before, &after), user: scope.actor, slug: head.slug, build: head.build, config };
        let release = releases::append(tx, locked, new).await?;
        Ok(ConfigPatched { release: Some(release), config: after })
    }

    pub(crate) async fn config_open(&self, tx: &mut Tx, app: AppId, config: Uuid) -> Result<ConfigVars> {
        let row = sqlx::query("SELECT sealed FROM configs WHERE id = $1 AND app_id = $2")
            .bind(config.to_string())
            .bind(app.to_string())
            .fetch_one(&mut **tx)
            .await?;
        let sealed = row::text(&row, "sealed")?;
        if sealed.is_empty() {
            return Err(StoreError::ConfigForgotten { version: None });
        }
        let plain = self.sealer().unseal(&app.to_string(), &sealed)?;
        serde_json::from_slice(&plain).map_err(|_| StoreError::Decode { column: "sealed" })
    }

    pub(crate) async fn config_store(&self, tx: &mut Tx, app: AppId, config: &ConfigVars) -> Result<Uuid> {
        let id = Uuid::now_v7();
        let plain = row::to_json(config, "sealed")?;
        sqlx::query("INSERT INTO configs (id, app_id, sealed, created_at) VALUES ($1, $2, $3, $4)")
            .bind(id.to_string())
            .bind(app.to_string())
            .bind(self.sealer().seal(&app.to_string(), plain.as_bytes())?)
            .bind(row::now())
            .execute(&mut **tx)
            .await?;
        Ok(id)
    }
}

/// `Set A, B config vars`, `Remove A config vars`, or both, as Heroku's release list says it.
fn describe(before: &ConfigVars, after: &ConfigVars) -> String {
    let set: Vec<&str> = after.0.iter().filter(|(key, value)| before.0.get(*key) != Some(value)).map(|(key, _)| key.as_str()).collect();
    let removed: Vec<&str> = before.0.keys().filter(|key| !after.0.contains_key(*key)).map(ConfigKey::as_str).collect();
    match (set.is_empty(), removed.is_empty()) {
        (false, true) => format!("Set {} config vars", set.join(", ")),
        (true, _) => format!("Remove {} config vars", removed.join(", ")),
        (false, false) => format!("Set {} and remove {} config vars", set.join(", "), removed.join(", ")),
    }
}
