//! The first deploy of an app that came up, and its postdeploy script: written down before the script is begun, so that it never runs twice.

use landfall_model::{AppId, ReleaseVersion};

use crate::access::AppScope;
use crate::db::Tx;
use crate::nouns::{FirstDeploy, Postdeploy};
use crate::{Result, Store, StoreError, row};

pub(crate) async fn find(tx: &mut Tx, app: AppId) -> Result<Option<FirstDeploy>> {
    let row = sqlx::query("SELECT version, postdeploy, exit_status FROM first_deploys WHERE app_id = $1")
        .bind(app.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let postdeploy = Postdeploy::parse(&row::text(&row, "postdeploy")?, row::int_opt(&row, "exit_status")?);
    Ok(Some(FirstDeploy {
        version: ReleaseVersion(row::small(&row, "version")?),
        postdeploy: postdeploy.ok_or(StoreError::Decode { column: "postdeploy" })?,
    }))
}

impl Store {
    /// The app's first deploy that came up; `None` = none did yet.
    pub async fn first_deploy(&self, scope: &AppScope) -> Result<Option<FirstDeploy>> {
        let mut tx = self.db().snapshot().await?;
        find(&mut tx, scope.app).await
    }

    /// Records that a release is the first to be live, and whether its postdeploy script is begun now. What was recorded before stays: `false`.
    pub async fn first_deploy_record(&self, scope: &AppScope, version: ReleaseVersion, begun: bool) -> Result<bool> {
        let postdeploy = if begun { Postdeploy::Begun } else { Postdeploy::None };
        let mut tx = self.db().write().await?;
        let inserted = sqlx::query(
            "INSERT INTO first_deploys (app_id, version, postdeploy, created_at, updated_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (app_id) DO NOTHING",
        )
        .bind(scope.app.to_string())
        .bind(i64::from(version.0))
        .bind(postdeploy.as_str())
        .bind(row::now())
        .bind(row::now())
        .execute(&mut *tx)
        .await?;
        self.commit(tx, scope.app).await?;
        Ok(inserted.rows_affected() == 1)
    }

    /// Records how a begun postdeploy script ended. Of one that has ended already nothing changes: `false`.
    pub async fn postdeploy_finish(&self, scope: &AppScope, end: Postdeploy) -> Result<bool> {
        let status = match end {
            Postdeploy::Failed { status } => Some(i64::from(status)),
            _ => None,
        };
        let mut tx = self.db().write().await?;
        let changed = sqlx::query(
            "UPDATE first_deploys SET postdeploy = $2, exit_status = $3, updated_at = $4 WHERE app_id = $1 AND postdeploy = 'begun'",
        )
        .bind(scope.app.to_string())
        .bind(end.as_str())
        .bind(status)
        .bind(row::now())
        .execute(&mut *tx)
        .await?;
        self.commit(tx, scope.app).await?;
        Ok(changed.rows_affected() == 1)
    }
}
