//! Exactly one server works on a database (trust rule Q3): whoever comes second is told who was first.
//!
//! On SQLite the claim is a lock on a file beside the database, on PostgreSQL an advisory lock of a session of its own. Both go with the
//! process that holds them, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::{AnyConnection, Connection as _};
use tokio::time::Instant;

use crate::{Result, Store, StoreError, row};

/// How long one waits for a predecessor that is just ending.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(250);
/// Between two looks whether the session still lives.
const LOOK: Duration = Duration::from_secs(5);
/// After this long without the lock, somebody else has it.
const LOST: Duration = Duration::from_secs(30);
const HOLDER: &str = "server";

/// What a claim is made on.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Beside the database file.
    File(PathBuf),
    /// In the database at this URL.
    Session(landfall_model::SecretString),
}

/// The right to work on the database alone, for as long as this lives.
pub struct Claim {
    held: Held,
    who: String,
    store: Store,
}

enum Held {
    File(#[expect(dead_code, reason = "the lock goes with it")] File),
    Session { url: landfall_model::SecretString, connection: AnyConnection },
}

impl Store {
    /// Claims the database. `who` tells a second server, in words, who holds it.
    ///
    /// # Errors
    /// `database_in_use` if somebody else keeps it for longer than a server takes to end.
    pub async fn claim(&self, who: &str) -> Result<Claim> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(held) = try_hold(self.place()).await? {
                self.setting_set(&self.system(), HOLDER, who).await?;
                return Ok(Claim { held, who: who.to_owned(), store: self.clone() });
            }
            if Instant::now() >= deadline {
                return Err(StoreError::InUse { by: self.holder().await });
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn holder(&self) -> String {
        let known = self.setting_get(&self.system(), HOLDER).await.ok().flatten();
        known.unwrap_or_else(|| "another process".to_owned())
    }
}

impl Claim {
    /// Returns when somebody else has the database, which can be only after its server was restarted or cut off from us. Until then the
    /// claim is made good again as often as the session breaks.
    pub async fn lost(&mut self) -> StoreError {
        let Held::Session { url, connection } = &mut self.held else { return std::future::pending().await };
        let mut last_held = Instant::now();
        loop {
            tokio::time::sleep(LOOK).await;
            if connection.ping().await.is_ok() {
                last_held = Instant::now();
                continue;
            }
            match session(url).await {
                Ok(Some(fresh)) => {
                    *connection = fresh;
                    last_held = Instant::now();
                    tracing::info!("the database was away; this server claimed it again");
                    let _ = self.store.setting_set(&self.store.system(), HOLDER, &self.who).await;
                }
                Ok(None) if last_held.elapsed() > LOST => return StoreError::InUse { by: self.store.holder().await },
                // Away, or our own dead session still has the lock.
                Ok(None) | Err(_) => {}
            }
        }
    }
}

async fn try_hold(place: &Place) -> Result<Option<Held>> {
    match place {
        Place::File(path) => {
            let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
            let file = opened.map_err(|error| StoreError::Unavailable(sqlx::Error::Io(error)))?;
            match file.try_lock() {
                Ok(()) => Ok(Some(Held::File(file))),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) => Err(StoreError::Unavailable(sqlx::Error::Io(error))),
            }
        }
        Place::Session(url) => Ok(session(url).await?.map(|connection| Held::Session { url: url.clone(), connection })),
    }
}

/// A session that holds the lock; `None` = another one does.
async fn session(url: &landfall_model::SecretString) -> Result<Option<AnyConnection>> {
    let mut connection = AnyConnection::connect(url.expose()).await?;
    let row = sqlx::query("SELECT CAST(CAST(pg_try_advisory_lock(7065173) AS INT) AS BIGINT) AS held").fetch_one(&mut connection).await?;
    Ok((row::int(&row, "held")? == 1).then_some(connection))
}
