//! `/apps/{app}/dynos` and `/apps/{app}/formations/{type}`: what runs now, restarting and stopping it.

use std::collections::HashMap;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use landfall_model::{DynoState, ProcessType};

use crate::auth::AppAccess;
use crate::error::{ApiError, ApiResult};
use crate::http::range::ListRange;
use crate::http::reply::{accepted, ok};
use crate::platform::{DynoSelector, DynoView};
use crate::{ApiState, shapes};

/// `GET /apps/{app}/dynos`.
pub(crate) async fn list(State(api): State<ApiState>, at: AppAccess, headers: HeaderMap) -> ApiResult {
    let app = api.store().app_get(&at.scope).await?;
    let dynos = api.platform().dynos(at.scope.app_id()).await?;
    ListRange::of(&headers)?.answer(&["name", "id"], dynos.iter().map(|dyno| shapes::dyno(&app, dyno, None)).collect())
}

/// A dyno of the app by name or id. During a rollout there may be two of one name: the newer one that is up is meant.
pub(crate) async fn find(api: &ApiState, at: &AppAccess, path: &HashMap<String, String>) -> Result<DynoView, ApiError> {
    let wanted = &path["dyno"];
    let dynos = api.platform().dynos(at.scope.app_id()).await?;
    let meant = dynos.into_iter().filter(|dyno| dyno.name.to_string() == *wanted || dyno.id.to_string() == *wanted);
    let found = meant.max_by_key(|dyno| (dyno.state == DynoState::Up, dyno.release.1));
    found.ok_or_else(|| ApiError::not_found("dyno", "See what runs with: landfall ps"))
}

/// `GET /apps/{app}/dynos/{dyno}`.
pub(crate) async fn info(State(api): State<ApiState>, at: AppAccess, Path(path): Path<HashMap<String, String>>) -> ApiResult {
    let app = api.store().app_get(&at.scope).await?;
    Ok(ok(&shapes::dyno(&app, &find(&api, &at, &path).await?, None)))
}

async fn restart(api: &ApiState, at: &AppAccess, which: DynoSelector, named: &str) -> ApiResult {
    api.platform().restart(at.scope.app_id(), which).await?;
    api.audit(Some(&at.caller.principal), "dyno.restart", Some(&at.scope), named.to_owned(), at.caller.address).await;
    Ok(accepted())
}

async fn stop(api: &ApiState, at: &AppAccess, which: DynoSelector, named: &str) -> ApiResult {
    api.platform().stop(at.scope.app_id(), which).await?;
    api.audit(Some(&at.caller.principal), "dyno.stop", Some(&at.scope), named.to_owned(), at.caller.address).await;
    Ok(accepted())
}

/// `DELETE /apps/{app}/dynos`: restart all.
pub(crate) async fn restart_all(State(api): State<ApiState>, at: AppAccess) -> ApiResult {
    restart(&api, &at, DynoSelector::All, "all").await
}

/// `DELETE /apps/{app}/dynos/{dyno}`: restart one.
pub(crate) async fn restart_one(State(api): State<ApiState>, at: AppAccess, Path(path): Path<HashMap<String, String>>) -> ApiResult {
    let dyno = find(&api, &at, &path).await?;
    let name = dyno.name.to_string();
    restart(&api, &at, DynoSelector::One(dyno.name), &name).await
}

/// `DELETE /apps/{app}/formations/{type}`: restart all of one type.
pub(crate) async fn restart_type(State(api): State<ApiState>, at: AppAccess, Path(path): Path<HashMap<String, String>>) -> ApiResult {
    let process_type = known_type(&api, &at, &path).await?;
    let name = process_type.to_string();
    restart(&api, &at, DynoSelector::Type(process_type), &name).await
}

/// `POST /apps/{app}/dynos/{dyno}/actions/stop`.
pub(crate) async fn stop_one(State(api): State<ApiState>, at: AppAccess, Path(path): Path<HashMap<String, String>>) -> ApiResult {
    let dyno = find(&api, &at, &path).await?;
    let name = dyno.name.to_string();
    stop(&api, &at, DynoSelector::One(dyno.name), &name).await
}

/// `POST /apps/{app}/formations/{type}/actions/stop`.
pub(crate) async fn stop_type(State(api): State<ApiState>, at: AppAccess, Path(path): Path<HashMap<String, String>>) -> ApiResult {
    let process_type = known_type(&api, &at, &path).await?;
    let name = process_type.to_string();
    stop(&api, &at, DynoSelector::Type(process_type), &name).await
}

/// A type of the formation, or one that only one-off dynos have (`run`).
async fn known_type(api: &ApiState, at: &AppAccess, path: &HashMap<String, String>) -> Result<ProcessType, ApiError> {
    let wanted: ProcessType = path["type"].parse()?;
    if api.store().formation_list(&at.scope).await?.iter().any(|one| one.entry.process_type == wanted) {
        return Ok(wanted);
    }
    let running = api.platform().dynos(at.scope.app_id()).await?.iter().any(|dyno| dyno.name.process_type == wanted);
    if running { Ok(wanted) } else { Err(ApiError::not_found("process type", "See what runs with: landfall ps")) }
}
