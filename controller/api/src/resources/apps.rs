//! `/apps`: create, list, info, rename, maintenance, destroy.

use axum::extract::State;
use axum::http::HeaderMap;
use landfall_model::AppName;
use landfall_store::{App, AppIdentity, AppScope, NewApp, ReleaseRef, StoreError};
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use serde::Deserialize;
use serde_json::{Value, json};

use super::reference;
use crate::auth::{AppAccess, Caller};
use crate::error::{ApiError, ApiResult};
use crate::http::body::Body;
use crate::http::range::ListRange;
use crate::http::reply::{created, ok};
use crate::{ApiState, shapes};

const ADJECTIVES: &[&str] = &[
    "amber", "ancient", "autumn", "bold", "brave", "bright", "calm", "clear", "cool", "crisp", "deep", "early", "fair", "gentle", "glad",
    "golden", "grand", "green", "keen", "kind", "light", "lively", "lucky", "mellow", "mild", "misty", "noble", "pale", "plain", "proud",
    "quick", "quiet", "rapid", "silent", "silver", "snowy", "soft", "steady", "still", "sunny", "swift", "tidy", "warm", "wild", "wise",
    "young",
];
const NOUNS: &[&str] = &[
    "bay", "beach", "bird", "brook", "canyon", "cliff", "cloud", "coast", "cove", "creek", "dawn", "delta", "dune", "field", "fjord",
    "forest", "garden", "glade", "grove", "harbor", "haven", "hill", "island", "lagoon", "lake", "meadow", "moon", "mountain", "ocean",
    "peak", "pine", "pond", "reef", "ridge", "river", "sea", "shore", "sky", "star", "stone", "stream", "valley", "wave", "wind", "wood",
];

/// `calm-river-1234`.
fn generated_name() -> AppName {
    let mut rng = rand::rng();
    let (adjective, noun) = (ADJECTIVES.choose(&mut rng).unwrap_or(&"calm"), NOUNS.choose(&mut rng).unwrap_or(&"river"));
    format!("{adjective}-{noun}-{}", rng.random_range(1000..10_000)).parse().expect("two short words and four digits are an app name")
}

