//! Real `git` and `ssh` clients against the real servers, with a control plane that does what each test tells it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod harness;
mod http;
mod limits;
mod pushes;
mod ssh;
