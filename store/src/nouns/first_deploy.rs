//! An app's first deploy that came up.

use landfall_model::ReleaseVersion;

/// What is remembered of it, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstDeploy {
    /// The release that was the first to be live.
    pub version: ReleaseVersion,
    /// What became of its postdeploy script.
    pub postdeploy: Postdeploy,
}

/// The postdeploy script of app.json: begun at most once in an app's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Postdeploy {
    /// There was none.
    None,
    /// It may run.
    Begun,
    /// It ended with status 0.
    Succeeded,
    /// It ended otherwise.
    Failed {
        /// Exit code, or 128 + signal.
        status: i32,
    },
    /// It was cut off (the machine went down), and how far it had come nobody knows.
    Lost,
}

impl Postdeploy {
    /// The word in the store.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Begun => "begun",
            Self::Succeeded => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Lost => "lost",
        }
    }

    /// The inverse of [`Self::as_str`].
    pub(crate) fn parse(word: &str, status: Option<i64>) -> Option<Self> {
        let status = status.and_then(|status| i32::try_from(status).ok());
        Some(match word {
            "none" => Self::None,
            "begun" => Self::Begun,
            "succeeded" => Self::Succeeded,
            "failed" => Self::Failed { status: status? },
            "lost" => Self::Lost,
            _ => return None,
        })
    }
}
