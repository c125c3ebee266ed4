//! One-off dynos and commands in running dynos.

use std::collections::{BTreeMap, HashMap};

use axum::extract::{Path, State};
use landfall_model::ConfigKey;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::dynos::find;
use super::reference;
use crate::auth::AppAccess;
use crate::error::{ApiError, ApiResult};
use crate::http::body::Body;
use crate::http::reply::created;
use crate::platform::{ExecCommand, RunSpec};
use crate::{ApiState, attach, shapes};

/// Body of `POST /apps/{app}/dynos`.
#[derive(Deserialize)]
pub(crate) struct Run {
    command: String,
    #[serde(default)]
    attach: bool,
    #[serde(default)]
    force_no_tty: Option<bool>,
    #[serde(default)]
    size: Value,
    #[serde(default, rename = "type")]
    process_type: Option<String>,
    #[serde(default)]
    env: Map<String, Value>,
}

/// `POST /apps/{app}/dynos`.
pub(crate) async fn run(State(api): State<ApiState>, at: AppAccess, Body(run): Body<Run>) -> ApiResult {
    if run.command.trim().is_empty() {
        return Err(ApiError::invalid("Say what to run. Example: landfall run -- env"));
    }
    let (env, window) = environment(&run.env)?;
    let spec = RunSpec {
        tty: run.attach && !run.force_no_tty.unwrap_or(false),
        attach: run.attach,
        size: reference(&run.size).map(str::parse).transpose()?,
        process_type: run.process_type.as_deref().filter(|text| !text.is_empty()).map(str::parse).transpose()?,
        command: run.command,
        env,
        window,
        user: at.caller.principal.account_id(),
        user_email: at.caller.principal.email().to_owned(),
    };
    let started = api.platform().run(at.scope.app_id(), spec).await?;
    api.audit(Some(&at.caller.principal), "dyno.run", Some(&at.scope), started.dyno.name.to_string(), at.caller.address).await;
    let app = api.store().app_get(&at.scope).await?;
    let url = started.attachment.map(|secret| attach_url(&api, &at, secret));
    Ok(created(&shapes::dyno(&app, &started.dyno, url)))
}

/// Body of `POST /apps/{app}/dynos/{dyno}/actions/exec`.
#[derive(Deserialize)]
pub(crate) struct Exec {
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    tty: bool,
    #[serde(default)]
    env: Map<String, Value>,
}

/// `POST /apps/{app}/dynos/{dyno}/actions/exec`: Landfall's own.
pub(crate) async fn exec(
    State(api): State<ApiState>,
    at: AppAccess,
    Path(path): Path<HashMap<String, String>>,
    Body(exec): Body<Exec>,
) -> ApiResult {
    let dyno = find(&api, &at, &path).await?;
    let (env, window) = environment(&exec.env)?;
    let name = dyno.name;
    let secret = api.platform().exec(at.scope.app_id(), dyno.id, ExecCommand { args: exec.args, tty: exec.tty, env, window }).await?;
    api.audit(Some(&at.caller.principal), "dyno.exec", Some(&at.scope), name.to_string(), at.caller.address).await;
    Ok(created(&json!({ "dyno": name, "attach_url": attach_url(&api, &at, secret) })))
}

fn attach_url(api: &ApiState, at: &AppAccess, secret: String) -> String {
    let ticket: attach::Ticket = (at.grant(), secret);
    api.url(&format!("/attach/{}", api.config().ticket_key.seal(attach::PURPOSE, &ticket)))
}

/// An environment, and the window's size where `COLUMNS` and `LINES` tell it (numbers, 0 when unknown).
type Environment = (BTreeMap<String, String>, Option<(u16, u16)>);

fn environment(given: &Map<String, Value>) -> Result<Environment, ApiError> {
    let mut env = BTreeMap::new();
    for (key, value) in given {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            _ => return Err(ApiError::invalid(format!("The environment value of {} must be a string.", key.escape_default()))),
        };
        if text.contains('\0') {
            return Err(ApiError::invalid(format!(
                "The environment value of {} holds a NUL character, which no process can receive.",
                key.escape_default()
            )));
        }
        env.insert(key.parse::<ConfigKey>()?.to_string(), text);
    }
    let side = |name: &str| env.get(name).and_then(|text| text.parse::<u16>().ok()).filter(|side| *side > 0);
    let window = side("COLUMNS").zip(side("LINES"));
    // A PTY tells its size by itself, also after a resize; fixed variables would contradict it.
    env.remove("COLUMNS");
    env.remove("LINES");
    Ok((env, window))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_comes_out_of_the_environment() {
        let given = json!({ "TERM": "xterm", "COLUMNS": 80, "LINES": "24", "A": true });
        let (env, window) = environment(given.as_object().unwrap()).unwrap();
        assert_eq!(window, Some((80, 24)));
        assert_eq!(env, BTreeMap::from([("TERM".into(), "xterm".into()), ("A".into(), "true".into())]));
        for bad in [json!({ "a b": "c" }), json!({ "A": {} }), json!({ "A": "\0" }), json!({ "PORT": "1" })] {
            assert_eq!(environment(bad.as_object().unwrap()).unwrap_err().status.as_u16(), 422, "{bad}");
        }
    }
}
