//! Releases: append-only, gapless, never changed once succeeded (design invariants 1 and 2).

/// 1, 2, 3, … within one app. Shown as `v3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ReleaseVersion(pub u32);

impl std::fmt::Display for ReleaseVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "v{}", self.0)
    }
}

/// Platform API `release.status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseStatus {
    /// Its release phase has not ended.
    Pending,
    /// It is, or was, what runs.
    Succeeded,
    /// Its release phase failed; it never ran anything else.
    Failed,
    /// Its build is gone; it can no longer be run.
    Expired,
}

impl ReleaseStatus {
    /// The word on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }

    /// The inverse of [`Self::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Pending, Self::Succeeded, Self::Failed, Self::Expired].into_iter().find(|status| status.as_str() == word)
    }

    /// Whether a release may move from `self` to `next`: only out of `pending`, and from `succeeded` to `expired`.
    pub fn can_become(self, next: Self) -> bool {
        matches!((self, next), (Self::Pending, Self::Succeeded | Self::Failed) | (Self::Succeeded, Self::Expired))
    }
}
