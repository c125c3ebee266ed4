//! `/apps/{app}/domains`.

use std::collections::HashMap;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use landfall_model::Hostname;
use landfall_store::{App, Domain, DomainKind};
use serde::Deserialize;
use serde_json::Value;

use crate::auth::AppAccess;
use crate::error::{ApiError, ApiResult};
use crate::http::body::Body;
use crate::http::range::ListRange;
use crate::http::reply::{created, ok};
use crate::{ApiState, shapes};

/// A custom domain's DNS record points at the app's own host name.
fn shaped(api: &ApiState, app: &App, domain: &Domain) -> Value {
    let cname = (domain.kind == DomainKind::Custom).then(|| api.platform().app_host(&app.name).to_string());
    shapes::domain(app, domain, cname)
}

/// `GET /apps/{app}/domains`.
pub(crate) async fn list(State(api): State<ApiState>, at: AppAccess, headers: HeaderMap) -> ApiResult {
    let app = api.store().app_get(&at.scope).await?;
    let all = api.store().domain_list(&at.scope).await?;
    ListRange::of(&headers)?.answer(&["hostname", "id"], all.iter().map(|one| shaped(&api, &app, one)).collect())
}

/// `GET /apps/{app}/domains/{domain}`, by host name or id.
pub(crate) async fn info(State(api): State<ApiState>, at: AppAccess, Path(path): Path<HashMap<String, String>>) -> ApiResult {
    let app = api.store().app_get(&at.scope).await?;
    Ok(ok(&shaped(&api, &app, &api.store().domain_get(&at.scope, &path["domain"]).await?)))
}

/// Body of `POST /apps/{app}/domains`.
#[derive(Deserialize)]
pub(crate) struct New {
    hostname: String,
    #[serde(default)]
    sni_endpoint: Value,
}

/// `POST /apps/{app}/domains`.
pub(crate) async fn create(State(api): State<ApiState>, at: AppAccess, Body(new): Body<New>) -> ApiResult {
    if !new.sni_endpoint.is_null() {
        return Err(ApiError::invalid("This server has no certificates to attach yet. Leave sni_endpoint out: landfall domains:add NAME"));
    }
    let hostname: Hostname = new.hostname.parse()?;
    let app = api.store().app_get(&at.scope).await?;
    let domain = api.store().domain_add(&at.scope, &hostname).await?;
    api.platform().wake(at.scope.app_id());
    api.audit(Some(&at.caller.principal), "domain.add", Some(&at.scope), domain.hostname.to_string(), at.caller.address).await;
    Ok(created(&shaped(&api, &app, &domain)))
}

/// `DELETE /apps/{app}/domains/{domain}`.
pub(crate) async fn delete(State(api): State<ApiState>, at: AppAccess, Path(path): Path<HashMap<String, String>>) -> ApiResult {
    let app = api.store().app_get(&at.scope).await?;
    let domain = api.store().domain_remove(&at.scope, &path["domain"]).await?;
    api.platform().wake(at.scope.app_id());
    api.audit(Some(&at.caller.principal), "domain.remove", Some(&at.scope), domain.hostname.to_string(), at.caller.address).await;
    Ok(ok(&shaped(&api, &app, &domain)))
}
