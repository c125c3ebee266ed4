//! Who is looking: the session cookie, and the token every form must carry.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};
use landfall_store::{AppScope, Grant, Principal};
use sha2::{Digest as _, Sha256};

use super::pages;
use crate::ApiState;
use crate::auth::{AppAccess, Caller, authorize};
use crate::error::ApiError;
use crate::http::conventions::peer;

const COOKIE: &str = "landfall_session";
/// Over HTTPS: a cookie of this name is taken by browsers from this very host only, never from one above or beside it.
const HOST_COOKIE: &str = "__Host-landfall_session";
const CSRF: &str = "csrf";

/// A logged-in browser.
pub(super) struct Session {
    pub(super) caller: Caller,
    token: String,
}

impl Session {
    /// What this session's forms must carry.
    pub(super) fn csrf(&self, state: &ApiState) -> String {
        state.config().ticket_key.seal(CSRF, &hex::encode(Sha256::digest(&self.token)))
    }

    /// Refuses a form that was not made for this session.
    pub(super) fn check(&self, state: &ApiState, given: &str) -> Result<(), Page> {
        let sealed: Option<String> = state.config().ticket_key.open(CSRF, given);
        if sealed == Some(hex::encode(Sha256::digest(&self.token))) {
            return Ok(());
        }
        let message = "That form is out of date. Go back, reload the page and try again.";
        Err(Page::error(state, &ApiError::new(axum::http::StatusCode::FORBIDDEN, "forbidden", message)))
    }
}

/// A logged-in browser at an app it may see.
pub(super) struct AppSession {
    pub(super) session: Session,
    pub(super) scope: AppScope,
}

impl AppSession {
    /// The same right, for what outlasts the request.
    pub(super) fn grant(&self) -> Grant {
        self.session.caller.principal.grant(&self.scope)
    }

    /// The same as the API's handlers get.
    pub(super) fn access(self) -> AppAccess {
        AppAccess { caller: self.session.caller, scope: self.scope }
    }
}

/// An answer instead of the page that was asked for: the login form, or a page that says what went wrong.
pub(super) struct Page(Box<Response>);

impl Page {
    pub(super) fn error(state: &ApiState, error: &ApiError) -> Self {
        Self(Box::new(pages::error(state, error)))
    }

    fn login() -> Self {
        Self(Box::new(Redirect::to("/login").into_response()))
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        *self.0
    }
}

fn cookie_name(state: &ApiState) -> &'static str {
    if state.config().public_url.starts_with("https://") { HOST_COOKIE } else { COOKIE }
}

fn cookie<'a>(state: &ApiState, headers: &'a HeaderMap) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|text| text.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(cookie_name(state))?.strip_prefix('='))
        .filter(|value| !value.is_empty())
}

/// `Set-Cookie` for a fresh session; `None` ends it.
pub(super) fn set_cookie(state: &ApiState, token: Option<&str>) -> String {
    let name = cookie_name(state);
    let secure = if name == HOST_COOKIE { "; Secure" } else { "" };
    let (value, age) = token.map_or(("", 0), |token| (token, state.config().session_lifetime.as_secs()));
    format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}")
}

/// The account behind the cookie, if it still is good.
pub(super) async fn current(state: &ApiState, headers: &HeaderMap, from: Option<IpAddr>) -> Result<Option<(Principal, String)>, ApiError> {
    let Some(token) = cookie(state, headers) else { return Ok(None) };
    Ok(state.store().authenticate_token(token, from).await?.map(|principal| (principal, token.to_owned())))
}

impl FromRequestParts<ApiState> for Session {
    type Rejection = Page;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Page> {
        let address = peer(&parts.extensions);
        let found = current(state, &parts.headers, address).await.map_err(|error| Page::error(state, &error))?;
        let (principal, token) = found.ok_or_else(Page::login)?;
        Ok(Self { caller: Caller { principal, address }, token })
    }
}

impl FromRequestParts<ApiState> for AppSession {
    type Rejection = Page;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Page> {
        let session = Session::from_request_parts(parts, state).await?;
        let scope = authorize(parts, state, &session.caller.principal).await.map_err(|error| Page::error(state, &error))?;
        Ok(Self { session, scope })
    }
}
