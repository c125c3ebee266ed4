//! Git over SSH and smart HTTP. `git receive-pack` and `git upload-pack` speak the protocol; we decide who may start them, where, and for
//! how much.

pub mod access;
mod explain;
mod host_key;
pub mod http;
mod pkt;
mod places;
mod process;
mod receiver;
mod repos;
pub mod ssh;
mod tidy;

pub use access::{AccessError, Denied, GitAccess, GitService, Identity, RepoGrant, Unavailable};
pub use host_key::{HostKeyError, host_key};
pub use receiver::Receiver;
pub use tidy::tidy;
