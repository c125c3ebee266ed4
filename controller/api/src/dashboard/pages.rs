//! Templates, compiled once. Names end in `.html`, so every value is escaped.

use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;
use tera::{Context, Tera};

use super::assets;
use crate::ApiState;
use crate::error::ApiError;

/// The compiled templates.
pub(crate) struct Pages(Tera);

impl Pages {
    /// Compiles them. They are part of the program, so a mistake in one is a mistake of ours that every test finds.
    pub(crate) fn compile() -> Self {
        let mut tera = Tera::new();
        tera.autoescape_on(vec![".html"]);
        tera.add_raw_templates([
            ("base.html", include_str!("../../templates/base.html")),
            ("login.html", include_str!("../../templates/login.html")),
            ("apps.html", include_str!("../../templates/apps.html")),
            ("app.html", include_str!("../../templates/app.html")),
            ("error.html", include_str!("../../templates/error.html")),
        ])
        .expect("our templates compile");
        Self(tera)
    }

    fn html(&self, template: &str, page: &impl Serialize) -> Result<String, ApiError> {
        let mut context = Context::from_serialize(page).map_err(|error| ApiError::internal(&error))?;
        context.insert("css", &assets::CSS.name);
        context.insert("js", &assets::JS.name);
        self.0.render(template, &context).map_err(|error| ApiError::internal(&error))
    }
}

/// A page, or the error page.
pub(super) fn render(state: &ApiState, template: &str, page: &impl Serialize) -> Response {
    match state.pages().html(template, page) {
        Ok(html) => Html(html).into_response(),
        Err(failed) => error(state, &failed),
    }
}

/// The page that says what went wrong, with the error's status.
pub(super) fn error(state: &ApiState, error: &ApiError) -> Response {
    let page = serde_json::json!({ "title": error.status.canonical_reason().unwrap_or("Error"), "status": error.status.as_u16(), "message": error.message, "email": null });
    match state.pages().html("error.html", &page) {
        Ok(html) => (error.status, Html(html)).into_response(),
        Err(failed) => failed.into_response(),
    }
}
