//! The style sheet and the script, under names that hold their hash: cached for ever, replaced at once.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

use crate::error::ApiError;

/// One file.
pub(super) struct Asset {
    /// `app.1a2b3c4d5e6f.css`.
    pub(super) name: String,
    kind: &'static str,
    body: &'static str,
}

impl Asset {
    fn new(stem: &str, extension: &str, kind: &'static str, body: &'static str) -> Self {
        let hash = hex::encode(&Sha256::digest(body)[..6]);
        Self { name: format!("{stem}.{hash}.{extension}"), kind, body }
    }
}

pub(super) static CSS: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("app", "css", "text/css; charset=utf-8", include_str!("../../assets/app.css")));
pub(super) static JS: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("app", "js", "text/javascript; charset=utf-8", include_str!("../../assets/app.js")));
static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset { name: "icon.svg".to_owned(), kind: "image/svg+xml", body: include_str!("../../assets/icon.svg") });

/// `GET /assets/{file}`.
pub(super) async fn serve(Path(file): Path<String>) -> Response {
    let found = [&*CSS, &*JS, &*ICON].into_iter().find(|asset| asset.name == file);
    found.map_or_else(
        || ApiError::not_found("file", "Reload the page.").into_response(),
        |asset| {
            ([(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")], asset.body)
                .into_response()
        },
    )
}
