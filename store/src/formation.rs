//! Formation: follows the slug's process types, scaled by people; and restarts.

use landfall_model::{AppId, DynoSize, FormationEntry, FormationId, MAX_QUANTITY, ProcessType, ReleaseId, Restarts, SlugId};
use sqlx::any::AnyRow;

use crate::access::AppScope;
use crate::db::Tx;
use crate::nouns::{Formation, FormationChange, QuantityChange, RestartTarget};
use crate::{Result, Store, StoreError, builds, releases, row};

fn from_row(row: &AnyRow) -> Result<Formation> {
    Ok(Formation {
        id: row::parsed(row, "id")?,
        entry: FormationEntry {
            process_type: row::parsed(row, "process_type")?,
            quantity: row::small(row, "quantity")?,
            size: row::parsed(row, "size")?,
            command: row::text(row, "command")?,
        },
        created_at: row::time(row, "created_at")?,
        updated_at: row::time(row, "updated_at")?,
    })
}

pub(crate) async fn list(tx: &mut Tx, app: AppId) -> Result<Vec<Formation>> {
    let rows = sqlx::query(
        "SELECT id, process_type, quantity, size, command, created_at, updated_at FROM formation WHERE app_id = $1 ORDER BY process_type",
    )
    .bind(app.to_string())
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(from_row).collect()
}

