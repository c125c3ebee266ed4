//! Request bodies: JSON, capped, and errors that say what is wrong with them.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use crate::error::ApiError;

/// Most bodies are a few names.
pub(crate) const SMALL_BODY: usize = 64 * 1024;
/// Config values may be 1 MB each and grow when escaped in JSON.
pub(crate) const CONFIG_BODY: usize = 8 * 1024 * 1024;

/// A JSON body. An empty body is an empty object (the Heroku CLI posts without one).
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let kind = request.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default().to_ascii_lowercase());
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                ApiError::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "request_too_large",
                    "The request body is too large: 64 KiB for most calls, 8 MiB for config vars. Send less at once.",
                )
            } else {
                ApiError::bad_request("The request body broke off. Send it again.")
            }
        })?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return parse(b"{}").map(Self);
        }
        let media = kind.as_deref().and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        if media != "application/json" && !media.ends_with("+json") {
            let message = "The request body must be JSON: send the header Content-Type: application/json.";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
        }
        parse(&bytes).map(Self)
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        if error.is_data() {
            ApiError::invalid(format!("The request is not what this call takes: {}.", without_values(&error)))
        } else {
            ApiError::bad_request(format!("The request body is not valid JSON (line {}, column {}).", error.line(), error.column()))
        }
    })
}

/// serde quotes the offending value; a config value must not come back in an error (it may be logged by the client).
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match (text.find('`'), text.starts_with("invalid type") || text.starts_with("invalid value")) {
        (_, true) => text.split(", ").skip(1).collect::<Vec<_>>().join(", "),
        _ => text,
    }
}
