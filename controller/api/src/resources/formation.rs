//! `/apps/{app}/formation`: how many dynos of what, and how big.

use std::collections::HashMap;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use landfall_model::{DynoSize, MAX_QUANTITY, ProcessType};
use landfall_store::{FormationChange, QuantityChange};
use serde::Deserialize;
use serde_json::{Value, json};

use super::reference;
use crate::auth::AppAccess;
use crate::error::{ApiError, ApiResult};
use crate::http::body::Body;
use crate::http::range::ListRange;
use crate::http::reply::ok;
use crate::{ApiState, shapes};

/// `GET /apps/{app}/formation`.
pub(crate) async fn list(State(api): State<ApiState>, at: AppAccess, headers: HeaderMap) -> ApiResult {
    let app = api.store().app_get(&at.scope).await?;
    let all = api.store().formation_list(&at.scope).await?;
    ListRange::of(&headers)?.answer(&["type", "id"], all.iter().map(|one| shapes::formation(&app, one)).collect())
}

/// `GET /apps/{app}/formation/{type}`, by type or id.
pub(crate) async fn info(State(api): State<ApiState>, at: AppAccess, Path(path): Path<HashMap<String, String>>) -> ApiResult {
    let app = api.store().app_get(&at.scope).await?;
    let all = api.store().formation_list(&at.scope).await?;
    let one = all.iter().find(|one| one.entry.process_type.as_str() == path["type"] || one.id.to_string() == path["type"]);
    Ok(ok(&shapes::formation(&app, one.ok_or_else(|| ApiError::not_found("process type", "See them with: landfall ps:scale"))?)))
}

/// One change, as clients spell it.
#[derive(Deserialize, Default)]
pub(crate) struct Update {
    #[serde(default, rename = "type")]
    process_type: Option<String>,
    #[serde(default)]
    quantity: Value,
    #[serde(default)]
    size: Value,
    #[serde(default)]
    dyno_size: Value,
    #[serde(default)]
    docker_image: Option<Value>,
}

/// Body of `PATCH /apps/{app}/formation`.
#[derive(Deserialize)]
pub(crate) struct Batch {
    updates: Vec<Update>,
}

/// `PATCH /apps/{app}/formation`: all or nothing.
pub(crate) async fn update_batch(State(api): State<ApiState>, at: AppAccess, Body(batch): Body<Batch>) -> ApiResult {
    let named = |update: Update| {
        let name = update.process_type.clone().ok_or_else(|| {
            ApiError::invalid("Each update names its process type: {\"updates\": [{\"type\": \"web\", \"quantity\": 2}]}.")
        })?;
        change(&name, &update)
    };
    let changes = batch.updates.into_iter().map(named).collect::<Result<Vec<_>, _>>()?;
    Ok(ok(&Value::Array(apply(&api, &at, &changes).await?)))
}

/// `PATCH /apps/{app}/formation/{type}`.
pub(crate) async fn update_one(
    State(api): State<ApiState>,
    at: AppAccess,
    Path(path): Path<HashMap<String, String>>,
    Body(update): Body<Update>,
) -> ApiResult {
    let all = api.store().formation_list(&at.scope).await?;
    let by_id = all.iter().find(|one| one.id.to_string() == path["type"]).map(|one| one.entry.process_type.to_string());
    let wanted = change(by_id.as_deref().unwrap_or(&path["type"]), &update)?;
    let changed = apply(&api, &at, std::slice::from_ref(&wanted)).await?;
    changed
        .iter()
        .find(|one| one["type"] == json!(wanted.process_type))
        .map(ok)
        .ok_or_else(|| ApiError::not_found("process type", "See them with: landfall ps:scale"))
}

async fn apply(api: &ApiState, at: &AppAccess, changes: &[FormationChange]) -> Result<Vec<Value>, ApiError> {
    let app = api.store().app_get(&at.scope).await?;
    let after = api.store().formation_update(&at.scope, changes).await?;
    api.platform().wake(at.scope.app_id());
    let touched = |one: &&landfall_store::Formation| changes.iter().any(|change| change.process_type == one.entry.process_type);
    let touched: Vec<_> = after.iter().filter(touched).collect();
    let words = |one: &&landfall_store::Formation| format!("{}={}:{}", one.entry.process_type, one.entry.quantity, one.entry.size.name());
    let detail = touched.iter().map(words).collect::<Vec<_>>().join(" ");
    api.audit(Some(&at.caller.principal), "formation.scale", Some(&at.scope), detail, at.caller.address).await;
    Ok(touched.into_iter().map(|one| shapes::formation(&app, one)).collect())
}

fn change(process_type: &str, update: &Update) -> Result<FormationChange, ApiError> {
    if update.docker_image.is_some() {
        return Err(ApiError::invalid("Images cannot be released by this server yet. Deploy with: git push landfall main"));
    }
    let process_type: ProcessType = process_type.parse()?;
    let size = reference(&update.size).or_else(|| reference(&update.dyno_size)).map(size_named).transpose()?;
    Ok(FormationChange { quantity: quantity(&process_type, &update.quantity)?, process_type, size })
}

fn size_named(text: &str) -> Result<DynoSize, ApiError> {
    let by_id = DynoSize::ALL.into_iter().find(|size| shapes::name_id("dyno-size", size.name()).to_string() == text);
    by_id.map_or_else(|| text.parse().map_err(ApiError::from), Ok)
}

/// 2, "2", "+1", "-1".
fn quantity(process_type: &ProcessType, value: &Value) -> Result<Option<QuantityChange>, ApiError> {
    let wrong = || {
        ApiError::invalid(format!(
            "The quantity of {process_type} must be 0 to {MAX_QUANTITY}, or a step such as +1 or -1. Example: landfall ps:scale {process_type}=2"
        ))
    };
    let absolute =
        |number: i64| u32::try_from(number).ok().filter(|number| *number <= MAX_QUANTITY).map(QuantityChange::To).ok_or_else(wrong);
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => absolute(number.as_i64().ok_or_else(wrong)?).map(Some),
        Value::String(text) if text.starts_with(['+', '-']) => text.parse().map(|step| Some(QuantityChange::By(step))).map_err(|_| wrong()),
        Value::String(text) => absolute(text.parse().map_err(|_| wrong())?).map(Some),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_come_as_numbers_strings_and_steps() {
        let web = ProcessType::web();
        let read = |value: Value| quantity(&web, &value);
        assert_eq!(read(json!(2)).unwrap(), Some(QuantityChange::To(2)));
        assert_eq!(read(json!("2")).unwrap(), Some(QuantityChange::To(2)));
        assert_eq!(read(json!("+1")).unwrap(), Some(QuantityChange::By(1)));
        assert_eq!(read(json!("-1")).unwrap(), Some(QuantityChange::By(-1)));
        assert_eq!(read(Value::Null).unwrap(), None);
        for bad in [json!(10_000), json!(-1), json!(1.5), json!("many"), json!([]), json!("99999999999999999999")] {
            assert_eq!(read(bad.clone()).unwrap_err().status.as_u16(), 422, "{bad}");
        }
    }
}
