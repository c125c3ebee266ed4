//! What the store gives back: plain values with public fields, no database types in them.

mod app;
mod build;
mod crash;
mod desired;
mod first_deploy;
mod formation;
mod person;
mod release;

pub use app::{App, AuditEntry, AuditEvent, Domain, DomainKind, NewApp};
pub use build::{Build, BuildSource, FormationHint, NewBuild, NewSlug, Slug};
pub use crash::{BootTime, CrashRecord, PastCrash};
pub use desired::{DesiredApp, DesiredRelease};
pub use first_deploy::{FirstDeploy, Postdeploy};
pub use formation::{Formation, FormationChange, QuantityChange, RestartTarget};
pub use person::{Account, Authorization, Collaborator, NewAccount, NewAuthorization, SshKey, UserRef};
pub use release::{BadReleaseRef, ConfigPatched, ListOrder, Release, ReleaseOutcome, ReleaseRange, ReleaseRef};
