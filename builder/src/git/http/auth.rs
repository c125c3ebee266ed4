//! `Authorization: Basic`: the password is an API token, the user name is not looked at (as with Heroku's git).

use std::net::IpAddr;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use landfall_model::SecretString;

use super::respond;
use crate::git::{Identity, Receiver};

/// Who asks, or the answer to give instead.
pub(super) async fn who(receiver: &Receiver, headers: &HeaderMap, from: Option<IpAddr>) -> Result<Identity, Box<Response<Body>>> {
    let Some(given) = headers.get(AUTHORIZATION) else { return Err(Box::new(challenge("Log in first: landfall login"))) };
    let Some(token) = password(given) else { return Err(Box::new(challenge("Use an API token as the password."))) };
    match receiver.access().by_token(&token, from).await {
        Ok(Some(who)) => Ok(who),
        Ok(None) => Err(Box::new(challenge("The token is not valid (any more). Log in again: landfall login"))),
        Err(error) => Err(Box::new(respond::text(StatusCode::SERVICE_UNAVAILABLE, &error.message))),
    }
}

fn challenge(words: &str) -> Response<Body> {
    let mut response = respond::text(StatusCode::UNAUTHORIZED, words);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Landfall\", charset=\"UTF-8\""));
    response
}

fn password(header: &HeaderValue) -> Option<SecretString> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (_, password) = decoded.split_once(':')?;
    (!password.is_empty() && password.len() <= 512).then(|| SecretString::new(password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_the_token() {
        let read = |text: &str| password(&HeaderValue::from_str(text).unwrap()).map(|secret| secret.expose().to_owned());
        let basic = |text: &str| read(&format!("Basic {}", STANDARD.encode(text)));
        assert_eq!(basic("any:t0:ken").as_deref(), Some("t0:ken"));
        assert_eq!(basic(":t").as_deref(), Some("t"));
        assert_eq!(read(&format!("basic {}", STANDARD.encode("x:y"))).as_deref(), Some("y"));
        for bad in
            [basic("no colon"), basic("u:"), read("Bearer x"), read("Basic !!"), read("Basic"), basic(&format!("u:{}", "x".repeat(600)))]
        {
            assert_eq!(bad, None);
        }
    }
}
