//! `/audit`: who did what. Landfall's own; Heroku's audit trail is a file for enterprises.

use axum::extract::State;
use axum::http::HeaderMap;
use landfall_store::AuditEntry;
use serde_json::{Value, json};

use crate::ApiState;
use crate::auth::Caller;
use crate::error::ApiResult;
use crate::http::range::ListRange;
use crate::http::reply::time;

/// Entries read for one list.
const MOST: u32 = 1000;

fn shaped(entry: &AuditEntry) -> Value {
    let event = &entry.event;
    json!({
        "sequence": entry.sequence, "created_at": time(entry.at), "action": event.action, "detail": event.detail, "address": event.address,
        "actor": event.actor.map(|id| json!({ "id": id, "email": entry.actor_email })),
        "app": event.app.map(|id| json!({ "id": id, "name": entry.app_name })),
    })
}

/// `GET /audit`: the newest entries. Administrators only.
pub(crate) async fn list(State(api): State<ApiState>, caller: Caller, headers: HeaderMap) -> ApiResult {
    let entries = api.store().audit_list(&caller.principal, MOST).await?;
    ListRange::of(&headers)?.answer(&["sequence"], entries.iter().map(shaped).collect())
}
