//! The one table of routes. The router is built from it, and so is the test that knocks on every door as a stranger.

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::ApiState;
use crate::resources::{
    account, apps, audit, builds, catalog, collaborators, config_vars, domains, dynos, formation, log_sessions, oauth, releases, run,
    sources, streams,
};

/// Who may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody: there is nothing to protect.
    Public,
    /// Who has the secret that is part of the path.
    Secret,
    /// Who proved who they are.
    Account,
    /// Who may touch the app in the path.
    App,
    /// An administrator.
    Admin,
}

/// One row.
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path, with `{parameters}`.
    pub path: &'static str,
    /// Who may come in.
    pub access: Access,
    handler: MethodRouter<ApiState>,
}

fn route<H, T>(access: Access, method: Method, path: &'static str, handler: H) -> Route
where
    H: Handler<T, ApiState>,
    T: 'static,
{
    let filter = MethodFilter::try_from(method.clone()).expect("the table holds plain methods only");
    Route { method, path, access, handler: on(filter, handler) }
}

/// Every route of the Platform API.
pub fn table() -> Vec<Route> {
    use Access::{Account, Admin, App, Secret};
    let (get, post, patch, put, delete) = (|| Method::GET, || Method::POST, || Method::PATCH, || Method::PUT, || Method::DELETE);
    vec![
        route(Account, get(), "/account", account::info),
        route(Account, get(), "/users/~", account::info),
        route(Account, get(), "/account/features", account::features),
        route(Account, get(), "/account/keys", account::keys),
        route(Account, post(), "/account/keys", account::key_create),
        route(Account, get(), "/account/keys/{key}", account::key_info),
        route(Account, delete(), "/account/keys/{key}", account::key_delete),
        route(Admin, get(), "/audit", audit::list),
        route(Account, get(), "/oauth/authorizations", oauth::list),
        route(Account, post(), "/oauth/authorizations", oauth::create),
        route(Account, get(), "/oauth/authorizations/{authorization}", oauth::info),
        route(Account, delete(), "/oauth/authorizations/{authorization}", oauth::delete),
        route(Account, delete(), "/oauth/sessions/{session}", oauth::session_delete),
        route(Account, get(), "/users/~/apps", apps::list_own),
        route(Account, get(), "/apps", apps::list),
        route(Account, post(), "/apps", apps::create),
        route(App, get(), "/apps/{app}", apps::info),
        route(App, patch(), "/apps/{app}", apps::update),
        route(App, delete(), "/apps/{app}", apps::destroy),
        route(App, get(), "/apps/{app}/stats", apps::stats),
        route(App, get(), "/apps/{app}/pipeline-couplings", apps::pipeline_coupling),
        route(App, get(), "/apps/{app}/collaborators", collaborators::list),
        route(App, post(), "/apps/{app}/collaborators", collaborators::create),
        route(App, get(), "/apps/{app}/collaborators/{collaborator}", collaborators::info),
        route(App, delete(), "/apps/{app}/collaborators/{collaborator}", collaborators::delete),
        route(App, get(), "/apps/{app}/config-vars", config_vars::get),
        route(App, patch(), "/apps/{app}/config-vars", config_vars::update),
        route(App, get(), "/apps/{app}/releases", releases::list),
        route(App, post(), "/apps/{app}/releases", releases::rollback),
        route(App, get(), "/apps/{app}/releases/{release}", releases::info),
        route(App, get(), "/apps/{app}/releases/{release}/config-vars", releases::config),
        route(App, get(), "/apps/{app}/formation", formation::list),
        route(App, patch(), "/apps/{app}/formation", formation::update_batch),
        route(App, get(), "/apps/{app}/formation/{type}", formation::info),
        route(App, patch(), "/apps/{app}/formation/{type}", formation::update_one),
        route(App, get(), "/apps/{app}/dynos", dynos::list),
        route(App, post(), "/apps/{app}/dynos", run::run),
        route(App, delete(), "/apps/{app}/dynos", dynos::restart_all),
        route(App, get(), "/apps/{app}/dynos/{dyno}", dynos::info),
        route(App, delete(), "/apps/{app}/dynos/{dyno}", dynos::restart_one),
        route(App, post(), "/apps/{app}/dynos/{dyno}/actions/stop", dynos::stop_one),
        route(App, post(), "/apps/{app}/dynos/{dyno}/actions/exec", run::exec),
        route(App, delete(), "/apps/{app}/formations/{type}", dynos::restart_type),
        route(App, post(), "/apps/{app}/formations/{type}/actions/stop", dynos::stop_type),
        route(App, get(), "/apps/{app}/builds", builds::list),
        route(App, post(), "/apps/{app}/builds", builds::create),
        route(App, get(), "/apps/{app}/builds/{build}", builds::info),
        route(App, delete(), "/apps/{app}/builds/{build}", builds::cancel),
        route(App, get(), "/apps/{app}/slugs/{slug}", builds::slug),
        route(App, get(), "/apps/{app}/buildpack-installations", builds::buildpacks),
        route(App, get(), "/apps/{app}/domains", domains::list),
        route(App, post(), "/apps/{app}/domains", domains::create),
        route(App, get(), "/apps/{app}/domains/{domain}", domains::info),
        route(App, delete(), "/apps/{app}/domains/{domain}", domains::delete),
        route(App, post(), "/apps/{app}/log-sessions", log_sessions::create),
        route(App, get(), "/apps/{app}/features", catalog::features),
        route(App, get(), "/apps/{app}/features/{feature}", catalog::feature),
        route(App, get(), "/apps/{app}/addons", catalog::none_of_app),
        route(App, get(), "/apps/{app}/addon-attachments", catalog::none_of_app),
        route(App, get(), "/apps/{app}/sni-endpoints", catalog::none_of_app),
        route(App, get(), "/apps/{app}/log-drains", catalog::none_of_app),
        route(Account, get(), "/addons", catalog::none),
        route(Account, get(), "/addon-attachments", catalog::none),
        route(Account, get(), "/stacks", catalog::stacks),
        route(Account, get(), "/stacks/{stack}", catalog::stack),
        route(Account, get(), "/regions", catalog::regions),
        route(Account, get(), "/regions/{region}", catalog::region),
        route(Account, post(), "/sources", sources::create),
        route(Secret, put(), "/sources/{ticket}", sources::upload),
        route(Secret, get(), "/sources/{ticket}", sources::download),
        route(Secret, get(), "/streams/builds/{ticket}", streams::build),
        route(Secret, get(), "/streams/releases/{ticket}", streams::release),
        route(Secret, get(), "/logs/{ticket}", log_sessions::open),
        route(Secret, get(), "/attach/{secret}", crate::attach::attach),
    ]
}

/// The routes whose access is one of these, as a router.
pub(crate) fn router(which: &[Access]) -> Router<ApiState> {
    table()
        .into_iter()
        .filter(|route| which.contains(&route.access))
        .fold(Router::new(), |router, route| router.route(route.path, route.handler))
}
