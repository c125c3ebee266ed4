//! Crashes, as they are remembered over a restart of the server.

use landfall_model::{DynoSize, ReleaseVersion};

/// What is remembered of a dyno that crashed.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CrashRecord {
    /// The container whose end was the last to be reported; `None` = none was.
    pub reported: Option<String>,
    /// The container that last passed the health checks that guard its first request; `None` = none did, or there are none.
    #[serde(default)]
    pub passed: Option<String>,
    /// Crashes, oldest first.
    pub crashes: Vec<PastCrash>,
}

/// One crash.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PastCrash {
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// Of which release.
    pub release: ReleaseVersion,
    /// Its fingerprint.
    pub fingerprint: String,
    /// Its generation.
    pub generation: u64,
    /// Its size.
    pub size: DynoSize,
    /// How long it had been up; `None` = it never was.
    pub up_for_ms: Option<u64>,
}
