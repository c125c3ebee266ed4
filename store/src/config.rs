//! Where the database is and how it is used.

use std::path::PathBuf;
use std::time::Duration;

/// How to open the store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// `sqlite:/var/lib/landfall/landfall.db` or `postgres://user@host/database` (a socket directory goes in `?host=/dir`).
    pub url: String,
    /// The key config vars are sealed with. Made at the first start, mode 0600; losing it loses all config vars.
    pub key_file: PathBuf,
    /// Every app answers to `<app>.<platform_domain>`. Default `localhost`.
    pub platform_domain: String,
    /// The host name of API and dashboard, which no app may take. Default none; an address is none.
    pub api_host: Option<String>,
    /// Connections that read. Default 4: each is a thread on SQLite and a server process on PostgreSQL.
    pub readers: u32,
    /// Connections that write, on PostgreSQL; SQLite always has one. Default 6.
    pub writers: u32,
    /// How long a call may wait for a connection before it is `unavailable`. Default 15 s: 1,000 writers in a row take less.
    pub acquire_timeout: Duration,
}

impl StoreConfig {
    /// The defaults for a database and its key.
    pub fn new(url: impl Into<String>, key_file: impl Into<PathBuf>) -> Self {
        Self {
            url: url.into(),
            key_file: key_file.into(),
            platform_domain: "localhost".to_owned(),
            api_host: None,
            readers: 4,
            writers: 6,
            acquire_timeout: Duration::from_secs(15),
        }
    }
}
