//! JSON answers.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::Value;

/// A JSON body, with `Last-Modified` when the object says when it changed.
pub(crate) fn reply(status: StatusCode, body: &Value) -> Response {
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response();
    let changed = body.get("updated_at").and_then(Value::as_str).and_then(|text| text.parse::<Timestamp>().ok());
    if let Some(value) = changed.and_then(|at| HeaderValue::from_str(&at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()).ok()) {
        response.headers_mut().insert(header::LAST_MODIFIED, value);
    }
    response
}

/// 200.
pub(crate) fn ok(body: &Value) -> Response {
    reply(StatusCode::OK, body)
}

/// 201.
pub(crate) fn created(body: &Value) -> Response {
    reply(StatusCode::CREATED, body)
}

/// 202 with an empty object, for things that are now under way.
pub(crate) fn accepted() -> Response {
    reply(StatusCode::ACCEPTED, &Value::Object(serde_json::Map::new()))
}

/// A time as Heroku writes it: whole seconds, UTC.
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
