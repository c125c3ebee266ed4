//! How often which dyno crashed of late: what a restarted server needs to go on with the back-off.

use std::collections::BTreeMap;

use landfall_model::DynoName;

use crate::access::AppScope;
use crate::nouns::CrashRecord;
use crate::{Result, Store, row};

impl Store {
    /// The crash records of an app's dynos.
    pub async fn crashes(&self, scope: &AppScope) -> Result<BTreeMap<DynoName, CrashRecord>> {
        let rows = sqlx::query("SELECT dyno, record FROM crashes WHERE app_id = $1")
            .bind(scope.app.to_string())
            .fetch_all(self.db().reader())
            .await?;
        rows.iter().map(|row| Ok((row::parsed(row, "dyno")?, row::json(row, "record")?))).collect()
    }

    /// Replaces a dyno's crash record. Nobody is told: it changes nothing that is desired.
    pub async fn crashes_note(&self, scope: &AppScope, dyno: &DynoName, record: &CrashRecord) -> Result<()> {
        let mut tx = self.db().write().await?;
        sqlx::query(
            "INSERT INTO crashes (app_id, dyno, record) SELECT id, $2, $3 FROM apps WHERE id = $1 \
             ON CONFLICT (app_id, dyno) DO UPDATE SET record = excluded.record",
        )
        .bind(scope.app.to_string())
        .bind(dyno.to_string())
        .bind(row::to_json(record, "record")?)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }
}
