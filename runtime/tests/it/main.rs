//! The real agent with real shims, each test an instance of its own. Needs root and busybox-static.

mod build;
mod harness;
mod life;
mod network;
mod stack;
