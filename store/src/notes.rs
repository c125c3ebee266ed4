//! The audit log, and settings.

use crate::access::{Principal, SystemScope};
use crate::db::{self, Tx};
use crate::nouns::{AuditEntry, AuditEvent};
use crate::people::admin_only;
use crate::{Result, Store, row};

/// One entry, as part of what it tells of.
pub(crate) async fn append(tx: &mut Tx, event: &AuditEvent) -> Result<()> {
    let sequence = db::counter_next(tx, "audit").await?;
    sqlx::query("INSERT INTO audit (sequence, at, actor_id, action, app_id, detail, address) VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(sequence)
        .bind(row::now())
        .bind(event.actor.map(|actor| actor.to_string()))
        .bind(event.action.as_str())
        .bind(event.app.map(|app| app.to_string()))
        .bind(event.detail.as_str())
        .bind(event.address.clone())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

impl Store {
    /// Writes down who did what.
    pub async fn audit_append(&self, event: &AuditEvent) -> Result<()> {
        let mut tx = self.db().write().await?;
        append(&mut tx, event).await?;
        Ok(tx.commit().await?)
    }

    /// The newest entries, newest first. Administrators only.
    pub async fn audit_list(&self, admin: &Principal, max: u32) -> Result<Vec<AuditEntry>> {
        admin_only(admin)?;
        let rows = sqlx::query(
            "SELECT e.sequence, e.at, e.actor_id, e.action, e.app_id, e.detail, e.address, a.email, p.name FROM audit e \
             LEFT JOIN accounts a ON a.id = e.actor_id LEFT JOIN apps p ON p.id = e.app_id ORDER BY e.sequence DESC LIMIT $1",
        )
        .bind(i64::from(max))
        .fetch_all(self.db().reader())
        .await?;
        let entry = |row| {
            Ok(AuditEntry {
                sequence: row::int(row, "sequence")?,
                at: row::time(row, "at")?,
                event: AuditEvent {
                    actor: row::parsed_opt(row, "actor_id")?,
                    action: row::text(row, "action")?,
                    app: row::parsed_opt(row, "app_id")?,
                    detail: row::text(row, "detail")?,
                    address: row::text_opt(row, "address")?,
                },
                actor_email: row::text_opt(row, "email")?,
                app_name: row::text_opt(row, "name")?,
            })
        };
        rows.iter().map(entry).collect()
    }

    /// A setting of the whole platform.
    pub(crate) async fn setting_get(&self, _system: &SystemScope, name: &str) -> Result<Option<String>> {
        let row = sqlx::query("SELECT value FROM settings WHERE name = $1").bind(name).fetch_optional(self.db().reader()).await?;
        row.as_ref().map(|row| row::text(row, "value")).transpose()
    }

    /// Sets it.
    pub(crate) async fn setting_set(&self, _system: &SystemScope, name: &str, value: &str) -> Result<()> {
        let mut tx = self.db().write().await?;
        sqlx::query("INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
            .bind(name)
            .bind(value)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }
}
