//! The real agent with real shims, each test an instance of its own. Needs root and busybox-static.

#![allow(clippy::unwrap_used, clippy::unused_self, clippy::trivially_copy_pass_by_ref, reason = "helpers of tests")]

mod build;
mod disk;
mod harness;
mod hostile;
mod life;
mod names;
mod network;
mod stack;
