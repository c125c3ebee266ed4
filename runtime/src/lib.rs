//! The agent: images, containers, networks, builds and stacks; and the client other rooms talk to it with.
//!
//! It knows no apps' names, no HTTP and no database. [`client::Agent`] is all that the rest of Landfall sees of it.

pub mod agent;
pub mod client;
pub mod config;
mod disk;
pub mod doctor;
mod fault;
mod frames;
mod net;
mod overlay;
mod run;
mod stack;
mod store;
mod uptime;

pub use config::{AgentConfig, AgentLimits, Subnet};
pub use doctor::{Check, Verdict, doctor};
pub use fault::Result;
pub use landfall_runtime_wire as wire;
pub use run::run;
pub use uptime::uptime_ms;
