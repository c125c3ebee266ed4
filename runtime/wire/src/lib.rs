//! What crosses the agent's socket and the shim's: typed requests and events, and how they are framed.
//!
//! The agent knows containers, images and networks. It knows no apps, owners or releases: callers mark containers with opaque labels.
//! No I/O but the framing, no tokio: the shim links this.

pub mod agent;
pub mod build;
pub mod container;
pub mod frame;
pub mod image;
pub mod shim;

pub use container::{
    ContainerEvent, ContainerId, ContainerInfo, ContainerSpec, ContainerState, ExecSpec, ExitStatus, FileMount, Limits, LogTarget, Stdio,
    TermSize, UserBlock,
};
