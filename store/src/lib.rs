//! Everything Landfall remembers, on SQLite or PostgreSQL, with the same SQL.
//!
//! Open a [`Store`] once and clone it freely. Methods are named resource first, then verb (`release_list`). Every method that touches an
//! app takes an [`AppScope`], which only [`Store::authorize`] (for a person) or [`SystemScope::app`] (for the platform) makes. A method
//! that changes an app returns after the commit and then tells [`Store::changes`].
//!
//! Not here: HTTP, processes, and decisions about what to do with what is remembered.

mod access;
mod apps;
mod builds;
mod claim;
mod config;
mod config_vars;
mod crashes;
mod db;
mod desired;
mod error;
mod first_deploys;
mod formation;
mod hosts;
mod migrate;
mod notes;
mod nouns;
mod password;
mod people;
mod prune;
mod releases;
mod row;
mod seal;
mod sharing;
mod ssh_key;
mod store;
#[cfg(feature = "testing")]
pub mod testing;

pub use access::{AppIdentity, AppScope, Grant, Principal, Role, SystemScope};
pub use claim::Claim;
pub use config::StoreConfig;
pub use error::{Result, StoreError};
pub use nouns::*;
pub use password::hash_password;
pub use store::Store;

/// Config keys and values of one app together may take this many bytes (Heroku's limit).
pub const MAX_CONFIG_BYTES: usize = 64 * 1024;
