//! Logging in and tokens: `/oauth/authorizations`, `/oauth/sessions/~`.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::extract::{FromRequestParts, Path, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use jiff::Timestamp;
use landfall_model::{AuthorizationId, network_of};
use landfall_store::{NewAuthorization, Principal};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::auth::{Caller, basic};
use crate::error::{ApiError, ApiResult};
use crate::http::body::Body;
use crate::http::conventions::peer;
use crate::http::range::ListRange;
use crate::http::reply::{created, ok};
use crate::{ApiState, shapes};

/// A caller with a token, or with an e-mail address and a password: only making a token takes the latter.
pub(crate) struct LoginCaller(Caller);

impl FromRequestParts<ApiState> for LoginCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let Some((email, password)) = basic(&parts.headers).filter(|(user, _)| user.contains('@')) else {
            return Caller::from_request_parts(parts, state).await.map(Self);
        };
        let address = peer(&parts.extensions);
        let principal = password_login(state, &email, &password, address).await?;
        Ok(Self(Caller { principal, address }))
    }
}

/// Checks a password: limited in tries, written to the audit log either way. The dashboard's form uses it too.
///
/// Tries are counted by account, whoever guesses, and by network, whatever account is guessed. A right password takes nothing.
pub(crate) async fn password_login(state: &ApiState, email: &str, password: &str, address: Option<IpAddr>) -> Result<Principal, ApiError> {
    let email = email.trim().to_lowercase();
    let (network, account) = (address.map(network_of), Sha256::digest(email.as_bytes()).into());
    let now = Instant::now();
    if state.logins_by_network().take(&network, now).is_none() || state.logins_by_account().take(&account, now).is_none() {
        let message = "Too many login attempts. Wait a minute, then run: landfall login";
        return Err(ApiError::new(axum::http::StatusCode::TOO_MANY_REQUESTS, "rate_limit", message));
    }
    let Some(principal) = state.store().authenticate_password(&email, password).await? else {
        let shown: String = email.chars().take(100).flat_map(char::escape_default).collect();
        state.audit(None, "login.failed", None, shown, address).await;
        return Err(ApiError::new(
            axum::http::StatusCode::UNAUTHORIZED,
            "unauthorized",
            "Invalid email or password. Try again: landfall login",
        ));
    };
    state.logins_by_network().give_back(&network);
    state.logins_by_account().give_back(&account);
    state.audit(Some(&principal), "login", None, "password".to_owned(), address).await;
    Ok(principal)
}

/// Body of `POST /oauth/authorizations`.
#[derive(Deserialize)]
pub(crate) struct New {
    description: Option<String>,
    /// Seconds; the Heroku CLI sends a string at times.
    #[serde(default)]
    expires_in: Value,
    scope: Option<Vec<String>>,
}

/// `POST /oauth/authorizations`.
pub(crate) async fn create(State(api): State<ApiState>, LoginCaller(caller): LoginCaller, Body(new): Body<New>) -> ApiResult {
    if let Some(other) = new.scope.iter().flatten().find(|scope| *scope != "global") {
        return Err(ApiError::invalid(format!(
            "Tokens have the scope \"global\" only, not \"{}\". Leave scope out.",
            other.escape_default()
        )));
    }
    let seconds = match &new.expires_in {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.parse::<u64>().ok().filter(|seconds| *seconds > 0).ok_or_else(bad_lifetime)?),
        Value::Number(number) => Some(number.as_u64().filter(|seconds| *seconds > 0).ok_or_else(bad_lifetime)?),
        _ => return Err(bad_lifetime()),
    };
    let description =
        new.description.map_or_else(|| "API token".to_owned(), |text| text.chars().filter(|c| !c.is_control()).take(200).collect());
    let lifetime = seconds.map(|seconds| Duration::from_secs(seconds.min(10 * 365 * 24 * 3600)));
    let new = NewAuthorization { description, expires_in: lifetime };
    let (authorization, token) = api.store().authorization_create(&caller.principal, new).await?;
    api.audit(Some(&caller.principal), "token.create", None, authorization.description.clone(), caller.address).await;
    Ok(created(&shapes::authorization(&authorization, Some(token.expose()), Timestamp::now())))
}

fn bad_lifetime() -> ApiError {
    ApiError::invalid("expires_in is a number of seconds, such as 2592000 for 30 days.")
}

/// `GET /oauth/authorizations`.
pub(crate) async fn list(State(api): State<ApiState>, caller: Caller, headers: HeaderMap) -> ApiResult {
    let all = api.store().authorization_list(&caller.principal).await?;
    let now = Timestamp::now();
    ListRange::of(&headers)?.answer(&["id", "description"], all.iter().map(|one| shapes::authorization(one, None, now)).collect())
}

/// `~` is the token of this very request.
fn wanted(caller: &Caller, text: &str, resource: &'static str) -> Result<AuthorizationId, ApiError> {
    let id = if text == "~" { caller.principal.authorization_id() } else { text.parse().ok() };
    id.ok_or_else(|| ApiError::not_found_resource(resource))
}

/// `GET /oauth/authorizations/{authorization}`.
pub(crate) async fn info(State(api): State<ApiState>, caller: Caller, Path(id): Path<String>) -> ApiResult {
    let one = api.store().authorization_get(&caller.principal, wanted(&caller, &id, "authorization")?).await?;
    Ok(ok(&shapes::authorization(&one, None, Timestamp::now())))
}

/// `DELETE /oauth/authorizations/{authorization}`.
pub(crate) async fn delete(state: State<ApiState>, caller: Caller, Path(id): Path<String>) -> ApiResult {
    revoke(state, caller, &id, "authorization").await
}

/// `DELETE /oauth/sessions/{session}`: a session is the token that was made at login.
pub(crate) async fn session_delete(state: State<ApiState>, caller: Caller, Path(id): Path<String>) -> ApiResult {
    revoke(state, caller, &id, "session").await
}

async fn revoke(State(api): State<ApiState>, caller: Caller, id: &str, resource: &'static str) -> ApiResult {
    let one = api.store().authorization_delete(&caller.principal, wanted(&caller, id, resource)?).await?;
    api.audit(Some(&caller.principal), "token.revoke", None, one.description.clone(), caller.address).await;
    Ok(ok(&shapes::authorization(&one, None, Timestamp::now())))
}
