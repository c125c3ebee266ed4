//! The API over real TCP, on a real SQLite store in a temporary directory. Only what needs running containers is a double.
#![allow(clippy::unwrap_used)]

mod browser;
mod dashboard;
mod doors;
mod live;
mod resources;
mod schema;
mod streams;
mod support;
mod trust;
