//! The pools, transactions, and what the database's own errors mean.

use std::sync::Once;

use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::{Any, AnyPool, Connection as _, Executor as _, Transaction};

use crate::{Result, StoreConfig, StoreError};

pub(crate) type Tx = Transaction<'static, Any>;

/// Which database answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

/// Connections: SQLite has one that writes (so nobody ever meets a busy database), PostgreSQL a few.
#[derive(Debug)]
pub(crate) struct Db {
    pub(crate) backend: Backend,
    readers: AnyPool,
    writers: AnyPool,
}

const SQLITE_PRAGMAS: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;";
const POSTGRES_SETTINGS: &str = "SET lock_timeout = '15s'; SET idle_in_transaction_session_timeout = '60s';";

impl Db {
    pub(crate) async fn connect(backend: Backend, url: &str, config: &StoreConfig) -> Result<Self> {
        install_drivers();
        let setup = match backend {
            Backend::Sqlite => SQLITE_PRAGMAS,
            Backend::Postgres => POSTGRES_SETTINGS,
        };
        let pool = |connections: u32| {
            AnyPoolOptions::new()
                .max_connections(connections.max(1))
                .acquire_timeout(config.acquire_timeout)
                // SQLite ends a transaction by itself when the disk is full; sqlx goes on counting it and never begins another one.
                .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
                .after_connect(move |connection, _| Box::pin(async move { connection.execute(sqlx::raw_sql(setup)).await.map(drop) }))
        };
        let writers = match backend {
            Backend::Sqlite => 1,
            Backend::Postgres => config.writers,
        };
        let writers = pool(writers).connect(url).await.map_err(StoreError::from)?;
        let readers = pool(config.readers).connect_lazy(url).map_err(StoreError::from)?;
        Ok(Self { backend, readers, writers })
    }

    /// For single statements that only read.
    pub(crate) fn reader(&self) -> &AnyPool {
        &self.readers
    }

    /// A transaction that sees one moment of the database and changes nothing.
    pub(crate) async fn snapshot(&self) -> Result<Tx> {
        let begin = match self.backend {
            Backend::Sqlite => "BEGIN",
            Backend::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        Ok(self.readers.begin_with(begin).await?)
    }

    /// A transaction that writes. Dropped without commit, it never was.
    pub(crate) async fn write(&self) -> Result<Tx> {
        let begin = match self.backend {
            Backend::Sqlite => "BEGIN IMMEDIATE",
            Backend::Postgres => "BEGIN",
        };
        Ok(self.writers.begin_with(begin).await?)
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writers.close().await;
    }
}

/// Takes the next value of a counter. The row stays locked until the transaction ends, so holders of one counter run one by one.
pub(crate) async fn counter_next(tx: &mut Tx, name: &str) -> Result<i64> {
    let row: AnyRow =
        sqlx::query("UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value").bind(name).fetch_one(&mut **tx).await?;
    crate::row::int(&row, "value")
}

pub(crate) fn install_drivers() {
    static ONCE: Once = Once::new();
    ONCE.call_once(sqlx::any::install_default_drivers);
}

/// Gives a broken unique rule its domain name.
pub(crate) fn unique_or<T>(result: Result<T, sqlx::Error>, taken: impl FnOnce() -> StoreError) -> Result<T> {
    result.map_err(|error| match &error {
        sqlx::Error::Database(database) if database.is_unique_violation() => taken(),
        _ => error.into(),
    })
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(source) if source.kind() == std::io::ErrorKind::StorageFull => Self::DiskFull(error),
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                Self::Unavailable(error)
            }
            sqlx::Error::Database(database) => match meaning(&database.code().unwrap_or_default()) {
                Meaning::DiskFull => Self::DiskFull(error),
                Meaning::Unavailable => Self::Unavailable(error),
                Meaning::SyncFailed => {
                    // What was reported as stored may not be: only a fresh start, which reads the file again, knows (trust rule Q6).
                    tracing::error!(error = %error, "fsync of the database failed; stopping");
                    std::process::abort();
                }
                Meaning::Other => Self::Database(error),
            },
            _ => Self::Database(error),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    DiskFull,
    Unavailable,
    SyncFailed,
    Other,
}

/// SQLSTATE (five characters; PostgreSQL, appendix A) or SQLite's extended result code (<https://sqlite.org/rescode.html>).
fn meaning(code: &str) -> Meaning {
    if code.len() == 5 {
        return match code {
            "53100" | "25006" => Meaning::DiskFull,
            "53300" | "40001" | "40P01" | "55P03" | "25P03" | "53200" => Meaning::Unavailable,
            _ if code.starts_with("08") || code.starts_with("57P") => Meaning::Unavailable,
            _ => Meaning::Other,
        };
    }
    const IOERR_FSYNC: i64 = 1034;
    const IOERR_DIR_FSYNC: i64 = 1290;
    const IOERR_WRITE: i64 = 778;
    const IOERR_TRUNCATE: i64 = 1546;
    const IOERR_SHMSIZE: i64 = 4874;
    match code.parse::<i64>() {
        Ok(IOERR_FSYNC | IOERR_DIR_FSYNC) => Meaning::SyncFailed,
        Ok(IOERR_WRITE | IOERR_TRUNCATE | IOERR_SHMSIZE) => Meaning::DiskFull,
        Ok(code) => match code & 0xff {
            8 | 13 => Meaning::DiskFull,
            5 | 6 | 14 => Meaning::Unavailable,
            _ => Meaning::Other,
        },
        Err(_) => Meaning::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What SQLite does in the middle of a change when it finds no room.
    #[tokio::test]
    async fn a_transaction_that_the_database_ended_by_itself_is_not_the_last_one() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", dir.path().join("test.db").display());
        install_drivers();
        let db = Db::connect(Backend::Sqlite, &url, &StoreConfig::new(&*url, dir.path().join("key"))).await.unwrap();
        let mut tx = db.write().await.unwrap();
        tx.execute("CREATE TABLE lost (a INTEGER)").await.unwrap();
        tx.execute("ROLLBACK").await.unwrap();
        drop(tx);
        let mut tx = db.write().await.unwrap();
        tx.execute("CREATE TABLE kept (a INTEGER)").await.unwrap();
        tx.commit().await.unwrap();
        let tables = sqlx::query("SELECT name FROM sqlite_master").fetch_all(db.reader()).await.unwrap();
        assert_eq!(tables.len(), 1);
    }

    #[test]
    fn database_codes_have_a_meaning() {
        for (code, expected) in [
            ("53100", Meaning::DiskFull),
            ("13", Meaning::DiskFull),
            ("8", Meaning::DiskFull),
            ("57P01", Meaning::Unavailable),
            ("08006", Meaning::Unavailable),
            ("517", Meaning::Unavailable),
            ("1034", Meaning::SyncFailed),
            ("23505", Meaning::Other),
            ("2067", Meaning::Other),
            ("", Meaning::Other),
        ] {
            assert_eq!(meaning(code), expected, "{code}");
        }
    }
}
