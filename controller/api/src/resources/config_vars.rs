//! `/apps/{app}/config-vars`.

use std::collections::BTreeMap;

use axum::extract::State;
use landfall_model::{ConfigKey, ConfigVars, SecretString};
use serde_json::{Map, Value};

use crate::ApiState;
use crate::auth::AppAccess;
use crate::error::{ApiError, ApiResult};
use crate::http::body::Body;
use crate::http::reply::ok;

/// The owner asked for the values, so here they are shown.
pub(crate) fn shown(vars: &ConfigVars) -> Value {
    Value::Object(vars.iter_exposed().map(|(key, value)| (key.to_owned(), Value::from(value))).collect::<Map<_, _>>())
}

/// `GET /apps/{app}/config-vars`.
pub(crate) async fn get(State(api): State<ApiState>, at: AppAccess) -> ApiResult {
    let vars = api.store().config_get(&at.scope).await?;
    api.audit(Some(&at.caller.principal), "secret.read", Some(&at.scope), "config vars".to_owned(), at.caller.address).await;
    Ok(ok(&shown(&vars)))
}

/// `PATCH /apps/{app}/config-vars`: `null` unsets. The new release exists before this answers.
pub(crate) async fn update(State(api): State<ApiState>, at: AppAccess, Body(given): Body<Map<String, Value>>) -> ApiResult {
    let mut changes = BTreeMap::new();
    for (key, value) in given {
        let key: ConfigKey = key.parse()?;
        let value = match value {
            Value::Null => None,
            Value::String(text) => Some(SecretString::new(text)),
            _ => {
                return Err(ApiError::invalid(format!(
                    "The value of {key} must be a string, or null to unset it. Quote it: {{\"{key}\": \"1\"}}."
                )));
            }
        };
        changes.insert(key, value);
    }
    let patched = api.store().config_patch(&at.scope, &changes).await?;
    // Either way the answer shows every value there is.
    let (action, detail) = match &patched.release {
        Some(release) => {
            api.platform().wake(at.scope.app_id());
            ("config.set", format!("{}: {}; config vars shown", release.version, release.description))
        }
        None => ("secret.read", "config vars, by a change that changed nothing".to_owned()),
    };
    api.audit(Some(&at.caller.principal), action, Some(&at.scope), detail, at.caller.address).await;
    Ok(ok(&shown(&patched.config)))
}
