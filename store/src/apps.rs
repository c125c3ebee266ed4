//! Apps: made with their first release, user block and domain in one transaction; destroyed in two steps.

use landfall_model::{AppId, AppName, ConfigVars, DomainId};
use sqlx::any::AnyRow;

use crate::access::{AppScope, Principal, SystemScope};
use crate::db::{self, Tx, unique_or};
use crate::nouns::{App, NewApp, UserRef};
use crate::releases::{self, NewRelease, owner_only};
use crate::{Result, Store, StoreError, row};

/// Blocks 1 to this fit under 2^32 host ids (base 100,000 + block × 65,536); block 0 is the agent's.
const LAST_USER_BLOCK: i64 = 65_532;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT p.id, p.name, p.owner_id, a.email, p.stack, p.maintenance, p.user_block, p.created_at, p.updated_at, ",
            "(SELECT MAX(r.created_at) FROM releases r WHERE r.app_id = p.id AND r.status = 'succeeded') AS released_at ",
            "FROM apps p JOIN accounts a ON a.id = p.owner_id ",
            $rest
        )
    };
}

fn from_row(row: &AnyRow) -> Result<App> {
    Ok(App {
        id: row::parsed(row, "id")?,
        name: row::parsed(row, "name")?,
        owner: UserRef { id: row::parsed(row, "owner_id")?, email: row::text(row, "email")? },
        stack: row::text(row, "stack")?,
        maintenance: row::flag(row, "maintenance")?,
        user_block: row::small(row, "user_block")?,
        created_at: row::time(row, "created_at")?,
        updated_at: row::time(row, "updated_at")?,
        released_at: row::time_opt(row, "released_at")?,
    })
}

async fn find(tx: &mut Tx, app: AppId) -> Result<Option<App>> {
    let row = sqlx::query(select!("WHERE p.id = $1 AND p.destroyed_at IS NULL")).bind(app.to_string()).fetch_optional(&mut **tx).await?;
    row.as_ref().map(from_row).transpose()
}

async fn get(tx: &mut Tx, app: AppId) -> Result<App> {
    find(tx, app).await?.ok_or(StoreError::NotFound { what: "app" })
}

/// The next block after the last one given out, skipping those still held, also by tombstones. Going round before reusing keeps a block
/// that was just freed out of use for as long as possible.
async fn user_block_take(tx: &mut Tx) -> Result<i64> {
    let start = db::counter_next(tx, "user_block").await?;
    let rows = sqlx::query("SELECT user_block FROM apps").fetch_all(&mut **tx).await?;
    let held = rows.iter().map(|row| row::int(row, "user_block")).collect::<Result<std::collections::HashSet<i64>>>()?;
    let block = (0..LAST_USER_BLOCK).map(|step| (start - 1 + step) % LAST_USER_BLOCK + 1).find(|block| !held.contains(block));
    let block = block.ok_or(StoreError::UserBlocksExhausted { limit: LAST_USER_BLOCK as u32 })?;
    sqlx::query("UPDATE counters SET value = $1 WHERE name = 'user_block'").bind(block).execute(&mut **tx).await?;
    Ok(block)
}

impl Store {
    /// Makes an app: release v1, user block and platform domain with it. Said again with the same id by the same person, it returns the
    /// app that is there.
    pub async fn app_create(&self, principal: &Principal, new: NewApp) -> Result<App> {
        let id = new.id.unwrap_or_default();
        let mut tx = self.db().write().await?;
        let block = user_block_take(&mut tx).await?;
        if let Some(present) = find(&mut tx, id).await? {
            return if present.owner.id == principal.account { Ok(present) } else { Err(StoreError::AppNameTaken { name: new.name }) };
        }
        let inserted = sqlx::query(
            "INSERT INTO apps (id, name, owner_id, stack, maintenance, user_block, last_version, last_restart, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, 0, $5, 0, 0, $6, $7)",
        )
        .bind(id.to_string())
        .bind(new.name.as_str())
        .bind(principal.account.to_string())
        .bind(new.stack.as_str())
        .bind(block)
        .bind(row::now())
        .bind(row::now())
        .execute(&mut *tx)
        .await;
        unique_or(inserted, || StoreError::AppNameTaken { name: new.name.clone() })?;
        self.platform_domain_insert(&mut tx, id, &new.name).await?;
        let config = self.config_store(&mut tx, id, &ConfigVars::default()).await?;
        let mut locked = releases::lock(&mut tx, id).await?;
        let first =
            NewRelease { description: "Initial release".to_owned(), user: Some(principal.account), slug: None, build: None, config };
        releases::append(&mut tx, &mut locked, first).await?;
        let app = get(&mut tx, id).await?;
        self.commit(tx, id).await?;
        Ok(app)
    }

