//! The dashboard's pages and posts.

use std::net::IpAddr;

use axum::Form;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;
use landfall_store::{NewAuthorization, ReleaseRange};
use serde::Deserialize;
use serde_json::json;

use super::pages;
use super::session::{AppSession, Page, Session, current, set_cookie};
use super::views::{AppCard, DomainRow, DynoRow, FormationRow, ReleaseRow};
use crate::ApiState;
use crate::error::{ApiError, ApiResult};
use crate::http::conventions::peer;
use crate::http::reply::ok;
use crate::resources::log_sessions::{self, Session as LogSession};
use crate::resources::{oauth, releases};
use crate::shapes;

/// Lines of the past in the log panel.
const LOG_LINES: usize = 200;
/// Rows in the list of releases.
const RELEASES: u32 = 15;

fn login_page(state: &ApiState, email: &str, problem: Option<&str>) -> Response {
    pages::render(state, "login.html", &json!({ "title": "Log in", "given": email, "problem": problem, "email": null }))
}

/// `GET /login`.
pub(super) async fn login_form(State(api): State<ApiState>, request: axum::extract::Request) -> Response {
    match current(&api, request.headers(), peer(request.extensions())).await {
        Ok(Some(_)) => Redirect::to("/dashboard").into_response(),
        Ok(None) => login_page(&api, "", None),
        Err(error) => pages::error(&api, &error),
    }
}

/// The login form.
#[derive(Deserialize)]
pub(super) struct Login {
    email: String,
    password: String,
}

/// `POST /login`. There is no session yet for a form token; the request must come from our own page.
pub(super) async fn login(State(api): State<ApiState>, request: axum::extract::Request) -> Response {
    let address = peer(request.extensions());
    let foreign = request.headers().get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    if foreign {
        return pages::error(
            &api,
            &ApiError::new(axum::http::StatusCode::FORBIDDEN, "forbidden", "That form came from another site. Log in at /login."),
        );
    }
    let Ok(Form(form)) = <Form<Login> as axum::extract::FromRequest<ApiState>>::from_request(request, &api).await else {
        return login_page(&api, "", Some("Fill in your e-mail address and your password."));
    };
    match begin(&api, &form, address).await {
        Ok(cookie) => ([(header::SET_COOKIE, cookie)], Redirect::to("/dashboard")).into_response(),
        Err(error) if error.status.is_server_error() => pages::error(&api, &error),
        Err(error) => {
            let problem = if error.id == "rate_limit" {
                "Too many tries. Wait a minute, then try again."
            } else {
                "That e-mail address and password do not belong together. Try again."
            };
            let mut page = login_page(&api, &form.email, Some(problem));
            *page.status_mut() = error.status;
            page
        }
    }
}

async fn begin(api: &ApiState, form: &Login, address: Option<IpAddr>) -> ApiResult<String> {
    let principal = oauth::password_login(api, &form.email, &form.password, address).await?;
    let new = NewAuthorization { description: "Dashboard".to_owned(), expires_in: Some(api.config().session_lifetime) };
    let (_, token) = api.store().authorization_create(&principal, new).await?;
    Ok(set_cookie(api, Some(token.expose())))
}

/// A form with nothing but its token.
#[derive(Deserialize)]
pub(super) struct Plain {
    csrf: String,
}

/// `POST /logout`.
pub(super) async fn logout(State(api): State<ApiState>, session: Session, Form(form): Form<Plain>) -> Result<Response, Page> {
    session.check(&api, &form.csrf)?;
    if let Some(id) = session.caller.principal.authorization_id() {
        let gone =
            api.store().authorization_delete(&session.caller.principal, id).await.map_err(|error| Page::error(&api, &error.into()))?;
        api.audit(Some(&session.caller.principal), "token.revoke", None, gone.description, session.caller.address).await;
    }
    Ok(([(header::SET_COOKIE, set_cookie(&api, None))], Redirect::to("/login")).into_response())
}

