//! What should be true of one app: all that the reconcile loop needs, read in one transaction.

use jiff::Timestamp;
use landfall_model::{AppId, AppName, ConfigVars, FormationEntry, Hostname, Restarts};

use super::{FirstDeploy, Release, Slug};

/// A release with all it takes to run it.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredRelease {
    /// The release.
    pub release: Release,
    /// What it runs; `None` for the first releases of an app that was never built.
    pub slug: Option<Slug>,
    /// Its environment, decrypted.
    pub config: ConfigVars,
}

/// One app as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredApp {
    /// Its id.
    pub id: AppId,
    /// Its name.
    pub name: AppName,
    /// Which block of host ids is its own.
    pub user_block: u32,
    /// Base image.
    pub stack: String,
    /// Whether the router answers with the maintenance page.
    pub maintenance: bool,
    /// The person asked for it to be gone: stop and clean everything, then call [`crate::Store::app_purge`]. Hosts, formation, current
    /// and pending are then empty.
    pub destroyed_at: Option<Timestamp>,
    /// Every host name it answers to.
    pub hosts: Vec<Hostname>,
    /// What should run.
    pub current: Option<DesiredRelease>,
    /// The first release that was live; `None` = none was yet.
    pub first_deploy: Option<FirstDeploy>,
    /// How much of it.
    pub formation: Vec<FormationEntry>,
    /// Which dynos should start anew.
    pub restarts: Restarts,
    /// Releases waiting for their release phase, lowest version first.
    pub pending: Vec<DesiredRelease>,
}
