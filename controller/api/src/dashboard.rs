//! The dashboard: a few pages for people, rendered on the server, with one style sheet and one small script of our own.
//!
//! A session is an API token in an `HttpOnly`, `SameSite=Strict` cookie. Every form carries a token sealed for that very session. The
//! content security policy allows nothing inline and nothing from elsewhere.

mod assets;
mod handlers;
pub(crate) mod pages;
mod session;
mod views;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};

use crate::ApiState;

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The dashboard's routes.
pub(crate) fn router() -> Router<ApiState> {
    Router::new()
        .route("/login", get(handlers::login_form).post(handlers::login))
        .route("/logout", post(handlers::logout))
        .route("/dashboard", get(handlers::apps))
        .route("/dashboard/apps/{app}", get(handlers::app))
        .route("/dashboard/apps/{app}/rollback", post(handlers::rollback))
        .route("/dashboard/apps/{app}/stats", get(handlers::stats))
        .route("/dashboard/apps/{app}/logs", get(handlers::logs))
        .route("/assets/{file}", get(assets::serve))
        .layer(DefaultBodyLimit::max(16 * 1024))
        .layer(from_fn(guard))
}

async fn guard(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
