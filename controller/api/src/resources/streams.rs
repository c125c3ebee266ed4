//! Output of builds and release phases: `text/plain`, live to its end, opened by the ticket in the URL, which is good for as long as whoever was given it
//! may see the app.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;
use landfall_model::{BuildId, ReleaseId};
use landfall_store::Grant;

use crate::ApiState;
use crate::error::{ApiError, ApiResult};
use crate::http::lasting::while_granted;

fn plain(stream: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static) -> Response {
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

/// A ticket is as good as the right it was given for.
async fn still(api: &ApiState, grant: &Grant) -> ApiResult<()> {
    if api.store().grant_holds(grant).await? { Ok(()) } else { Err(gone()) }
}

/// `GET /streams/builds/{ticket}`.
pub(crate) async fn build(State(api): State<ApiState>, Path(ticket): Path<String>) -> ApiResult {
    let (grant, build): (Grant, BuildId) = api.config().ticket_key.open("build-output", &ticket).ok_or_else(gone)?;
    still(&api, &grant).await?;
    let output = api.platform().build_output(grant.app_id(), build).await?;
    Ok(plain(while_granted(&api, grant, output)))
}

/// `GET /streams/releases/{ticket}`.
pub(crate) async fn release(State(api): State<ApiState>, Path(ticket): Path<String>) -> ApiResult {
    let (grant, release): (Grant, ReleaseId) = api.config().ticket_key.open("release-output", &ticket).ok_or_else(gone)?;
    still(&api, &grant).await?;
    let output = api.platform().release_output(grant.app_id(), release).await?.ok_or_else(gone)?;
    Ok(plain(while_granted(&api, grant, output)))
}
