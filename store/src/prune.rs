//! Letting go of the past: releases that expire, config vars nobody can go back to, rows of failed builds.

use std::time::Duration;

use landfall_model::{BuildId, ReleaseId, ReleaseVersion, SlugId};

use crate::access::{AppScope, SystemScope};
use crate::{Result, Store, releases, row};

/// The moment so long ago.
fn before(age: Duration) -> i64 {
    row::now().saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX))
}

impl Store {
    /// Every app there is, destroyed ones that are not purged yet included.
    pub async fn app_ids(&self, _system: &SystemScope) -> Result<Vec<landfall_model::AppId>> {
        let rows = sqlx::query("SELECT id FROM apps ORDER BY id").fetch_all(self.db().reader()).await?;
        rows.iter().map(|row| row::parsed(row, "id")).collect()
    }

    /// The releases of an app that succeeded and have not expired, lowest version first, with what they run.
    pub async fn releases_standing(&self, scope: &AppScope) -> Result<Vec<(ReleaseVersion, Option<SlugId>)>> {
        let rows = sqlx::query("SELECT version, slug_id FROM releases WHERE app_id = $1 AND status = 'succeeded' ORDER BY version")
            .bind(scope.app.to_string())
            .fetch_all(self.db().reader())
            .await?;
        rows.iter().map(|row| Ok((ReleaseVersion(row::small(row, "version")?), row::parsed_opt(row, "slug_id")?))).collect()
    }

    /// Expires releases and forgets the config vars that no release needs any more. The current release stays, whatever is asked, and so
    /// do the config vars of failed releases that are newer than the oldest one that stands. Nobody is told: what runs is not touched.
    /// How many expired.
    pub async fn releases_expire(&self, scope: &AppScope, versions: &[ReleaseVersion]) -> Result<u64> {
        let app = scope.app.to_string();
        let mut tx = self.db().write().await?;
        // Nobody makes a release of this app meanwhile: a rollback to one of these either came before (and shares its image) or is refused.
        releases::hold(&mut tx, scope.app).await?;
        let mut expired = 0;
        for version in versions {
            let done = sqlx::query(
                "UPDATE releases SET status = 'expired', updated_at = $3 WHERE app_id = $1 AND version = $2 AND status = 'succeeded' \
                 AND version < (SELECT MAX(c.version) FROM releases c WHERE c.app_id = $4 AND c.status = 'succeeded')",
            )
            .bind(app.as_str())
            .bind(i64::from(version.0))
            .bind(row::now())
            .bind(app.as_str())
            .execute(&mut *tx)
            .await?;
            expired += done.rows_affected();
        }
        sqlx::query(
            "UPDATE configs SET sealed = '' WHERE app_id = $1 AND sealed <> '' AND NOT EXISTS (SELECT 1 FROM releases r WHERE \
             r.config_id = configs.id AND (r.status IN ('pending', 'succeeded') OR r.version > (SELECT MIN(s.version) FROM releases s \
             WHERE s.app_id = $2 AND s.status IN ('pending', 'succeeded'))))",
        )
        .bind(app.as_str())
        .bind(app.as_str())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(expired)
    }

    /// The releases whose release phase's output is kept: the newest `keep` of an app, and every pending one.
    pub async fn outputs_kept(&self, scope: &AppScope, keep: u32) -> Result<Vec<ReleaseId>> {
        let rows = sqlx::query(
            "SELECT id FROM releases WHERE app_id = $1 AND output_id IS NOT NULL AND (status = 'pending' OR version IN (SELECT r.version \
             FROM releases r WHERE r.app_id = $2 AND r.output_id IS NOT NULL ORDER BY r.version DESC LIMIT $3))",
        )
        .bind(scope.app.to_string())
        .bind(scope.app.to_string())
        .bind(i64::from(keep.max(1)))
        .fetch_all(self.db().reader())
        .await?;
        rows.iter().map(|row| row::parsed(row, "id")).collect()
    }

    /// Forgets an app's failed builds but for those among its newest `keep`. Returns the builds whose logs are kept: the newest `keep`, and
    /// every pending one. A build that succeeded is part of its release's history and stays.
    pub async fn builds_prune(&self, scope: &AppScope, keep: u32) -> Result<Vec<BuildId>> {
        let app = scope.app.to_string();
        let mut tx = self.db().write().await?;
        let rows = sqlx::query(
            "SELECT id FROM builds WHERE app_id = $1 AND (status = 'pending' OR id IN (SELECT b.id FROM builds b WHERE b.app_id = $2 \
             ORDER BY b.number DESC, b.created_at DESC, b.id DESC LIMIT $3)) ORDER BY number, created_at, id",
        )
        .bind(app.as_str())
        .bind(app.as_str())
        .bind(i64::from(keep.max(1)))
        .fetch_all(&mut *tx)
        .await?;
        let kept: Vec<BuildId> = rows.iter().map(|row| row::parsed(row, "id")).collect::<Result<_>>()?;
        sqlx::query(
            "DELETE FROM builds WHERE app_id = $1 AND status = 'failed' AND id NOT IN (SELECT b.id FROM builds b WHERE b.app_id = $2 \
             ORDER BY b.number DESC, b.created_at DESC, b.id DESC LIMIT $3) AND NOT EXISTS (SELECT 1 FROM releases r WHERE r.build_id = builds.id)",
        )
        .bind(app.as_str())
        .bind(app.as_str())
        .bind(i64::from(keep.max(1)))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(kept)
    }

    /// Forgets audit entries older than `age`. How many went.
    pub async fn audit_prune(&self, _system: &SystemScope, age: Duration) -> Result<u64> {
        let mut tx = self.db().write().await?;
        let gone = sqlx::query("DELETE FROM audit WHERE at < $1").bind(before(age)).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(gone.rows_affected())
    }

    /// Forgets tokens that stopped working longer than `age` ago. How many went.
    pub async fn authorizations_prune(&self, _system: &SystemScope, age: Duration) -> Result<u64> {
        let mut tx = self.db().write().await?;
        let gone = sqlx::query("DELETE FROM authorizations WHERE expires_at < $1").bind(before(age)).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(gone.rows_affected())
    }
}
