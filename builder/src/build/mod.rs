//! A build: source → `detect → restore → build` in a [`crate::sandbox::Sandbox`] → an image.

mod cache;
mod environment;
mod failure;
mod inputs;
mod log;
mod outcome;
mod plan;
mod request;
mod run;

pub use cache::{CACHE_FORMAT, CacheRecord, CachedLayer};
pub use failure::BuildFailure;
pub use request::{BuildOutcome, BuildRequest, Process, Source, Stack, UsedBuildpack};
pub use run::Builder;