async fn shaped(api: &ApiState, scope: &AppScope, app: &App) -> ApiResult<Value> {
    let current = match api.store().release_get(scope, ReleaseRef::Current).await {
        Ok(release) => release.slug,
        Err(StoreError::NotFound { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let size = match current {
        Some(slug) => Some(api.store().slug_get(scope, slug).await?.size_bytes),
        None => None,
    };
    Ok(shapes::app(app, size, api.platform()))
}

/// `GET /apps`, `GET /users/~/apps`. All apps the caller may touch, or only their own.
async fn listed(api: &ApiState, caller: &Caller, headers: &HeaderMap, own: bool) -> ApiResult {
    let apps = api.store().app_list(&caller.principal).await?;
    let mine = |app: &&App| !own || app.owner.id == caller.principal.account_id();
    let apps = apps.iter().filter(mine).map(|app| shapes::app(app, None, api.platform())).collect();
    ListRange::of(headers)?.answer(&["name", "id", "updated_at"], apps)
}

/// `GET /apps`.
pub(crate) async fn list(State(api): State<ApiState>, caller: Caller, headers: HeaderMap) -> ApiResult {
    listed(&api, &caller, &headers, false).await
}

/// `GET /users/~/apps`.
pub(crate) async fn list_own(State(api): State<ApiState>, caller: Caller, headers: HeaderMap) -> ApiResult {
    listed(&api, &caller, &headers, true).await
}

/// Body of `POST /apps`.
#[derive(Deserialize)]
pub(crate) struct New {
    name: Option<String>,
    #[serde(default)]
    stack: Value,
    #[serde(default)]
    region: Value,
}

/// `POST /apps`.
pub(crate) async fn create(State(api): State<ApiState>, caller: Caller, Body(new): Body<New>) -> ApiResult {
    if reference(&new.region).is_some_and(|region| region != "local" && region != shapes::region_ref()["id"]) {
        return Err(ApiError::invalid("This server is one region, \"local\". Leave the region out: landfall create NAME"));
    }
    let stack = stack_named(&api, reference(&new.stack)).await?;
    let given: Option<AppName> = new.name.filter(|name| !name.is_empty()).map(|name| name.parse()).transpose()?;
    let generated = given.is_none();
    let mut tries = 0;
    let app = loop {
        let name = given.clone().unwrap_or_else(generated_name);
        match api.store().app_create(&caller.principal, NewApp { id: None, name, stack: stack.clone() }).await {
            Err(StoreError::AppNameTaken { .. }) if generated && tries < 20 => tries += 1,
            other => break other?,
        }
    };
    api.platform().wake(app.id);
    let scope = api.store().authorize(&caller.principal, &AppIdentity::Id(app.id)).await?;
    api.audit(Some(&caller.principal), "app.create", Some(&scope), app.name.to_string(), caller.address).await;
    Ok(created(&shapes::app(&app, None, api.platform())))
}

/// A stack of this machine by name or id; the default one when none is named.
async fn stack_named(api: &ApiState, wanted: Option<&str>) -> ApiResult<String> {
    let stacks = api.platform().stacks().await?;
    let found = match wanted {
        None => stacks.first(),
        Some(wanted) => stacks.iter().find(|stack| *stack == wanted || shapes::name_id("stack", stack).to_string() == wanted),
    };
    found.cloned().ok_or_else(|| match wanted {
        None => ApiError::new(
            axum::http::StatusCode::SERVICE_UNAVAILABLE,
            "service_unavailable",
            "This server has no stack yet. The operator makes one with: sudo landfall stacks:create",
        ),
        Some(wanted) => ApiError::invalid(format!(
            "No stack is named \"{}\"; there are: {}. List them with: landfall stacks",
            wanted.escape_default(),
            stacks.join(", ")
        )),
    })
}

/// `GET /apps/{app}`.
pub(crate) async fn info(State(api): State<ApiState>, at: AppAccess) -> ApiResult {
    let app = api.store().app_get(&at.scope).await?;
    Ok(ok(&shaped(&api, &at.scope, &app).await?))
}

/// Body of `PATCH /apps/{app}`.
#[derive(Deserialize)]
pub(crate) struct Change {
    name: Option<String>,
    maintenance: Option<bool>,
    #[serde(default)]
    build_stack: Value,
}

/// `PATCH /apps/{app}`.
pub(crate) async fn update(State(api): State<ApiState>, at: AppAccess, Body(change): Body<Change>) -> ApiResult {
    // Everything is checked before anything is changed.
    let name = change.name.map(|name| name.parse::<AppName>()).transpose()?;
    let stack = match reference(&change.build_stack) {
        Some(wanted) => Some(stack_named(&api, Some(wanted)).await?),
        None => None,
    };
    if let Some(name) = &name {
        api.store().app_rename(&at.scope, name).await?;
        api.audit(Some(&at.caller.principal), "app.rename", Some(&at.scope), name.to_string(), at.caller.address).await;
    }
    if let Some(on) = change.maintenance {
        api.store().app_maintenance_set(&at.scope, on).await?;
        let detail = if on { "on" } else { "off" }.to_owned();
        api.audit(Some(&at.caller.principal), "app.maintenance", Some(&at.scope), detail, at.caller.address).await;
    }
    if let Some(stack) = &stack {
        api.store().app_stack_set(&at.scope, stack).await?;
        api.audit(Some(&at.caller.principal), "app.stack", Some(&at.scope), stack.clone(), at.caller.address).await;
    }
    api.platform().wake(at.scope.app_id());
    info(State(api), at).await
}

/// `DELETE /apps/{app}`.
pub(crate) async fn destroy(State(api): State<ApiState>, at: AppAccess) -> ApiResult {
    let app = api.store().app_get(&at.scope).await?;
    let body = shaped(&api, &at.scope, &app).await?;
    api.store().app_destroy(&at.scope).await?;
    api.platform().wake(at.scope.app_id());
    api.audit(Some(&at.caller.principal), "app.destroy", Some(&at.scope), app.name.to_string(), at.caller.address).await;
    Ok(ok(&body))
}

/// `GET /apps/{app}/pipeline-couplings`: there are no pipelines, so no coupling. The Heroku CLI relies on the 404.
pub(crate) async fn pipeline_coupling(_at: AppAccess) -> ApiResult {
    Err(ApiError::not_found("pipeline coupling", "This server has no pipelines."))
}

/// `GET /apps/{app}/stats`: Landfall's own.
pub(crate) async fn stats(State(api): State<ApiState>, at: AppAccess) -> ApiResult {
    let stats = api.platform().stats(at.scope.app_id()).await?;
    Ok(ok(&json!(stats.iter().map(shapes::stats).collect::<Vec<_>>())))
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_generated_word_fits() {
        for word in super::ADJECTIVES.iter().chain(super::NOUNS) {
            assert!(word.len() <= 8, "{word}");
        }
        assert!(super::generated_name().as_str().len() <= 30);
    }
}
