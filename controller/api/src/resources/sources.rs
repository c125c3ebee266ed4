//! `/sources`: upload a tarball, then name it in `POST /apps/{app}/builds`.
//!
//! The put and get URLs carry their own permission (clients send no credentials with them). An upload that no build took is removed
//! an hour later, by the next `POST /sources`.

use std::path::PathBuf;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use landfall_model::AccountId;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use crate::ApiState;
use crate::auth::Caller;
use crate::error::{ApiError, ApiResult};
use crate::http::reply::created;

/// How long an upload waits for its build.
const KEPT: Duration = Duration::from_hours(1);
const PURPOSE: &str = "source";
/// The end of the name of a file that a build takes, and removes.
pub const IN_USE: &str = "build";

/// What a source's ticket says.
type Ticket = (Uuid, AccountId);

/// `POST /sources`.
pub(crate) async fn create(State(api): State<ApiState>, caller: Caller) -> ApiResult {
    let dir = &api.config().uploads_dir;
    tokio::fs::create_dir_all(dir).await.map_err(|error| ApiError::internal(&error))?;
    remove_old(dir).await;
    let ticket: Ticket = (Uuid::new_v4(), caller.principal.account_id());
    let url = api.url(&format!("/sources/{}", api.config().ticket_key.seal(PURPOSE, &ticket)));
    Ok(created(&json!({ "source_blob": { "put_url": url, "get_url": url } })))
}

async fn remove_old(dir: &std::path::Path) {
    let Ok(mut entries) = tokio::fs::read_dir(dir).await else { return };
    while let Ok(Some(entry)) = entries.next_entry().await {
        if entry.path().extension().is_some_and(|extension| extension == IN_USE) {
            continue;
        }
        let age = entry.metadata().await.ok().and_then(|meta| meta.modified().ok()?.elapsed().ok());
        if age.is_some_and(|age| age > KEPT) {
            let _ = tokio::fs::remove_file(entry.path()).await;
        }
    }
}

fn file_of(api: &ApiState, ticket: &str) -> Result<(PathBuf, AccountId), ApiError> {
    let (id, owner): Ticket = api
        .config()
        .ticket_key
        .open(PURPOSE, ticket)
        .ok_or_else(|| ApiError::not_found("source", "Get an upload URL with POST /sources."))?;
    Ok((api.config().uploads_dir.join(format!("{id}.tar")), owner))
}

/// `PUT /sources/{ticket}`. The file appears whole or not at all.
pub(crate) async fn upload(State(api): State<ApiState>, Path(ticket): Path<String>, body: Body) -> ApiResult {
    let (path, _) = file_of(&api, &ticket)?;
    let part = path.with_extension(Uuid::new_v4().to_string());
    let result = receive(&part, body, api.config().max_upload_bytes).await;
    let result = match result {
        Ok(()) => tokio::fs::rename(&part, &path).await.map_err(|error| disk(&error)),
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        let _ = tokio::fs::remove_file(&part).await;
        return Err(error);
    }
    Ok(StatusCode::OK.into_response())
}

async fn receive(part: &std::path::Path, body: Body, limit: u64) -> Result<(), ApiError> {
    let mut file = tokio::fs::File::create(part).await.map_err(|error| disk(&error))?;
    let (mut stream, mut total) = (body.into_data_stream(), 0);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| ApiError::bad_request("The upload broke off. Send it again."))?;
        total += chunk.len() as u64;
        if total > limit {
            let message =
                format!("The source is larger than {} MiB. Leave files out with .slugignore or .gitignore.", limit / (1024 * 1024));
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message));
        }
        file.write_all(&chunk).await.map_err(|error| disk(&error))?;
    }
    file.flush().await.map_err(|error| disk(&error))
}

fn disk(error: &std::io::Error) -> ApiError {
    if error.kind() == std::io::ErrorKind::StorageFull {
        return ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "disk_full",
            "The server's disk is full. Make room on its data volume, then upload again.",
        );
    }
    ApiError::internal(error)
}

/// `GET /sources/{ticket}`.
pub(crate) async fn download(State(api): State<ApiState>, Path(ticket): Path<String>) -> ApiResult {
    let (path, _) = file_of(&api, &ticket)?;
    let file = tokio::fs::File::open(path).await.map_err(|_| ApiError::not_found("source", "Upload it first, with PUT to its put_url."))?;
    let response: Response =
        ([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(ReaderStream::new(file))).into_response();
    Ok(response)
}

/// A build's own copy (a hard link) of the uploaded file behind a source URL, if this account uploaded it: several builds may be made of one
/// upload. Other servers' URLs are never fetched (trust rule R8).
pub(crate) async fn take(api: &ApiState, url: &str, account: AccountId) -> Result<PathBuf, ApiError> {
    let foreign = || ApiError::invalid("source_blob.url must be a get_url of POST /sources of this server. Upload the source there first.");
    let (_, ticket) = url.rsplit_once("/sources/").ok_or_else(foreign)?;
    let (path, owner) = file_of(api, ticket).map_err(|_| foreign())?;
    if owner != account {
        return Err(foreign());
    }
    let own = path.with_file_name(format!("{}.{IN_USE}", Uuid::new_v4()));
    match tokio::fs::hard_link(&path, &own).await {
        Ok(()) => Ok(own),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(ApiError::invalid("Nothing was uploaded to that source. PUT the tarball to its put_url first."))
        }
        Err(error) => Err(disk(&error)),
    }
}
