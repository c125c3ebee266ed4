//! Platform API v3 over HTTP, accounts, dashboard.

pub mod platform;
