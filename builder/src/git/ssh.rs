//! Git over SSH (trust rule G1): public keys only, no shell, no terminal, no forwarding, no compression; just two programs.

mod command;
mod serve;
mod session;

pub use serve::serve;
