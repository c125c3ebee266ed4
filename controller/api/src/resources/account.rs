//! `/account` and `/account/keys`.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::json;

use crate::auth::Caller;
use crate::error::ApiResult;
use crate::http::body::Body;
use crate::http::range::ListRange;
use crate::http::reply::{created, ok};
use crate::{ApiState, shapes};

/// `GET /account`, `GET /users/~`.
pub(crate) async fn info(State(api): State<ApiState>, caller: Caller) -> ApiResult {
    Ok(ok(&shapes::account(&api.store().account_get(&caller.principal).await?)))
}

/// `GET /account/keys`.
pub(crate) async fn keys(State(api): State<ApiState>, caller: Caller, headers: axum::http::HeaderMap) -> ApiResult {
    let keys = api.store().key_list(&caller.principal).await?;
    let keys = keys.iter().map(|key| shapes::key(key, caller.principal.email())).collect();
    ListRange::of(&headers)?.answer(&["id", "fingerprint"], keys)
}

/// Body of `POST /account/keys`.
#[derive(Deserialize)]
pub(crate) struct NewKey {
    public_key: String,
}

/// `POST /account/keys`.
pub(crate) async fn key_create(State(api): State<ApiState>, caller: Caller, Body(new): Body<NewKey>) -> ApiResult {
    let key = api.store().key_create(&caller.principal, new.public_key.trim()).await?;
    api.audit(Some(&caller.principal), "key.add", None, key.fingerprint.clone(), caller.address).await;
    Ok(created(&shapes::key(&key, caller.principal.email())))
}

/// `GET /account/keys/{key}`.
pub(crate) async fn key_info(State(api): State<ApiState>, caller: Caller, Path(wanted): Path<String>) -> ApiResult {
    let keys = api.store().key_list(&caller.principal).await?;
    let key = keys.iter().find(|key| key.id.to_string() == wanted || key.fingerprint == wanted);
    let key = key.ok_or_else(|| crate::error::ApiError::not_found("key", "See your keys with: landfall keys"))?;
    Ok(ok(&shapes::key(key, caller.principal.email())))
}

/// `DELETE /account/keys/{key}`.
pub(crate) async fn key_delete(State(api): State<ApiState>, caller: Caller, Path(wanted): Path<String>) -> ApiResult {
    let key = api.store().key_delete(&caller.principal, &wanted).await?;
    api.audit(Some(&caller.principal), "key.remove", None, key.fingerprint.clone(), caller.address).await;
    Ok(ok(&shapes::key(&key, caller.principal.email())))
}

/// `GET /account/features`: there are none.
pub(crate) async fn features(_caller: Caller) -> ApiResult {
    Ok(ok(&json!([])))
}
