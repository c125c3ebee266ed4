//! Host to dynos: an HTTP/1.1 proxy that passes each request to a dyno of the app its host belongs to.
//!
//! It is told what to serve over a Unix socket ([`control`]), remembers it on disk, and serves on when nobody tells it anything.
//! It knows no releases, builds or database. The data path takes no lock.
//!
//! A request's way: [`serve`] accepts a connection and reads a head ([`http1`]), [`routes`] finds the app and a dyno, bytes go both
//! ways, and [`access_log`] writes the line. TLS will be another `Transport`, HTTP/2 another reader of heads.

mod access_log;
mod budget;
mod code;
mod config;
pub mod control;
mod error;
mod http1;
mod pages;
mod persist;
mod resources;
mod router;
mod routes;
mod serve;

pub use config::{Limits, Listen, RouterConfig};
pub use error::RouterError;
pub use pages::PageError;
pub use router::{Router, run};
