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

/// A moment in the life of one boot of the machine.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BootTime {
    /// Which boot: the kernel's id for it.
    pub boot: String,
    /// Milliseconds since then.
    pub uptime_ms: u64,
}

/// One crash.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PastCrash {
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// The same by a clock that nobody sets, as far as it goes.
    #[serde(default)]
    pub at_uptime: Option<BootTime>,
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
