//! Opening the store, and telling others that an app changed.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use landfall_failpoint::failpoint;
use landfall_model::{AppId, SecretString};
use sqlx::{Connection as _, Row as _};
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::access::SystemScope;
use crate::claim::Place;
use crate::db::{Backend, Db, install_drivers};
use crate::hosts::Reserved;
use crate::seal::Sealer;
use crate::{Result, StoreConfig, StoreError, migrate, row};

/// Changes a slow listener may be behind before it is told that it lagged (and should look at every app).
const CHANGES_KEPT: usize = 1024;
const INSTANCE: &str = "instance";
const KEY_CHECK: &str = "config_key_check";

/// Everything remembered. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    db: Db,
    sealer: Sealer,
    place: Place,
    instance: Uuid,
    platform_domain: String,
    reserved: Reserved,
    changes: broadcast::Sender<AppId>,
}

impl Store {
    /// Opens the database: checks it (SQLite), brings it to the current schema, and reads or makes the key.
    ///
    /// # Errors
    /// `database_corrupt`, `database_too_new`, `key_file`, `unsealable` (not this database's key), `bad_database_url`, `unavailable`.
    /// In all these cases the database was not changed.
    pub async fn open(config: StoreConfig) -> Result<Self> {
        install_drivers();
        let (backend, url, place) = if config.url.starts_with("postgres://") || config.url.starts_with("postgresql://") {
            (Backend::Postgres, config.url.clone(), Place::Session(SecretString::new(config.url.clone())))
        } else if let Some(path) = config.url.strip_prefix("sqlite:") {
            let path = Path::new(path.strip_prefix("//").unwrap_or(path));
            (Backend::Sqlite, sqlite_prepare(path).await?, Place::File(format!("{}.lock", path.display()).into()))
        } else {
            let given = config.url.split('@').next_back().unwrap_or_default().chars().take(60).collect();
            return Err(StoreError::BadUrl { given });
        };
        let db = Db::connect(backend, &url, &config).await?;
        migrate::migrate(&db).await?;
        let sealer = sealer(&db, &config).await?;
        let instance = instance(&db).await?;
        let (changes, _) = broadcast::channel(CHANGES_KEPT);
        let reserved = Reserved::new(&config.platform_domain, config.api_host.as_deref());
        Ok(Self { inner: Arc::new(Inner { db, sealer, place, instance, platform_domain: config.platform_domain, reserved, changes }) })
    }

    /// Waits for running queries and closes all connections.
    pub async fn close(&self) {
        self.inner.db.close().await;
    }

    /// This database and no other: made with it, and part of every copy of it.
    pub fn instance(&self) -> Uuid {
        self.inner.instance
    }

    pub(crate) fn place(&self) -> &Place {
        &self.inner.place
    }

    /// Ids of apps that changed, told after the commit. A listener that gets `Lagged` must look at every app. This is a wake-up, not a
    /// record: after a start, look at every one of [`Store::app_ids`].
    pub fn changes(&self) -> broadcast::Receiver<AppId> {
        self.inner.changes.subscribe()
    }

    /// The domain every app has a name under.
    pub fn platform_domain(&self) -> &str {
        &self.inner.platform_domain
    }

    /// The platform's own right to everything. Only the composition root calls this.
    pub fn system(&self) -> SystemScope {
        SystemScope { _private: () }
    }

    pub(crate) fn reserved(&self) -> &Reserved {
        &self.inner.reserved
    }

    pub(crate) fn db(&self) -> &Db {
        &self.inner.db
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.inner.sealer
    }

    /// Commits, then tells the listeners.
    pub(crate) async fn commit(&self, tx: crate::db::Tx, app: AppId) -> Result<()> {
        failpoint("server.change.before-commit");
        tx.commit().await?;
        failpoint("server.change.committed");
        // Nobody listening is no error.
        let _ = self.inner.changes.send(app);
        Ok(())
    }
}

/// Reads the key and makes sure that it is the one this database was sealed with.
async fn sealer(db: &Db, config: &StoreConfig) -> Result<Sealer> {
    let mut tx = db.write().await?;
    let known = sqlx::query("SELECT value FROM settings WHERE name = $1").bind(KEY_CHECK).fetch_optional(&mut *tx).await?;
    let sealer = Sealer::open(&config.key_file, known.is_none())?;
    match known {
        Some(known) => drop(sealer.unseal(KEY_CHECK, &row::text(&known, "value")?)?),
        None => {
            sqlx::query("INSERT INTO settings (name, value) VALUES ($1, $2)")
                .bind(KEY_CHECK)
                .bind(sealer.seal(KEY_CHECK, b"landfall")?)
                .execute(&mut *tx)
                .await?;
        }
    }
    tx.commit().await?;
    Ok(sealer)
}

/// Reads the database's own id, or gives it one.
async fn instance(db: &Db) -> Result<Uuid> {
    let mut tx = db.write().await?;
    sqlx::query("INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
        .bind(INSTANCE)
        .bind(Uuid::new_v4().to_string())
        .execute(&mut *tx)
        .await?;
    let known = sqlx::query("SELECT value FROM settings WHERE name = $1").bind(INSTANCE).fetch_one(&mut *tx).await?;
    tx.commit().await?;
    row::parsed(&known, "value")
}

/// Makes the file if it is missing (0600), checks it without writing to it if it is there. Returns the URL to open it with.
async fn sqlite_prepare(path: &Path) -> Result<String> {
    let unavailable = |error| StoreError::Unavailable(sqlx::Error::Io(error));
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(unavailable)?;
    }
    let escaped = path.display().to_string().replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    let is_new = std::fs::metadata(path).map_or(true, |file| file.len() == 0);
    if is_new {
        OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(unavailable)?;
    } else {
        sqlite_check(path, &format!("sqlite://{escaped}?mode=ro")).await?;
    }
    Ok(format!("sqlite://{escaped}?mode=rw"))
}

async fn sqlite_check(path: &Path, url: &str) -> Result<()> {
    let corrupt = |finding: String| StoreError::Corrupt { path: path.display().to_string(), finding };
    let finding = async {
        let mut connection = sqlx::AnyConnection::connect(url).await?;
        let row = sqlx::query("PRAGMA integrity_check(1)").fetch_one(&mut connection).await?;
        let finding: String = row.try_get(0)?;
        connection.close().await?;
        Ok::<_, sqlx::Error>(finding)
    };
    match finding.await {
        Ok(finding) if finding == "ok" => Ok(()),
        Ok(finding) => Err(corrupt(finding)),
        Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| is_corrupt(&code)) => Err(corrupt(error.message().to_owned())),
        Err(error) => Err(error.into()),
    }
}

/// `SQLITE_CORRUPT` and `SQLITE_NOTADB`.
fn is_corrupt(code: &str) -> bool {
    code.parse::<i64>().is_ok_and(|code| matches!(code & 0xff, 11 | 26))
}
