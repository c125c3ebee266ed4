//! `/apps/{app}/releases`: list, info, config of one, rollback.

use std::collections::HashMap;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use landfall_store::{App, Release, ReleaseRange, ReleaseRef};
use serde::Deserialize;
use serde_json::Value;

use super::{config_vars, reference};
use crate::auth::AppAccess;
use crate::error::{ApiError, ApiResult};
use crate::http::body::Body;
use crate::http::range::ListRange;
use crate::http::reply::{created, ok};
use crate::{ApiState, shapes};

/// Releases read for one list. More are reached with `Range: version N..`.
const MOST: u32 = 1000;

fn shaped(api: &ApiState, at: &AppAccess, app: &App, release: &Release) -> Value {
    let output = release.output.map(|_| api.release_output_url(&at.grant(), release.id));
    shapes::release(app, release, output)
}

fn named(text: &str) -> Result<ReleaseRef, ApiError> {
    text.parse().map_err(|_| ApiError::not_found("release", "Name it by its version, as in v3; see them with: landfall releases"))
}

/// `GET /apps/{app}/releases`.
pub(crate) async fn list(State(api): State<ApiState>, at: AppAccess, headers: HeaderMap) -> ApiResult {
    let range = ListRange::of(&headers)?;
    let app = api.store().app_get(&at.scope).await?;
    let releases = api.store().release_list(&at.scope, window(&range)).await?;
    range.answer(&["version", "id"], releases.iter().map(|release| shaped(&api, &at, &app, release)).collect())
}

/// The part of the list worth reading for a range: its page and one more, so that "there is more" is known.
fn window(range: &ListRange) -> ReleaseRange {
    if range.field.as_deref().is_some_and(|field| field != "version") {
        return ReleaseRange::newest(MOST);
    }
    let bound = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<u32>().ok());
    let (first, last) = if range.descending { (bound(&range.to), bound(&range.from)) } else { (bound(&range.from), bound(&range.to)) };
    let page = range.max.map_or(MOST, |max| (max as u32 + 2).min(MOST));
    let mut window = if range.descending { ReleaseRange::newest(page) } else { ReleaseRange { max: page, ..ReleaseRange::default() } };
    window.from = first.unwrap_or(window.from);
    window.to = last.unwrap_or(window.to);
    window
}

/// `GET /apps/{app}/releases/{release}`, by version or id.
pub(crate) async fn info(State(api): State<ApiState>, at: AppAccess, Path(path): Path<HashMap<String, String>>) -> ApiResult {
    let app = api.store().app_get(&at.scope).await?;
    let release = api.store().release_get(&at.scope, named(&path["release"])?).await?;
    Ok(ok(&shaped(&api, &at, &app, &release)))
}

/// `GET /apps/{app}/releases/{release}/config-vars`.
pub(crate) async fn config(State(api): State<ApiState>, at: AppAccess, Path(path): Path<HashMap<String, String>>) -> ApiResult {
    let vars = api.store().release_config(&at.scope, named(&path["release"])?).await?;
    let detail = format!("config vars of release {}", path["release"].escape_default());
    api.audit(Some(&at.caller.principal), "secret.read", Some(&at.scope), detail, at.caller.address).await;
    Ok(ok(&config_vars::shown(&vars)))
}

/// Body of `POST /apps/{app}/releases`.
#[derive(Deserialize)]
pub(crate) struct New {
    #[serde(default)]
    release: Value,
}

/// `POST /apps/{app}/releases` with `{release}`: roll back.
pub(crate) async fn rollback(State(api): State<ApiState>, at: AppAccess, Body(new): Body<New>) -> ApiResult {
    let wanted = reference(&new.release).map(str::to_owned).or_else(|| new.release.as_u64().map(|version| version.to_string()));
    let wanted = wanted.ok_or_else(|| {
        ApiError::invalid("Say which release to go back to: {\"release\": \"v2\"}. A new release is made by: git push landfall main")
    })?;
    let release = roll_back(&api, &at, &wanted).await?;
    let app = api.store().app_get(&at.scope).await?;
    Ok(created(&shaped(&api, &at, &app, &release)))
}

/// Makes the release that repeats an old one. The dashboard's button does the same.
pub(crate) async fn roll_back(api: &ApiState, at: &AppAccess, wanted: &str) -> Result<Release, ApiError> {
    let release = api.store().release_rollback(&at.scope, named(wanted)?).await?;
    api.platform().wake(at.scope.app_id());
    let detail = format!("{}: {}", release.version, release.description);
    api.audit(Some(&at.caller.principal), "release.rollback", Some(&at.scope), detail, at.caller.address).await;
    Ok(release)
}
