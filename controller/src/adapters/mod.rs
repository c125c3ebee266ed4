//! The builder's ports over the rest of the system: where builds run, who may push, and what a push does.

mod build_job;
mod cache_file;
mod git_access;
mod job_lines;
mod places;
mod push;
mod rollout;
mod sandbox;

pub use build_job::{Builds, Job};
pub(crate) use cache_file::layers_in_use;
pub use git_access::StoreGitAccess;
pub use places::{MOST_WAITING, Place};
pub use push::Deploys;
pub use sandbox::AgentSandbox;
