//! What a failed request says: `{id, message, url?}` with Heroku's error ids, and in the message what to do next.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use landfall_model::chain;
use serde_json::json;

use crate::platform::PlatformError;

/// A refusal on its way to a client. Internals never enter it: they go to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable error id (<https://devcenter.heroku.com/articles/platform-api-reference#error-responses>).
    pub id: &'static str,
    /// What failed, why, and what to type next.
    pub message: String,
    /// The kind of thing that was not found, where the Heroku CLI looks at it.
    pub resource: Option<&'static str>,
}

/// What handlers return.
pub(crate) type ApiResult<T = Response> = Result<T, ApiError>;

impl ApiError {
    /// Any status and id.
    pub fn new(status: StatusCode, id: &'static str, message: impl Into<String>) -> Self {
        Self { status, id, message: message.into(), resource: None }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Invalid credentials provided. Log in with: landfall login")
    }

    /// 404: absent and "not yours" are the same answer.
    pub fn not_found(what: &str, hint: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("Couldn't find that {what}. {hint}"))
    }

    /// 404 with the `resource` field that the Heroku CLI tests.
    pub fn not_found_resource(resource: &'static str) -> Self {
        Self { resource: Some(resource), ..Self::not_found(resource, "Make a new token with: landfall login") }
    }

    /// 404 for an app.
    pub fn no_app() -> Self {
        Self { resource: Some("app"), ..Self::not_found("app", "See your apps with: landfall apps") }
    }

    /// 409.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// 422.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_params", message)
    }

    /// 500. The chain is logged here, once, and not shown.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error.chain = %chain(error), "request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_server_error",
            "Landfall made a mistake. The operator finds the reason in the server's log by this request's Request-Id. Check the machine with: landfall doctor",
        )
    }
}

impl From<PlatformError> for ApiError {
    fn from(error: PlatformError) -> Self {
        match error {
            PlatformError::NotFound(message) => Self::new(StatusCode::NOT_FOUND, "not_found", message),
            PlatformError::Conflict(message) => Self::conflict(message),
            PlatformError::Invalid(message) => Self::invalid(message),
            PlatformError::Limit(message) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "limit_reached", message),
            PlatformError::Unavailable(message) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", message),
            PlatformError::DiskFull(message) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "disk_full", message),
            PlatformError::Internal(_) => Self::internal(&error),
        }
    }
}

impl From<landfall_store::StoreError> for ApiError {
    fn from(error: landfall_store::StoreError) -> Self {
        use landfall_store::StoreError as E;
        let (status, id) = match &error {
            E::NotFound { what: "app" } => return Self::no_app(),
            E::NotFound { .. } | E::NoSuchProcessType { .. } => (StatusCode::NOT_FOUND, "not_found"),
            E::Forbidden { .. } => (StatusCode::FORBIDDEN, "forbidden"),
            E::BuildFinished { .. } | E::ReleaseFinished { .. } => (StatusCode::CONFLICT, "conflict"),
            E::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "service_unavailable"),
            E::DiskFull(_) => (StatusCode::SERVICE_UNAVAILABLE, "disk_full"),
            E::UserBlocksExhausted { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "limit_reached"),
            _ if matches!(
                error.code(),
                "internal" | "database_corrupt" | "database_too_new" | "migration_changed" | "key_file" | "unsealable" | "bad_database_url"
            ) =>
            {
                return Self::internal(&error);
            }
            _ => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_params"),
        };
        if status.is_server_error() {
            tracing::error!(error.chain = %chain(&error), "the store did not answer a request");
        }
        Self::new(status, id, format!("{} {}", capitalised(&error.to_string()), capital(error.hint())))
    }
}

impl From<landfall_model::NameError> for ApiError {
    fn from(error: landfall_model::NameError) -> Self {
        let next = match error.what {
            "app name" => "Example: landfall create blog",
            "config key" => "Example: landfall config:set GREETING=hi",
            "domain" => "Example: landfall domains:add www.example.com",
            "process type" => "See the types with: landfall ps:scale",
            _ => "See what runs with: landfall ps",
        };
        Self::invalid(format!("{} {next}", capitalised(&error.to_string())))
    }
}

impl From<landfall_model::UnknownSize> for ApiError {
    fn from(error: landfall_model::UnknownSize) -> Self {
        Self::invalid(format!("{} Example: landfall ps:type web=standard-1x", capitalised(&error.to_string())))
    }
}

/// First letter upper case. What ends with something to type has no full stop: it would be typed too.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    first + letters.as_str()
}

/// First letter upper case, and a full stop at the end.
pub(crate) fn capitalised(text: &str) -> String {
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    capital(text) + stop
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({ "id": self.id, "message": self.message });
        if let Some(resource) = self.resource {
            body["resource"] = resource.into();
        }
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"landfall\""));
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_sentences() {
        let error: ApiError = "a=b".parse::<landfall_model::ConfigKey>().unwrap_err().into();
        assert_eq!((error.status.as_u16(), error.id), (422, "invalid_params"));
        assert_eq!(
            error.message,
            "Config key \"a=b\" may hold only letters, digits and underscores. Example: landfall config:set GREETING=hi"
        );
    }
}
