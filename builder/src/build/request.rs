//! What a build is asked for and what comes of it.

use std::path::PathBuf;

use landfall_model::{AppId, BuildId, ConfigVars, ProcessType};

use super::cache::CacheRecord;
use crate::app_json::AppJson;
use crate::push::PushedObjects;

/// Where the source comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A commit of a repository, pushed or stored.
    Commit {
        /// Where its objects are.
        objects: PushedObjects,
        /// Its full hash.
        commit: String,
    },
    /// A `.tar.gz` on this machine (`POST /apps/{app}/builds` with a source blob).
    Tarball {
        /// The file.
        path: PathBuf,
        /// What its sender calls it.
        version: Option<String>,
    },
}

impl Source {
    /// The commit hash or the sender's version.
    pub fn version(&self) -> Option<&str> {
        match self {
            Self::Commit { commit, .. } => Some(commit),
            Self::Tarball { version, .. } => version.as_deref(),
        }
    }
}

/// The base images of one stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// `landfall-13`.
    pub name: String,
    /// Digest of the image builds run in.
    pub build_image: String,
    /// Digest of the image apps run in.
    pub run_image: String,
    /// For buildpack targets: `debian`.
    pub distro_name: String,
    /// For buildpack targets: `13`.
    pub distro_version: String,
}

/// One build.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// Its id.
    pub build: BuildId,
    /// Whose.
    pub app: AppId,
    /// The app's name, for messages.
    pub app_name: String,
    /// The app's block of user ids.
    pub user_block: u32,
    /// What to build.
    pub source: Source,
    /// On what.
    pub stack: Stack,
    /// The app's config: buildpacks see it as files and environment; it never enters a layer, argv or the log.
    pub config: ConfigVars,
    /// What the app's last good build left. `None` = build from nothing (first build, or cache cleared).
    pub cache: Option<CacheRecord>,
}

/// One process of the image.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Process {
    /// `web`, `worker`, …
    pub process_type: ProcessType,
    /// The command as shown to people: the Procfile line.
    pub command: String,
}

/// A buildpack that took part.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UsedBuildpack {
    /// `landfall/python`.
    pub id: String,
    /// Its version.
    pub version: String,
}

/// A build that worked.
#[derive(Clone, Debug)]
pub struct BuildOutcome {
    /// Manifest digest.
    pub image: String,
    /// The stack it stands on.
    pub stack: String,
    /// Processes, sorted by type; each starts as `/cnb/process/<type>`.
    pub processes: Vec<Process>,
    /// Who built it, in order.
    pub buildpacks: Vec<UsedBuildpack>,
    /// Size of the whole image in bytes.
    pub size_bytes: u64,
    /// Give it to the app's next build. Keep the old one if the build failed.
    pub cache: CacheRecord,
    /// What the app.json wishes, if there is one.
    pub app_json: Option<AppJson>,
    /// The commit hash or the sender's version.
    pub version: Option<String>,
}
