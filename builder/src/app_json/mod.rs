//! `app.json` as Heroku reads it: JSON, with comments and trailing commas tolerated. Nothing in it runs outside the app's sandbox (rule R7).

mod jsonc;
mod read;

use std::collections::BTreeMap;

use landfall_model::{ConfigKey, DynoSize, ProcessType, SecretString};

pub use read::{AppJsonError, MAX_BYTES, parse};

/// What we use of an `app.json`; other keys are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct AppJson {
    /// Shown name.
    pub name: Option<String>,
    /// Config vars to set if they are not set yet.
    pub env: BTreeMap<ConfigKey, EnvWish>,
    /// Dynos of the first deploy.
    pub formation: BTreeMap<ProcessType, FormationWish>,
    /// Checks by process type.
    pub healthchecks: BTreeMap<ProcessType, Vec<HealthCheck>>,
    /// Command run once, after the app's first deploy is live.
    pub postdeploy: Option<String>,
    /// Buildpacks by URL or name, in order.
    pub buildpacks: Vec<String>,
    /// Wanted stack.
    pub stack: Option<String>,
    /// What was tolerated, for the build log.
    pub warnings: Vec<String>,
}

/// One wished config var.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EnvWish {
    /// For people.
    pub description: Option<String>,
    /// Where its value comes from.
    pub source: EnvSource,
    /// Must it have a value before the app can run? (Heroku's default: yes.)
    pub required: bool,
}

/// Where a wished config var's value comes from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvSource {
    /// The owner must set it.
    Owner,
    /// This value.
    Value(SecretString),
    /// 64 random hexadecimal digits (`"generator": "secret"`); see [`generate_secret`].
    Secret,
}

/// Dynos of one process type.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FormationWish {
    /// How many; 0 to [`landfall_model::MAX_QUANTITY`].
    pub quantity: Option<u32>,
    /// How big.
    pub size: Option<DynoSize>,
}

/// When a check is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckKind {
    /// Before the dyno takes traffic.
    Startup,
    /// Before and while it takes traffic.
    Readiness,
    /// While it runs; a dyno that fails is replaced.
    Liveness,
}

/// One health check: an HTTP GET that must answer 2xx or 3xx (and hold `content`, if given).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HealthCheck {
    /// When it is asked.
    pub kind: CheckKind,
    /// Request path, starting with `/`.
    pub path: String,
    /// Text the body must hold.
    pub content: Option<String>,
    /// Tries before it counts as failed; 1 to 100, default 3.
    pub attempts: u32,
    /// Seconds one try may take; 1 to 300, default 5.
    pub timeout_secs: u32,
    /// Seconds between tries; 0 to 300, default 5.
    pub wait_secs: u32,
    /// Seconds after the dyno listens before the first try; 0 to 3,600, default 0.
    #[serde(default)]
    pub initial_delay_secs: u32,
}

/// 64 random hexadecimal digits, as Heroku makes them.
pub fn generate_secret() -> SecretString {
    SecretString::new(hex::encode(rand::random::<[u8; 32]>()))
}