    async fn platform_domain_insert(&self, tx: &mut Tx, app: AppId, name: &AppName) -> Result<()> {
        let host = format!("{name}.{}", self.platform_domain());
        if self.reserved().is_api(&host) {
            return Err(StoreError::AppNameTaken { name: name.clone() });
        }
        let inserted =
            sqlx::query("INSERT INTO domains (id, app_id, hostname, kind, created_at, updated_at) VALUES ($1, $2, $3, 'heroku', $4, $5)")
                .bind(DomainId::new().to_string())
                .bind(app.to_string())
                .bind(host)
                .bind(row::now())
                .bind(row::now())
                .execute(&mut **tx)
                .await;
        unique_or(inserted, || StoreError::AppNameTaken { name: name.clone() })?;
        Ok(())
    }

    /// The apps somebody owns or works on, by name.
    pub async fn app_list(&self, principal: &Principal) -> Result<Vec<App>> {
        let rows = sqlx::query(select!(
            "WHERE p.destroyed_at IS NULL AND (p.owner_id = $1 OR EXISTS (SELECT 1 FROM collaborators c WHERE c.app_id = p.id AND \
             c.account_id = $1)) ORDER BY p.name"
        ))
        .bind(principal.account.to_string())
        .fetch_all(self.db().reader())
        .await?;
        rows.iter().map(from_row).collect()
    }

    /// One app.
    pub async fn app_get(&self, scope: &AppScope) -> Result<App> {
        let mut tx = self.db().snapshot().await?;
        get(&mut tx, scope.app).await
    }

    /// Gives the app another name; its platform domain follows. Owner only.
    pub async fn app_rename(&self, scope: &AppScope, name: &AppName) -> Result<App> {
        owner_only(scope)?;
        let mut tx = self.db().write().await?;
        releases::lock(&mut tx, scope.app).await?;
        let renamed =
            sqlx::query("UPDATE apps SET name = $2 WHERE id = $1").bind(scope.app.to_string()).bind(name.as_str()).execute(&mut *tx).await;
        unique_or(renamed, || StoreError::AppNameTaken { name: name.clone() })?;
        sqlx::query("DELETE FROM domains WHERE app_id = $1 AND kind = 'heroku'").bind(scope.app.to_string()).execute(&mut *tx).await?;
        self.platform_domain_insert(&mut tx, scope.app, name).await?;
        let app = get(&mut tx, scope.app).await?;
        self.commit(tx, scope.app).await?;
        Ok(app)
    }

    /// Turns the maintenance page on or off.
    pub async fn app_maintenance_set(&self, scope: &AppScope, on: bool) -> Result<App> {
        let mut tx = self.db().write().await?;
        releases::lock(&mut tx, scope.app).await?;
        sqlx::query("UPDATE apps SET maintenance = $2 WHERE id = $1")
            .bind(scope.app.to_string())
            .bind(i64::from(on))
            .execute(&mut *tx)
            .await?;
        let app = get(&mut tx, scope.app).await?;
        self.commit(tx, scope.app).await?;
        Ok(app)
    }

    /// Chooses the base image of the next build.
    pub async fn app_stack_set(&self, scope: &AppScope, stack: &str) -> Result<App> {
        let mut tx = self.db().write().await?;
        releases::lock(&mut tx, scope.app).await?;
        sqlx::query("UPDATE apps SET stack = $2 WHERE id = $1").bind(scope.app.to_string()).bind(stack).execute(&mut *tx).await?;
        let app = get(&mut tx, scope.app).await?;
        self.commit(tx, scope.app).await?;
        Ok(app)
    }

    /// Marks the app as destroyed: nobody finds it any more, its name and domains are free, and the reconcile loop cleans up. Its user
    /// block stays taken until [`Self::app_purge`]. Owner only. Returns the app as it was.
    pub async fn app_destroy(&self, scope: &AppScope) -> Result<App> {
        owner_only(scope)?;
        let mut tx = self.db().write().await?;
        releases::lock(&mut tx, scope.app).await?;
        let app = get(&mut tx, scope.app).await?;
        sqlx::query("DELETE FROM domains WHERE app_id = $1").bind(scope.app.to_string()).execute(&mut *tx).await?;
        sqlx::query("UPDATE apps SET destroyed_at = $2 WHERE id = $1")
            .bind(scope.app.to_string())
            .bind(row::now())
            .execute(&mut *tx)
            .await?;
        self.commit(tx, scope.app).await?;
        Ok(app)
    }

    /// Forgets a destroyed app once nothing of it is left on the machine. Purging what is gone is fine.
    pub async fn app_purge(&self, _system: &SystemScope, app: AppId) -> Result<()> {
        let mut tx = self.db().write().await?;
        let row = sqlx::query("SELECT destroyed_at FROM apps WHERE id = $1").bind(app.to_string()).fetch_optional(&mut *tx).await?;
        match row {
            None => return Ok(()),
            Some(row) if row::int_opt(&row, "destroyed_at")?.is_none() => return Err(StoreError::NotDestroyed),
            Some(_) => {}
        }
        sqlx::query("DELETE FROM apps WHERE id = $1").bind(app.to_string()).execute(&mut *tx).await?;
        self.commit(tx, app).await
    }
}
