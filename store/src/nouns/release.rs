//! Releases, and how to name or list them.

use std::str::FromStr;

use jiff::Timestamp;
use landfall_model::{AppId, BuildId, ConfigVars, ReleaseId, ReleaseStatus, ReleaseVersion, SlugId};
use uuid::Uuid;

use super::UserRef;

/// One release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its id.
    pub id: ReleaseId,
    /// Of which app.
    pub app: AppId,
    /// 1, 2, 3, …
    pub version: ReleaseVersion,
    /// How far it is.
    pub status: ReleaseStatus,
    /// `Deploy 1a2b3c4d`, `Set A, B config vars`, `Rollback to v2`, …
    pub description: String,
    /// Whose deed it is.
    pub user: UserRef,
    /// What runs; `None` = nothing was built yet.
    pub slug: Option<SlugId>,
    /// The build that made it, if one did.
    pub build: Option<BuildId>,
    /// Whether this is what runs: the highest succeeded version.
    pub current: bool,
    /// Names the output of its release phase; hard to guess. `None` = it has no release phase.
    pub output: Option<Uuid>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its status last changed.
    pub updated_at: Timestamp,
}

/// How a release phase ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseOutcome {
    /// It becomes current (unless a higher one already is).
    Succeeded,
    /// What runs, runs on.
    Failed,
}

/// How a person names a release: `v3`, `3`, `current` or its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseRef {
    /// By number.
    Version(ReleaseVersion),
    /// By id.
    Id(ReleaseId),
    /// The one that runs.
    Current,
}

/// Not a way to name a release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" does not name a release: give its version, as in v3")]
pub struct BadReleaseRef(pub String);

impl FromStr for ReleaseRef {
    type Err = BadReleaseRef;
    fn from_str(text: &str) -> Result<Self, BadReleaseRef> {
        if text == "current" {
            return Ok(Self::Current);
        }
        let digits = text.strip_prefix('v').unwrap_or(text);
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            return digits.parse().map(|version| Self::Version(ReleaseVersion(version))).map_err(|_| BadReleaseRef(shortened(text)));
        }
        text.parse().map(Self::Id).map_err(|_| BadReleaseRef(shortened(text)))
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_default).collect()
}

/// Which end of the list comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListOrder {
    /// Lowest version first (the Platform API's default).
    #[default]
    Ascending,
    /// Highest version first.
    Descending,
}

/// `Range: version ]10..; order=desc, max=20`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseRange {
    /// Lowest version wanted, inclusive.
    pub from: u32,
    /// Highest version wanted, inclusive.
    pub to: u32,
    /// Which end first.
    pub order: ListOrder,
    /// At most this many; 1 to 1,000.
    pub max: u32,
}

impl Default for ReleaseRange {
    fn default() -> Self {
        Self { from: 1, to: u32::MAX, order: ListOrder::Ascending, max: 200 }
    }
}

impl ReleaseRange {
    /// The newest `max` releases, newest first.
    pub fn newest(max: u32) -> Self {
        Self { order: ListOrder::Descending, max, ..Self::default() }
    }
}

/// What a config change came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigPatched {
    /// The new release; `None` = the change changed nothing.
    pub release: Option<Release>,
    /// All config vars after the change.
    pub config: ConfigVars,
}
