//! The router as a whole, against real dynos on loopback.

#![allow(clippy::unwrap_used, clippy::unused_async, clippy::format_collect)] // helpers of tests are tests

mod codes;
mod connections;
mod control;
mod harness;
mod limits;
mod logs;
mod memory;
mod process;
mod smuggling;
mod streams;
mod uploads;
