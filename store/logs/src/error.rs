//! What can go wrong with a log.

use std::path::PathBuf;

/// This crate's result.
pub type Result<T, E = LogError> = std::result::Result<T, E>;

/// A log file or directory could not be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}")]
pub struct LogError {
    /// `open`, `write`, `rotate`, `read`, `watch`.
    pub action: &'static str,
    /// Which file or directory.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: std::io::Error,
}

impl LogError {
    pub(crate) fn new(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self { action, path: path.into(), source }
    }
}
