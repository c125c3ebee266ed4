//! Git receiver and builds: a pushed commit becomes an image.
//!
//! [`git`] takes pushes over SSH and HTTP; [`hook`] hands each to a [`push::PushHandler`] while the pusher waits; [`source`] and [`tarball`]
//! make a directory of what was sent; [`build`] turns that into an image inside a [`sandbox::Sandbox`].
//!
//! It knows no releases, routes or database: the controller joins it to them through the traits [`git::GitAccess`], [`push::PushHandler`]
//! and [`sandbox::Sandbox`].

pub mod app_json;
pub mod build;
pub mod config;
pub mod git;
pub mod hook;
pub mod push;
pub mod sandbox;
pub mod source;
pub mod tarball;
pub mod turns;

pub use build::{BuildFailure, BuildOutcome, BuildRequest, Builder};
pub use config::{BuildConfig, GitConfig};
