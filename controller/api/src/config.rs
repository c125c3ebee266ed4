//! What the API needs to be told.

use std::path::PathBuf;
use std::time::Duration;

use crate::http::sign::TicketKey;

/// Limits and addresses. [`ApiConfig::new`] has the defaults.
#[derive(Clone)]
pub struct ApiConfig {
    /// How clients reach this server, without a slash at the end (`http://127.0.0.1:5000`); start of every URL the API gives out.
    pub public_url: String,
    /// Seals URLs that carry their own permission. Kept in a file of its own, so that URLs survive a restart.
    pub ticket_key: TicketKey,
    /// Logs of all apps: `<logs_dir>/<app id>/`.
    pub logs_dir: PathBuf,
    /// Source tarballs between upload and build. Made when missing.
    pub uploads_dir: PathBuf,
    /// Largest source tarball in bytes. Default 1 GiB.
    pub max_upload_bytes: u64,
    /// API calls one token may make in an hour, all at once if it likes. Default 4,500, as on Heroku.
    pub requests_per_hour: u32,
    /// Wrong passwords for one account in a minute; one network has three times as many, for all accounts. Default 10: slow for guessing,
    /// enough for typing errors.
    pub logins_per_minute: u32,
    /// Log streams open at once, each a thread and some open files. Default 256.
    pub tails: usize,
    /// Of these, one account's. Default 32: a browser tab and a terminal for each of several apps.
    pub tails_per_account: usize,
    /// How often an open stream's right is asked for again. Default 30 s.
    pub recheck: Duration,
    /// How long a dashboard login lasts. Default 14 days.
    pub session_lifetime: Duration,
}

impl ApiConfig {
    /// The defaults.
    pub fn new(public_url: impl Into<String>, ticket_key: [u8; 32], logs_dir: impl Into<PathBuf>, uploads_dir: impl Into<PathBuf>) -> Self {
        Self {
            public_url: public_url.into().trim_end_matches('/').to_owned(),
            ticket_key: TicketKey::new(ticket_key),
            logs_dir: logs_dir.into(),
            uploads_dir: uploads_dir.into(),
            max_upload_bytes: 1024 * 1024 * 1024,
            requests_per_hour: 4_500,
            logins_per_minute: 10,
            tails: 256,
            tails_per_account: 32,
            recheck: Duration::from_secs(30),
            session_lifetime: Duration::from_hours(14 * 24),
        }
    }
}
