//! The harness of the whole-system tests: a real Landfall of its own (agent, router, server, bridge, ports, data), driven as a user
//! would: the `landfall` command, `git push`, HTTP.

pub mod app;
pub mod http;
pub mod instance;
pub mod postgres;
pub mod pty;
pub mod run;
pub mod stack;
pub mod volume;

pub use app::App;
pub use instance::{Instance, Options};
pub use pty::Pty;
pub use run::{Done, Run, eventually};
pub use volume::Volume;
