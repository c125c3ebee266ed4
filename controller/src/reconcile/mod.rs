//! Makes what is desired true: one level-triggered loop per app.
//!
//! A loop reads what the store wants and what agent and router say, asks `landfall_deploy::plan`, performs the steps, and does it again when
//! anything changes or a few seconds have passed. Nothing is remembered that cannot be read again, save comforts: what the
//! log already says, who is attached. So a server that was killed at any step goes on from what it finds.

mod announce;
mod app_loop;
mod cache;
mod clock;
mod crashes;
mod desired;
mod first_live;
mod health;
mod labels;
mod memory;
mod perform;
mod purge;
mod release_phase;
mod routes;
mod shared;
mod spec;
mod status;
mod supervisor;

pub use cache::Cache;
pub(crate) use desired::{kept_app_json, postdeploy_command};
pub(crate) use first_live::{dyno_name as postdeploy_dyno, quoted, told as postdeploy_told};
pub(crate) use labels::{INSTANCE, Kind, Labels, build_container};
pub(crate) use perform::dyno_container;
pub(crate) use release_phase::output_dir;
pub use shared::{AppHandle, Shared};
pub(crate) use spec::{Launch, container_spec};
pub use status::{AppStatus, DynoStatus, Failure};
pub use supervisor::Supervisor;
