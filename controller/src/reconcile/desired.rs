//! From what the store remembers to what the plan is asked for.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use landfall_builder::app_json::{CheckKind, HealthCheck as AppCheck};
use landfall_deploy::{Desired, FirstDeploy, HealthCheck, Probe, Settings, Target, TypeSpec};
use landfall_model::ProcessType;
use landfall_store::{DesiredApp, DesiredRelease, Postdeploy, Slug};

/// The plan's input for one app.
pub(crate) fn desired(app: &DesiredApp, settings: &Settings) -> Desired {
    let mut hasher = DefaultHasher::new();
    app.id.hash(&mut hasher);
    Desired {
        destroyed: app.destroyed_at.is_some(),
        maintenance: app.maintenance,
        current: app.current.as_ref().map(|release| target(app, release)),
        pending: app.pending.first().map(|pending| pending.release.version),
        first_deploy: first_deploy(app.first_deploy),
        restarts: app.restarts.clone(),
        health: app.current.as_ref().and_then(|release| release.slug.as_ref()).map(health_check).unwrap_or_default(),
        settings: Settings { jitter_seed: hasher.finish(), ..settings.clone() },
    }
}

fn first_deploy(recorded: Option<landfall_store::FirstDeploy>) -> FirstDeploy {
    match recorded {
        None => FirstDeploy::Waiting,
        Some(first) if first.postdeploy == Postdeploy::Begun => FirstDeploy::Postdeploy(first.version),
        Some(_) => FirstDeploy::Over,
    }
}

fn target(app: &DesiredApp, current: &DesiredRelease) -> Target {
    let mut types = BTreeMap::new();
    if let Some(slug) = &current.slug {
        for entry in &app.formation {
            if slug.process_types.contains_key(&entry.process_type) && entry.process_type != ProcessType::release() {
                let spec = TypeSpec { quantity: entry.quantity, size: entry.size, fingerprint: entry.size.name().to_lowercase() };
                types.insert(entry.process_type.clone(), spec);
            }
        }
    }
    Target { version: current.release.version, types }
}

/// What of an app.json is kept with the slug; see [`kept_app_json`].
#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
struct Kept {
    healthchecks: BTreeMap<ProcessType, Vec<AppCheck>>,
    postdeploy: Option<String>,
}

/// What running a slug needs of its app.json. Values of config vars stay out: they belong to the config.
pub(crate) fn kept_app_json(app_json: &landfall_builder::app_json::AppJson) -> serde_json::Value {
    let kept = Kept { healthchecks: app_json.healthchecks.clone(), postdeploy: app_json.postdeploy.clone() };
    serde_json::to_value(kept).expect("plain data serialises")
}

fn kept(slug: &Slug) -> Kept {
    // What an older version wrote and nobody understands asks for nothing.
    serde_json::from_value(slug.app_json.clone()).unwrap_or_default()
}

/// What the slug's app.json wants to have run once the app's first deploy is live.
pub(crate) fn postdeploy_command(slug: &Slug) -> Option<String> {
    kept(slug).postdeploy
}

fn health_check(slug: &Slug) -> HealthCheck {
    let checks = kept(slug).healthchecks.remove(&ProcessType::web()).unwrap_or_default();
    let of = |kind| checks.iter().filter(|check| check.kind == kind).map(probe).collect();
    HealthCheck { startup: of(CheckKind::Startup), readiness: of(CheckKind::Readiness), liveness: of(CheckKind::Liveness) }
}

fn probe(check: &AppCheck) -> Probe {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    Probe {
        path: check.path.clone(),
        content: check.content.clone(),
        timeout: seconds(check.timeout_secs),
        attempts: check.attempts,
        // Not in a loop: the app has other work than to be asked how it is.
        wait: seconds(check.wait_secs.max(1)),
        initial_delay: seconds(check.initial_delay_secs),
    }
}
