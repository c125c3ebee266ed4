//! The router as a whole, against real dynos on loopback.

mod codes;
mod connections;
mod control;
mod harness;
mod smuggling;
mod streams;
