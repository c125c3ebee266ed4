//! Everything Landfall remembers, on SQLite or PostgreSQL, with the same SQL.
//!
//! Open a [`Store`] once and clone it freely. Methods are named resource first, then verb (`release_list`). Every method that touches an
//! app takes an [`AppScope`], which only [`Store::authorize`] (for a person) or [`SystemScope::app`] (for the platform) makes. A method
//! that changes an app returns after the commit and then tells [`Store::changes`].
//!
//! Not here: HTTP, processes, and decisions about what to do with what is remembered.

mod access;
mod api;
mod config;
mod error;
mod nouns;

pub use access::{AppIdentity, AppScope, Principal, Role, SystemScope};
pub use config::StoreConfig;
pub use error::{Result, StoreError};
pub use nouns::*;

/// Config keys and values of one app together may take this many bytes (Heroku's limit).
pub const MAX_CONFIG_BYTES: usize = 64 * 1024;

/// The store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {}

/// Turns a password into a PHC string for [`NewAccount::password_hash`].
pub fn hash_password(_password: &str) -> String {
    todo!()
}
