//! `plan` against a simulated world: named scenarios as snapshots, and properties under random faults.
#![allow(clippy::unwrap_used)]

mod properties;
mod scenarios;
mod world;