/// `GET /dashboard`.
pub(super) async fn apps(State(api): State<ApiState>, session: Session) -> Response {
    let now = Timestamp::now();
    match api.store().app_list(&session.caller.principal).await {
        Ok(apps) => {
            let cards: Vec<_> = apps.iter().map(|app| AppCard::new(app, api.platform(), now)).collect();
            let page = json!({ "title": "Apps", "apps": cards, "email": session.caller.principal.email(), "csrf": session.csrf(&api), "api": api.config().public_url });
            pages::render(&api, "apps.html", &page)
        }
        Err(error) => pages::error(&api, &error.into()),
    }
}

/// `GET /dashboard/apps/{app}`.
pub(super) async fn app(State(api): State<ApiState>, session: AppSession) -> Response {
    match app_page(&api, &session).await {
        Ok(response) => response,
        Err(error) => pages::error(&api, &error),
    }
}

async fn app_page(api: &ApiState, session: &AppSession) -> ApiResult {
    let (scope, now, grant) = (&session.scope, Timestamp::now(), session.grant());
    let app = api.store().app_get(scope).await?;
    let releases = api.store().release_list(scope, ReleaseRange::newest(RELEASES)).await?;
    let rows: Vec<_> = releases
        .iter()
        .map(|release| ReleaseRow::new(release, release.output.map(|_| api.release_output_url(&grant, release.id)), now))
        .collect();
    let current = rows.iter().zip(&releases).find(|(_, release)| release.current).map(|(row, _)| row);
    let formation = api.store().formation_list(scope).await?;
    let config = api.store().config_get(scope).await?;
    let domains = api.store().domain_list(scope).await?;
    // Live things may be away while everything remembered can still be shown.
    let (dynos, dynos_problem) = match api.platform().dynos(scope.app_id()).await {
        Ok(dynos) => (dynos, None),
        Err(error) => (Vec::new(), Some(ApiError::from(error).message)),
    };
    let page = json!({
        "title": app.name, "email": session.session.caller.principal.email(), "csrf": session.session.csrf(api),
        "app": AppCard::new(&app, api.platform(), now), "stack": app.stack, "git_url": api.platform().git_http_url(&app.name),
        "current": current, "releases": rows,
        "formation": formation.iter().map(FormationRow::new).collect::<Vec<_>>(),
        "dynos": dynos.iter().map(|dyno| DynoRow::new(dyno, now)).collect::<Vec<_>>(), "dynos_problem": dynos_problem,
        "config_keys": config.0.keys().collect::<Vec<_>>(),
        "domains": domains.iter().map(|domain| DomainRow::new(domain, api.platform())).collect::<Vec<_>>(),
    });
    Ok(pages::render(api, "app.html", &page))
}

/// The rollback button.
#[derive(Deserialize)]
pub(super) struct Rollback {
    csrf: String,
    release: u32,
}

/// `POST /dashboard/apps/{app}/rollback`.
pub(super) async fn rollback(State(api): State<ApiState>, session: AppSession, Form(form): Form<Rollback>) -> Result<Response, Page> {
    session.session.check(&api, &form.csrf)?;
    let at = session.access();
    releases::roll_back(&api, &at, &form.release.to_string()).await.map_err(|error| Page::error(&api, &error))?;
    let app = api.store().app_get(&at.scope).await.map_err(|error| Page::error(&api, &error.into()))?;
    Ok(Redirect::to(&format!("/dashboard/apps/{}", app.name)).into_response())
}

/// `GET /dashboard/apps/{app}/stats`, for the plot.
pub(super) async fn stats(State(api): State<ApiState>, session: AppSession) -> ApiResult {
    let stats = api.platform().stats(session.scope.app_id()).await?;
    Ok(ok(&json!(stats.iter().map(shapes::stats).collect::<Vec<_>>())))
}

/// `GET /dashboard/apps/{app}/logs`, for the log panel.
pub(super) async fn logs(State(api): State<ApiState>, session: AppSession, headers: HeaderMap) -> ApiResult {
    log_sessions::stream(&api, LogSession::tail(session.grant(), LOG_LINES), true, &headers).await
}
