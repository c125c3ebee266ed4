//! The handlers, one file for each resource of the Platform API.

pub(crate) mod account;
pub(crate) mod apps;
pub(crate) mod audit;
pub(crate) mod builds;
pub(crate) mod catalog;
pub(crate) mod collaborators;
pub(crate) mod config_vars;
pub(crate) mod domains;
pub(crate) mod dynos;
pub(crate) mod formation;
pub(crate) mod log_sessions;
pub(crate) mod oauth;
pub(crate) mod releases;
pub(crate) mod run;
pub(crate) mod sources;
pub(crate) mod streams;

use serde_json::Value;

/// A name or an object with an `id` or `name`: clients send both for references.
pub(crate) fn reference(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["id"].as_str()).or_else(|| value["name"].as_str())
}
