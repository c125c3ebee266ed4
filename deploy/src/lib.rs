//! What must run next: `plan(desired, observed, now) -> Plan`, a pure function.
//!
//! The store says what an app should look like ([`Desired`]), the agent and the router say what it looks like ([`Observed`]), and [`plan`]
//! says which steps bring the second nearer to the first. Nothing here touches a socket, a clock or a database: time comes in as a value
//! (a `Duration` since an arbitrary monotonic start), randomness comes in as a seed. Whoever performs the steps observes again afterwards
//! and asks again; a lost, doubled or failed step costs one round and nothing else.
//!
//! Not here: how a step is done (the controller), what a release consists of (the store), where a container runs (the runtime).

mod advice;
mod backoff;
mod boot;
mod desired;
mod ended;
mod health;
mod keep;
mod lines;
mod live;
mod observed;
mod plan;
mod postdeploy;
mod release_phase;
mod script;
mod start;
mod step;
mod web;
mod workers;

pub use backoff::{remember_crash, restart_delay};
pub use desired::{Desired, FirstDeploy, HealthCheck, Probe, Settings, Target, TypeSpec};
pub use keep::{Keep, Standing, expiring};
pub use live::is_live;
pub use observed::{
    Container, ContainerKey, ContainerKind, Crash, Drain, Health, Observed, ProbeId, Probed, RouteMode, RouterView, Routes, State, Told,
};
pub use plan::plan;
pub use step::{Plan, PostdeployEnd, ProbeKind, Step, StopReason};