/// Makes the formation fit a release that just became current: new types appear (web=1 and app.json's wishes at the very first deploy, 0
/// later), removed ones vanish, commands follow. `release` is no type to be scaled.
pub(crate) async fn follow(tx: &mut Tx, app: AppId, release: ReleaseId, slug: SlugId) -> Result<()> {
    let earlier = sqlx::query(
        "SELECT COUNT(*) AS n FROM releases WHERE app_id = $1 AND id <> $2 AND slug_id IS NOT NULL AND status IN ('succeeded', 'expired')",
    )
    .bind(app.to_string())
    .bind(release.to_string())
    .fetch_one(&mut **tx)
    .await?;
    let first_deploy = row::int(&earlier, "n")? == 0;
    let slug = builds::slug(tx, app, slug).await?;
    let existing = list(tx, app).await?;
    for gone in existing.iter().filter(|entry| !slug.process_types.contains_key(&entry.entry.process_type)) {
        sqlx::query("DELETE FROM formation WHERE id = $1").bind(gone.id.to_string()).execute(&mut **tx).await?;
    }
    for (process_type, command) in slug.process_types.iter().filter(|(process_type, _)| **process_type != ProcessType::release()) {
        if let Some(present) = existing.iter().find(|entry| entry.entry.process_type == *process_type) {
            if present.entry.command != *command {
                sqlx::query("UPDATE formation SET command = $2 WHERE id = $1")
                    .bind(present.id.to_string())
                    .bind(command.as_str())
                    .execute(&mut **tx)
                    .await?;
            }
            continue;
        }
        let hint = slug.formation.get(process_type).filter(|_| first_deploy);
        let usual = u32::from(first_deploy && process_type.is_web());
        let quantity = hint.and_then(|hint| hint.quantity).unwrap_or(usual).min(MAX_QUANTITY);
        let size = hint.and_then(|hint| hint.size).unwrap_or_default();
        sqlx::query(
            "INSERT INTO formation (id, app_id, process_type, quantity, size, command, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(FormationId::new().to_string())
        .bind(app.to_string())
        .bind(process_type.as_str())
        .bind(i64::from(quantity))
        .bind(size.name())
        .bind(command.as_str())
        .bind(row::now())
        .bind(row::now())
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

pub(crate) async fn restarts(tx: &mut Tx, app: AppId) -> Result<Restarts> {
    let rows = sqlx::query("SELECT target, generation FROM restarts WHERE app_id = $1").bind(app.to_string()).fetch_all(&mut **tx).await?;
    let mut restarts = Restarts::default();
    for row in &rows {
        let target = row::text(row, "target")?;
        let generation = row::int(row, "generation")?.cast_unsigned();
        let bad = |_| StoreError::Decode { column: "target" };
        if target.is_empty() {
            restarts.app = generation;
        } else if target.contains('.') {
            restarts.dynos.insert(target.parse().map_err(bad)?, generation);
        } else {
            restarts.types.insert(target.parse().map_err(bad)?, generation);
        }
    }
    Ok(restarts)
}

impl Store {
    /// Every process type of the app, by name.
    pub async fn formation_list(&self, scope: &AppScope) -> Result<Vec<Formation>> {
        let mut tx = self.db().snapshot().await?;
        list(&mut tx, scope.app).await
    }

    /// Scales and resizes, all or nothing. Makes no release. Returns the changed entries, in the order asked.
    pub async fn formation_update(&self, scope: &AppScope, changes: &[FormationChange]) -> Result<Vec<Formation>> {
        let mut tx = self.db().write().await?;
        releases::lock(&mut tx, scope.app).await?;
        for change in changes {
            let present = list(&mut tx, scope.app).await?;
            let Some(old) = present.iter().find(|entry| entry.entry.process_type == change.process_type) else {
                return Err(no_such_type(&change.process_type, &present));
            };
            let quantity = quantity(&old.entry, change)?;
            let size: DynoSize = change.size.unwrap_or(old.entry.size);
            sqlx::query("UPDATE formation SET quantity = $2, size = $3, updated_at = $4 WHERE id = $1")
                .bind(old.id.to_string())
                .bind(quantity)
                .bind(size.name())
                .bind(row::now())
                .execute(&mut *tx)
                .await?;
        }
        let present = list(&mut tx, scope.app).await?;
        self.commit(tx, scope.app).await?;
        Ok(changes
            .iter()
            .filter_map(|change| present.iter().find(|entry| entry.entry.process_type == change.process_type).cloned())
            .collect())
    }

    /// Asks for dynos to start anew. Returns the generation they will have. An older request for the same target is replaced.
    pub async fn restart(&self, scope: &AppScope, target: &RestartTarget) -> Result<u64> {
        let text = match target {
            RestartTarget::App => String::new(),
            RestartTarget::Type(process_type) => process_type.to_string(),
            RestartTarget::Dyno(dyno) => dyno.to_string(),
        };
        let mut tx = self.db().write().await?;
        let row =
            sqlx::query("UPDATE apps SET last_restart = last_restart + 1 WHERE id = $1 AND destroyed_at IS NULL RETURNING last_restart")
                .bind(scope.app.to_string())
                .fetch_optional(&mut *tx)
                .await?
                .ok_or(StoreError::NotFound { what: "app" })?;
        let generation = row::int(&row, "last_restart")?;
        sqlx::query(
            "INSERT INTO restarts (app_id, target, generation) VALUES ($1, $2, $3) \
             ON CONFLICT (app_id, target) DO UPDATE SET generation = excluded.generation",
        )
        .bind(scope.app.to_string())
        .bind(text)
        .bind(generation)
        .execute(&mut *tx)
        .await?;
        self.commit(tx, scope.app).await?;
        Ok(generation.cast_unsigned())
    }
}

fn quantity(old: &FormationEntry, change: &FormationChange) -> Result<i64> {
    let wanted = match change.quantity {
        None => i64::from(old.quantity),
        Some(QuantityChange::To(quantity)) => i64::from(quantity),
        Some(QuantityChange::By(by)) => i64::from(old.quantity) + i64::from(by),
    };
    if (0..=i64::from(MAX_QUANTITY)).contains(&wanted) {
        return Ok(wanted);
    }
    Err(StoreError::QuantityOutOfRange { process_type: change.process_type.clone(), wanted, limit: MAX_QUANTITY })
}

fn no_such_type(process_type: &ProcessType, present: &[Formation]) -> StoreError {
    let known = if present.is_empty() {
        "none yet: nothing was deployed".to_owned()
    } else {
        present.iter().map(|entry| entry.entry.process_type.as_str()).collect::<Vec<_>>().join(", ")
    };
    StoreError::NoSuchProcessType { process_type: process_type.clone(), known }
}
