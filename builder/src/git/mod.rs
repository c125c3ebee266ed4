//! Git over SSH and smart HTTP. `git receive-pack` and `git upload-pack` speak the protocol; we decide who may start them, where, and for
//! how much.

pub mod access;

pub use access::{AccessError, Denied, GitAccess, GitService, Identity, RepoGrant, Unavailable};
