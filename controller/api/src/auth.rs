//! The one place that turns credentials into a [`Principal`] and a path into an [`AppScope`] (trust rules R3 and R5).
//!
//! Tokens come as `Authorization: Bearer <token>`, or as the password of `Authorization: Basic` (git and several HTTP clients know no
//! other way). The store finds tokens by their hash, and checks passwords off the async threads, two at a time.

use std::net::IpAddr;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use landfall_store::{AppIdentity, AppScope, Grant, Principal};

use crate::ApiState;
use crate::error::ApiError;
use crate::http::conventions::peer;

/// Somebody who proved who they are, and from where.
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    pub(crate) address: Option<IpAddr>,
}

/// Whose token a request came with, if anybody's: found once, before the request is counted.
#[derive(Clone)]
pub(crate) struct Authenticated(pub(crate) Option<Principal>);

impl Authenticated {
    pub(crate) async fn by(state: &ApiState, token: Option<String>, from: Option<IpAddr>) -> Result<Self, ApiError> {
        match token {
            Some(token) => Ok(Self(state.store().authenticate_token(&token, from).await?)),
            None => Ok(Self(None)),
        }
    }
}

/// A caller with the right to touch the app named in the path.
pub(crate) struct AppAccess {
    pub(crate) caller: Caller,
    pub(crate) scope: AppScope,
}

impl AppAccess {
    /// The same right, for what outlasts the request.
    pub(crate) fn grant(&self) -> Grant {
        self.caller.principal.grant(&self.scope)
    }
}

/// `user:password` of a Basic header.
pub(crate) fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let encoded = scheme(headers, "basic")?;
    let text = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(encoded).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// The token of a request, however it is given.
pub(crate) fn token(headers: &HeaderMap) -> Option<String> {
    scheme(headers, "bearer").map(str::to_owned).or_else(|| basic(headers).map(|(_, password)| password)).filter(|token| !token.is_empty())
}

fn scheme<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let (scheme, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case(wanted).then(|| rest.trim())
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let address = peer(&parts.extensions);
        let found = match parts.extensions.get::<Authenticated>() {
            Some(found) => found.clone(),
            None => Authenticated::by(state, token(&parts.headers), address).await?,
        };
        Ok(Self { principal: found.0.ok_or_else(ApiError::unauthorized)?, address })
    }
}

impl FromRequestParts<ApiState> for AppAccess {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let scope = authorize(parts, state, &caller.principal).await?;
        Ok(Self { caller, scope })
    }
}

/// The right to the app named `{app}` in the route. Also used by the dashboard, after its own cookie.
pub(crate) async fn authorize(parts: &mut Parts, state: &ApiState, principal: &Principal) -> Result<AppScope, ApiError> {
    let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| ApiError::no_app())?;
    let name = params.iter().find(|(key, _)| *key == "app").map(|(_, value)| value.to_owned()).ok_or_else(ApiError::no_app)?;
    let identity = AppIdentity::parse(&name).ok_or_else(ApiError::no_app)?;
    Ok(state.store().authorize(principal, &identity).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_as_bearer_or_as_basic_password() {
        let with = |value: &str| HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
        assert_eq!(token(&with("Bearer abc")).as_deref(), Some("abc"));
        assert_eq!(token(&with("bearer  abc ")).as_deref(), Some("abc"));
        assert_eq!(token(&with("Basic OmFiYw==")).as_deref(), Some("abc"));
        assert_eq!(basic(&with("Basic YUBiLmM6cDpx")), Some(("a@b.c".into(), "p:q".into())));
        for bad in ["Bearer", "Basic !!", "Basic Og==", "Digest x", ""] {
            assert_eq!(token(&with(bad)), None, "{bad}");
        }
    }
}
