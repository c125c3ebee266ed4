//! Output of builds and release phases: `text/plain`, live to its end, opened by the ticket in the URL.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use landfall_model::{AppId, BuildId, ReleaseId};

use crate::ApiState;
use crate::error::{ApiError, ApiResult};
use crate::platform::OutputStream;

fn plain(stream: OutputStream) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Body::from_stream(stream)).into_response()
}

fn gone() -> ApiError {
    ApiError::not_found("output stream", "Ask for its URL again, with: landfall builds:info or landfall releases:output")
}

/// `GET /streams/builds/{ticket}`.
pub(crate) async fn build(State(api): State<ApiState>, Path(ticket): Path<String>) -> ApiResult {
    let (app, build): (AppId, BuildId) = api.config().ticket_key.open("build-output", &ticket).ok_or_else(gone)?;
    Ok(plain(api.platform().build_output(app, build).await?))
}

/// `GET /streams/releases/{ticket}`.
pub(crate) async fn release(State(api): State<ApiState>, Path(ticket): Path<String>) -> ApiResult {
    let (app, release): (AppId, ReleaseId) = api.config().ticket_key.open("release-output", &ticket).ok_or_else(gone)?;
    Ok(plain(api.platform().release_output(app, release).await?.ok_or_else(gone)?))
}
