//! What every request and answer has in common: `Request-Id`, `RateLimit-Remaining`, `Accept`, `ETag` and 304.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use landfall_model::{AccountId, AuthorizationId, network_of};
use sha2::{Digest as _, Sha256};
use tracing::Instrument as _;

use crate::ApiState;
use crate::auth::{Authenticated, token};
use crate::error::ApiError;

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit-remaining");
/// JSON answers are made in memory by us and are never longer.
const MAX_HASHED: usize = 64 * 1024 * 1024;

/// Collapses leading slashes: some clients join `HOST/` and `/path`.
pub(crate) async fn tidy_path(mut request: Request, next: Next) -> Response {
    let tidy = request
        .uri()
        .path_and_query()
        .filter(|path| path.as_str().starts_with("//"))
        .map(|path| format!("/{}", path.as_str().trim_start_matches('/')));
    if let Some(uri) = tidy.and_then(|path| path.parse::<Uri>().ok()) {
        *request.uri_mut() = uri;
    }
    next.run(request).await
}

/// Gives each request an id, under which everything that is logged of it can be found, and marks the answer with it. What went wrong on our
/// side is logged as an error; the rest only for who looks closely.
pub(crate) async fn request_id(request: Request, next: Next) -> Response {
    let id = uuid::Uuid::new_v4().to_string();
    let started = Instant::now();
    let path = request.extensions().get::<axum::extract::MatchedPath>().map(|path| path.as_str().to_owned());
    // The route, not the path: some paths are secrets.
    let span = tracing::info_span!("http.request", http.request_id = id, http.method = %request.method(), http.route = path);
    let mut response = next.run(request).instrument(span.clone()).await;
    let (http_status, duration_ms) = (response.status().as_u16(), started.elapsed().as_millis() as u64);
    span.in_scope(|| {
        if response.status().is_server_error() {
            tracing::error!(http.status = http_status, duration_ms, "request failed");
        } else {
            tracing::debug!(http.status = http_status, duration_ms, "request");
        }
    });
    response.headers_mut().insert(REQUEST_ID, HeaderValue::from_str(&id).expect("a UUID is a header value"));
    response
}

/// What was begun is done, and written down, whether or not the client stays to hear of it: hyper drops the work of a client that leaves,
/// so here it is a task of its own. Reading may be dropped.
pub(crate) async fn to_its_end(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    match state.deeds().spawn(next.run(request).in_current_span()).await {
        Ok(response) => response,
        Err(error) => ApiError::internal(&error).into_response(),
    }
}

/// Limits, `Accept` and conditional answers of API routes.
pub(crate) async fn platform_api(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let caller = match Authenticated::by(&state, token(request.headers()), peer(request.extensions())).await {
        Ok(caller) => caller,
        Err(error) => return error.into_response(),
    };
    // Only credentials that are somebody's have a bucket of their own: everything else counts for where it came from.
    let key = match &caller.0 {
        Some(principal) => Requester::Known(principal.account_id(), principal.authorization_id()),
        None => Requester::Unknown(peer(request.extensions()).map(network_of)),
    };
    let Some(remaining) = state.requests().take(&key, Instant::now()) else {
        return limited(match key {
            Requester::Known(..) => "Your account reached the API rate limit. Wait a minute, then repeat the command.",
            Requester::Unknown(_) => {
                "Too many requests without valid credentials from your address. Wait a minute, then run: landfall login"
            }
        });
    };
    request.extensions_mut().insert(caller);
    if let Err(error) = check_accept(request.headers()) {
        return error.into_response();
    }
    let known = (request.method() == Method::GET).then(|| request.headers().get(header::IF_NONE_MATCH).cloned());
    let mut response = next.run(request).await;
    if let Some(known) = known {
        response = conditional(response, known.as_ref()).await;
    }
    response.headers_mut().insert(RATE_LIMIT, remaining.into());
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    response
}

/// 429.
pub(crate) fn limited(message: &str) -> Response {
    let mut response = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit", message).into_response();
    response.headers_mut().insert(RATE_LIMIT, 0.into());
    response
}

/// The peer's address, if the server was started with connect info.
pub(crate) fn peer(extensions: &axum::http::Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip())
}

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Requester {
    /// One token.
    Known(AccountId, Option<AuthorizationId>),
    /// Everybody without a good one in one network.
    Unknown(Option<IpAddr>),
}

/// Version 3 and its variants, or any JSON; 406 for what we cannot speak.
fn check_accept(headers: &HeaderMap) -> Result<(), ApiError> {
    let wanted: Vec<String> = headers
        .get_all(header::ACCEPT)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or_default().split(','))
        .map(|part| part.trim().to_ascii_lowercase())
        .collect();
    let good = |part: &String| {
        let mut fields = part.split(';').map(str::trim);
        match fields.next().unwrap_or_default() {
            "" | "*/*" | "application/*" | "application/json" => true,
            "application/vnd.heroku+json" => {
                fields.all(|field| field.strip_prefix("version=").is_none_or(|version| version == "3" || version.starts_with("3.")))
            }
            _ => false,
        }
    };
    if wanted.is_empty() || wanted.iter().any(good) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::NOT_ACCEPTABLE,
        "not_acceptable",
        "This is the Platform API, version 3: send the header Accept: application/vnd.heroku+json; version=3.",
    ))
}

/// Adds an `ETag` to a JSON answer, and answers 304 to who has it already.
async fn conditional(response: Response, known: Option<&HeaderValue>) -> Response {
    let json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !response.status().is_success() || !json {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, MAX_HASHED).await else {
        return ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_server_error",
            "The answer is too long. Ask for less with a Range header.",
        )
        .into_response();
    };
    let tag = format!("\"{}\"", hex::encode(&Sha256::digest(&bytes)[..16]));
    let same = known
        .and_then(|known| known.to_str().ok())
        .is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        parts.headers.insert(header::ETAG, tag);
    }
    if same {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}
