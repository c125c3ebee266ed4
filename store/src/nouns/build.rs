//! Builds and what they leave: slugs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use landfall_model::{AppId, BuildId, BuildStatus, DynoSize, ProcessType, ReleaseId, ReleaseVersion, SlugId};

use super::UserRef;

/// What is built.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BuildSource {
    /// Full commit hash, or the caller's version text for a source tarball.
    pub commit: Option<String>,
    /// First line of the commit's message.
    pub description: Option<String>,
    /// `commit` is what git says, not what a caller says.
    #[serde(default)]
    pub pushed: bool,
}

/// A build to be made.
#[derive(Clone, Debug)]
pub struct NewBuild {
    /// The id, when the caller has already used it (for a directory); `None` = a fresh one.
    pub id: Option<BuildId>,
    /// What is built.
    pub source: BuildSource,
    /// On which base image.
    pub stack: String,
    /// Who works on it. [`crate::Store::builds_interrupt`] fails the pending builds of workers that no longer live.
    pub worker: String,
}

/// One build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Its id.
    pub id: BuildId,
    /// Which build of its app it is, from 1 on. 0 = nobody counted yet.
    pub number: u32,
    /// Of which app.
    pub app: AppId,
    /// How far it is.
    pub status: BuildStatus,
    /// Who pushed.
    pub user: UserRef,
    /// What is built.
    pub source: BuildSource,
    /// On which base image.
    pub stack: String,
    /// What it made, once succeeded.
    pub slug: Option<SlugId>,
    /// Names of the buildpacks that took part, once succeeded.
    pub buildpacks: Vec<String>,
    /// The release it became.
    pub release: Option<(ReleaseId, ReleaseVersion)>,
    /// Why it failed.
    pub failure: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What app.json's `formation` asks for at the first deploy.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FormationHint {
    /// How many; `None` = the usual number.
    pub quantity: Option<u32>,
    /// Their size; `None` = the default.
    pub size: Option<DynoSize>,
}

/// What a successful build hands in.
#[derive(Clone, Debug)]
pub struct NewSlug {
    /// Image manifest digest, `sha256:<hex>`.
    pub image: String,
    /// Process types and their commands.
    pub process_types: BTreeMap<ProcessType, String>,
    /// Names of the buildpacks that took part.
    pub buildpacks: Vec<String>,
    /// Size of the image's own layers.
    pub size_bytes: u64,
    /// app.json's `formation`.
    pub formation: BTreeMap<ProcessType, FormationHint>,
    /// The rest of app.json that matters when running (`healthchecks`, `scripts`), as it stands there.
    pub app_json: serde_json::Value,
}

/// A runnable build result.
#[derive(Clone, Debug, PartialEq)]
pub struct Slug {
    /// Its id.
    pub id: SlugId,
    /// Of which app.
    pub app: AppId,
    /// Image manifest digest.
    pub image: String,
    /// Process types and their commands.
    pub process_types: BTreeMap<ProcessType, String>,
    /// Names of the buildpacks that took part.
    pub buildpacks: Vec<String>,
    /// What was built.
    pub source: BuildSource,
    /// On which base image.
    pub stack: String,
    /// Size of the image's own layers.
    pub size_bytes: u64,
    /// app.json's `formation`.
    pub formation: BTreeMap<ProcessType, FormationHint>,
    /// The rest of app.json that matters when running.
    pub app_json: serde_json::Value,
    /// When the build ended.
    pub created_at: Timestamp,
}

impl Slug {
    /// The command of the release phase, if there is one.
    pub fn release_command(&self) -> Option<&str> {
        self.process_types.get(&ProcessType::release()).map(String::as_str)
    }
}
