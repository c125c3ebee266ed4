//! `/apps/{app}/builds` and `/apps/{app}/slugs/{slug}`.

use std::collections::HashMap;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use landfall_model::BuildId;
use landfall_store::{App, Build};
use serde::Deserialize;
use serde_json::Value;

use super::sources;
use crate::auth::AppAccess;
use crate::error::{ApiError, ApiResult};
use crate::http::body::Body;
use crate::http::range::ListRange;
use crate::http::reply::{created, ok};
use crate::platform::TarballBuild;
use crate::{ApiState, shapes};

/// Builds read for one list.
const MOST: u32 = 1000;

fn shaped(api: &ApiState, at: &AppAccess, app: &App, build: &Build) -> Value {
    shapes::build(app, build, api.build_output_url(&at.grant(), build.id))
}

fn id_of(path: &HashMap<String, String>) -> Result<BuildId, ApiError> {
    path["build"].parse().map_err(|_| ApiError::not_found("build", "See the builds with: landfall builds"))
}

/// `GET /apps/{app}/builds`.
pub(crate) async fn list(State(api): State<ApiState>, at: AppAccess, headers: HeaderMap) -> ApiResult {
    let app = api.store().app_get(&at.scope).await?;
    let builds = api.store().build_list(&at.scope, MOST).await?;
    ListRange::of(&headers)?.answer(&["id", "created_at", "number"], builds.iter().map(|build| shaped(&api, &at, &app, build)).collect())
}

/// `GET /apps/{app}/builds/{build}`.
pub(crate) async fn info(State(api): State<ApiState>, at: AppAccess, Path(path): Path<HashMap<String, String>>) -> ApiResult {
    let app = api.store().app_get(&at.scope).await?;
    let build = api.store().build_get(&at.scope, id_of(&path)?).await?;
    Ok(ok(&shaped(&api, &at, &app, &build)))
}

/// Body of `POST /apps/{app}/builds`.
#[derive(Deserialize)]
pub(crate) struct New {
    source_blob: SourceBlob,
}

/// Where the source is.
#[derive(Deserialize)]
pub(crate) struct SourceBlob {
    url: String,
    version: Option<String>,
}

/// `POST /apps/{app}/builds`.
pub(crate) async fn create(State(api): State<ApiState>, at: AppAccess, Body(new): Body<New>) -> ApiResult {
    let app = api.store().app_get(&at.scope).await?;
    let file = sources::take(&api, &new.source_blob.url, at.caller.principal.account_id()).await?;
    let version = new.source_blob.version.map(|text| text.chars().filter(|c| !c.is_control()).take(200).collect());
    let build = TarballBuild { file, version, user: at.caller.principal.account_id(), address: at.caller.address };
    let file = build.file.clone();
    let id = match api.platform().build_from_tarball(at.scope.app_id(), build).await {
        Ok(id) => id,
        Err(error) => {
            let _ = tokio::fs::remove_file(file).await;
            return Err(error.into());
        }
    };
    api.audit(Some(&at.caller.principal), "build.create", Some(&at.scope), id.to_string(), at.caller.address).await;
    Ok(created(&shaped(&api, &at, &app, &api.store().build_get(&at.scope, id).await?)))
}

/// `DELETE /apps/{app}/builds/{build}`: cancel.
pub(crate) async fn cancel(State(api): State<ApiState>, at: AppAccess, Path(path): Path<HashMap<String, String>>) -> ApiResult {
    let app = api.store().app_get(&at.scope).await?;
    // Looked up in the app's scope first, so that only its own builds can be named.
    let build = api.store().build_get(&at.scope, id_of(&path)?).await?;
    api.platform().build_cancel(at.scope.app_id(), build.id).await?;
    api.audit(Some(&at.caller.principal), "build.cancel", Some(&at.scope), build.id.to_string(), at.caller.address).await;
    Ok(ok(&shaped(&api, &at, &app, &api.store().build_get(&at.scope, build.id).await?)))
}

/// `GET /apps/{app}/slugs/{slug}`.
pub(crate) async fn slug(State(api): State<ApiState>, at: AppAccess, Path(path): Path<HashMap<String, String>>) -> ApiResult {
    let id = path["slug"].parse().map_err(|_| ApiError::not_found("slug", "Its id is in: landfall releases:info --json"))?;
    Ok(ok(&shapes::slug(&api.store().slug_get(&at.scope, id).await?)))
}

/// `GET /apps/{app}/buildpack-installations`: what the current release was built with.
pub(crate) async fn buildpacks(State(api): State<ApiState>, at: AppAccess) -> ApiResult {
    let builds = api.store().build_list(&at.scope, MOST).await?;
    let newest = builds.iter().filter(|build| build.slug.is_some()).max_by_key(|build| build.created_at);
    let names = newest.map(|build| build.buildpacks.as_slice()).unwrap_or_default();
    let list = names.iter().enumerate().map(
        |(ordinal, name)| serde_json::json!({ "ordinal": ordinal, "buildpack": { "name": name, "url": format!("urn:buildpack:{name}") } }),
    );
    Ok(ok(&list.collect()))
}
