//! `/apps/{app}/collaborators`.

use std::collections::HashMap;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use super::reference;
use crate::auth::AppAccess;
use crate::error::{ApiError, ApiResult};
use crate::http::body::Body;
use crate::http::range::ListRange;
use crate::http::reply::{created, ok};
use crate::{ApiState, shapes};

/// `GET /apps/{app}/collaborators`.
pub(crate) async fn list(State(api): State<ApiState>, at: AppAccess, headers: HeaderMap) -> ApiResult {
    let app = api.store().app_get(&at.scope).await?;
    let all = api.store().collaborator_list(&at.scope).await?;
    ListRange::of(&headers)?.answer(&["id"], all.iter().map(|who| shapes::collaborator(&app, who)).collect())
}

/// `GET /apps/{app}/collaborators/{collaborator}`.
pub(crate) async fn info(State(api): State<ApiState>, at: AppAccess, Path(path): Path<HashMap<String, String>>) -> ApiResult {
    let app = api.store().app_get(&at.scope).await?;
    let wanted = &path["collaborator"];
    let all = api.store().collaborator_list(&at.scope).await?;
    let who = all.iter().find(|who| who.id.to_string() == *wanted || who.user.email.eq_ignore_ascii_case(wanted));
    Ok(ok(&shapes::collaborator(
        &app,
        who.ok_or_else(|| ApiError::not_found("collaborator", "See them at: GET /apps/{app}/collaborators"))?,
    )))
}

/// Body of `POST /apps/{app}/collaborators`.
#[derive(Deserialize)]
pub(crate) struct New {
    user: Value,
}

/// `POST /apps/{app}/collaborators`.
pub(crate) async fn create(State(api): State<ApiState>, at: AppAccess, Body(new): Body<New>) -> ApiResult {
    let email = new.user["email"]
        .as_str()
        .or_else(|| reference(&new.user))
        .ok_or_else(|| ApiError::invalid("Say who, by e-mail address: {\"user\": \"ann@example.com\"}."))?;
    let app = api.store().app_get(&at.scope).await?;
    let who = api.store().collaborator_add(&at.scope, email).await?;
    api.audit(Some(&at.caller.principal), "collaborator.add", Some(&at.scope), who.user.email.clone(), at.caller.address).await;
    Ok(created(&shapes::collaborator(&app, &who)))
}

/// `DELETE /apps/{app}/collaborators/{collaborator}`.
pub(crate) async fn delete(State(api): State<ApiState>, at: AppAccess, Path(path): Path<HashMap<String, String>>) -> ApiResult {
    let app = api.store().app_get(&at.scope).await?;
    let who = api.store().collaborator_remove(&at.scope, &path["collaborator"]).await?;
    api.audit(Some(&at.caller.principal), "collaborator.remove", Some(&at.scope), who.user.email.clone(), at.caller.address).await;
    Ok(ok(&shapes::collaborator(&app, &who)))
}
