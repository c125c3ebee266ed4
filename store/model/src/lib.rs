//! Domain nouns of Landfall, in Heroku's Platform API words.
//!
//! No I/O, no async, no sqlx, no axum: every room may depend on this package and it depends on none. A name is parsed once, at the
//! edge, into one of the types here; inner code never takes a bare `String` for it (trust rule R2).

mod address;
mod build;
mod chain;
mod config_vars;
mod dyno;
mod formation;
mod ids;
mod names;
mod release;
mod size;

pub use address::network_of;
pub use build::BuildStatus;
pub use chain::chain;
pub use config_vars::{ConfigVars, SecretString};
pub use dyno::DynoState;
pub use formation::{FormationEntry, MAX_QUANTITY, Restarts};
pub use ids::{AccountId, AppId, AuthorizationId, BuildId, CollaboratorId, DomainId, DynoId, FormationId, KeyId, ReleaseId, SlugId};
pub use names::{AppName, ConfigKey, DynoName, Hostname, NameError, ProcessType};
pub use release::{ReleaseStatus, ReleaseVersion};
pub use size::{DynoSize, UnknownSize};
