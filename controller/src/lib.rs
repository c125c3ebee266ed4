//! The composition root: joins API, store, builder, deploy, runtime and router into one server.
//!
//! [`server::run`] starts everything; [`reconcile`] makes what is desired true; [`adapters`] are the builder's ports; [`platform`] is the API's;
//! [`housekeeping`] lets go of the past.
//! Business rules are not here: they are in `landfall_deploy`.

pub mod adapters;
pub mod app_log;
pub mod config;
mod descriptors;
mod door;
mod first_boot;
pub mod housekeeping;
pub mod platform;
pub mod reconcile;
pub mod server;
mod wait;

pub use config::ServerConfig;
pub use door::DoorLimits;
pub use landfall_deploy::Settings;
pub(crate) use landfall_model::chain as explain;
