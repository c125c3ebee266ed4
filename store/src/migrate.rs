//! Bringing a database to the schema this program knows, in one transaction, and refusing one that is newer.

use sha2::{Digest as _, Sha256};

use crate::db::{Backend, Db};
use crate::{Result, StoreError, row};

struct Migration {
    version: i64,
    /// The same on both databases.
    common: &'static str,
    /// What only triggers need: their syntax differs.
    sqlite: &'static str,
    postgres: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        common: include_str!("../migrations/0001_initial.sql"),
        sqlite: include_str!("../migrations/0001_immutable.sqlite.sql"),
        postgres: include_str!("../migrations/0001_immutable.postgres.sql"),
    },
    Migration {
        version: 2,
        common: include_str!("../migrations/0002_long_life.sql"),
        sqlite: include_str!("../migrations/0002_configs.sqlite.sql"),
        postgres: include_str!("../migrations/0002_configs.postgres.sql"),
    },
    Migration { version: 3, common: include_str!("../migrations/0003_first_deploys.sql"), sqlite: "", postgres: "" },
    Migration { version: 4, common: include_str!("../migrations/0004_addresses.sql"), sqlite: "", postgres: "" },
    Migration { version: 5, common: include_str!("../migrations/0005_build_numbers.sql"), sqlite: "", postgres: "" },
];

impl Migration {
    fn own(&self, backend: Backend) -> &'static str {
        match backend {
            Backend::Sqlite => self.sqlite,
            Backend::Postgres => self.postgres,
        }
    }

    fn checksum(&self, backend: Backend) -> String {
        hex::encode(Sha256::new().chain_update(self.common).chain_update(self.own(backend)).finalize())
    }
}

/// Applies what is missing. A crash in between leaves the database as it was.
pub(crate) async fn migrate(db: &Db) -> Result<()> {
    let mut tx = db.write().await?;
    if db.backend == Backend::Postgres {
        // Two servers starting at once: the second waits here and then finds nothing to do.
        sqlx::query("SELECT CAST(1 AS BIGINT) AS locked FROM (SELECT pg_advisory_xact_lock(7065172)) AS l").fetch_one(&mut *tx).await?;
    }
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS schema_migrations (version BIGINT PRIMARY KEY, checksum TEXT NOT NULL, applied_at BIGINT NOT NULL)",
    )
    .execute(&mut *tx)
    .await?;
    let applied = sqlx::query("SELECT version, checksum FROM schema_migrations ORDER BY version").fetch_all(&mut *tx).await?;
    let known = MIGRATIONS.last().map_or(0, |last| last.version);
    for done in &applied {
        let version = row::int(done, "version")?;
        let Some(migration) = MIGRATIONS.iter().find(|migration| migration.version == version) else {
            return Err(StoreError::Downgrade { found: version, known });
        };
        if migration.checksum(db.backend) != row::text(done, "checksum")? {
            return Err(StoreError::MigrationChanged { version });
        }
    }
    for migration in MIGRATIONS.iter().skip(applied.len()) {
        sqlx::raw_sql(migration.common).execute(&mut *tx).await?;
        if !migration.own(db.backend).is_empty() {
            sqlx::raw_sql(migration.own(db.backend)).execute(&mut *tx).await?;
        }
        sqlx::query("INSERT INTO schema_migrations (version, checksum, applied_at) VALUES ($1, $2, $3)")
            .bind(migration.version)
            .bind(migration.checksum(db.backend))
            .bind(row::now())
            .execute(&mut *tx)
            .await?;
        tracing::info!(migration.version, "database schema migrated");
    }
    Ok(tx.commit().await?)
}
