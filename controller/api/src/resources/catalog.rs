//! What this server offers: stacks, the one region, features; and honest empty lists for what it has not got.

use std::collections::HashMap;

use axum::extract::{Path, State};
use serde_json::{Value, json};

use crate::auth::{AppAccess, Caller};
use crate::error::{ApiError, ApiResult};
use crate::http::reply::ok;
use crate::{ApiState, shapes};

/// Things without a row have no time of their own.
const SINCE: &str = "2026-01-01T00:00:00Z";

async fn all_stacks(api: &ApiState) -> Result<Vec<Value>, ApiError> {
    let names = api.platform().stacks().await?;
    let stack = |(position, name): (usize, &String)| {
        json!({
            "id": shapes::name_id("stack", name), "name": name, "default": position == 0, "state": "public",
            "created_at": SINCE, "updated_at": SINCE,
        })
    };
    Ok(names.iter().enumerate().map(stack).collect())
}

fn pick(all: Vec<Value>, wanted: &str, what: &str, hint: &str) -> ApiResult {
    let found = all.into_iter().find(|one| one["name"] == wanted || one["id"] == wanted);
    found.as_ref().map(ok).ok_or_else(|| ApiError::not_found(what, hint))
}

/// `GET /stacks`.
pub(crate) async fn stacks(State(api): State<ApiState>, _caller: Caller) -> ApiResult {
    Ok(ok(&Value::Array(all_stacks(&api).await?)))
}

/// `GET /stacks/{stack}`.
pub(crate) async fn stack(State(api): State<ApiState>, _caller: Caller, Path(wanted): Path<String>) -> ApiResult {
    pick(all_stacks(&api).await?, &wanted, "stack", "See them with: landfall stacks")
}

fn region_local() -> Value {
    json!({
        "id": shapes::name_id("region", "local"), "name": "local", "description": "This server", "country": "local", "locale": "local",
        "private_capable": false, "provider": { "name": "landfall" }, "created_at": SINCE, "updated_at": SINCE,
    })
}

/// `GET /regions`.
pub(crate) async fn regions(_caller: Caller) -> ApiResult {
    Ok(ok(&json!([region_local()])))
}

/// `GET /regions/{region}`.
pub(crate) async fn region(_caller: Caller, Path(wanted): Path<String>) -> ApiResult {
    pick(vec![region_local()], &wanted, "region", "This server is one region, \"local\".")
}

/// Always on: the Heroku CLI asks before `ps:exec` and would restart the app to turn it on.
fn exec_feature() -> Value {
    json!({
        "id": shapes::name_id("feature", "runtime-heroku-exec"), "name": "runtime-heroku-exec", "display_name": "Exec", "enabled": true,
        "state": "general", "description": "Run commands in a running dyno", "doc_url": "https://devcenter.heroku.com/articles/exec",
        "feedback_email": "", "created_at": SINCE, "updated_at": SINCE,
    })
}

/// `GET /apps/{app}/features`.
pub(crate) async fn features(_at: AppAccess) -> ApiResult {
    Ok(ok(&json!([exec_feature()])))
}

/// `GET /apps/{app}/features/{feature}`.
pub(crate) async fn feature(_at: AppAccess, Path(path): Path<HashMap<String, String>>) -> ApiResult {
    pick(vec![exec_feature()], &path["feature"], "feature", "This server has no optional features.")
}

/// Lists of an app that are always empty here: add-ons, attachments, certificates, log drains.
pub(crate) async fn none_of_app(_at: AppAccess) -> ApiResult {
    Ok(ok(&json!([])))
}

/// Lists of an account that are always empty here.
pub(crate) async fn none(_caller: Caller) -> ApiResult {
    Ok(ok(&json!([])))
}
