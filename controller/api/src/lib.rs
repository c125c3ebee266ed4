//! Platform API v3 over HTTP, accounts, dashboard.
//!
//! [`router`] is the whole of it. What is remembered comes from `landfall-store`, lines of logs from `landfall-logs`, and everything
//! live through the port [`platform::Platform`]. No business rules here: a handler parses, asks, and shapes the answer.

pub mod attach;
pub mod platform;
pub mod routes;

mod auth;
mod config;
mod dashboard;
mod error;
mod http;
mod resources;
mod shapes;
mod state;

use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};

pub use config::ApiConfig;
pub use error::ApiError;
pub use http::shares::{Share, Shares, Spent};
pub use http::sign::TicketKey;
pub use resources::sources::IN_USE as UPLOAD_IN_USE;
pub use state::ApiState;

/// Everything the server answers on its API port but git. Serve it with connect info (`into_make_service_with_connect_info`), so that
/// login limits and the audit log know addresses.
pub fn router(state: ApiState) -> Router {
    use routes::Access::{Account, Admin, App, Secret};
    let api = routes::router(&[Account, App, Admin])
        .layer(from_fn(large_bodies))
        .layer(DefaultBodyLimit::max(http::body::SMALL_BODY))
        .route_layer(from_fn_with_state(state.clone(), http::conventions::platform_api));
    let inner = Router::new()
        .merge(api)
        .merge(routes::router(&[Secret]))
        .merge(dashboard::router())
        .route("/health", get(|| async { Json(serde_json::json!({ "status": "ok" })) }))
        .route("/", get(|| async { Redirect::to("/dashboard") }))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(state.clone(), http::conventions::to_its_end))
        .layer(from_fn(http::conventions::request_id))
        .with_state(state);
    // The path is tidied before it is matched: hence a router around the router.
    Router::new().fallback_service(inner).layer(from_fn(http::conventions::tidy_path))
}

/// Config vars may be large; the cap of everything else stays small.
async fn large_bodies(mut request: axum::extract::Request, next: axum::middleware::Next) -> Response {
    if request.method() == Method::PATCH && request.uri().path().ends_with("/config-vars") {
        DefaultBodyLimit::max(http::body::CONFIG_BODY).apply(&mut request);
    }
    next.run(request).await
}

async fn unknown() -> Response {
    ApiError::not_found("page", "The API's paths are those of the Heroku Platform API, version 3; the dashboard is at /dashboard.")
        .into_response()
}

async fn wrong_method(method: Method) -> Response {
    let message = format!("This address does not take {method}. See the Heroku Platform API, version 3, for what it takes.");
    ApiError::new(axum::http::StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message).into_response()
}
