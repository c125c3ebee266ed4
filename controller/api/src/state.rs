//! What handlers share.

use std::sync::Arc;
use std::time::Duration;

use std::net::IpAddr;

use landfall_model::{AccountId, BuildId, ReleaseId};
use landfall_store::{AppScope, AuditEvent, Grant, Principal, Store};
use tokio_util::task::TaskTracker;

use crate::config::ApiConfig;
use crate::dashboard::pages::Pages;
use crate::http::conventions::Requester;
use crate::http::limiter::Limiter;
use crate::http::shares::Shares;
use crate::platform::Platform;

/// The API's parts: the store for what is remembered, the platform for what runs. Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<Store>,
    platform: Arc<dyn Platform>,
    config: ApiConfig,
    requests: Limiter<Requester>,
    logins_by_network: Limiter<Option<IpAddr>>,
    logins_by_account: Limiter<[u8; 32]>,
    tails: Arc<Shares<AccountId>>,
    deeds: TaskTracker,
    pages: Pages,
}

impl ApiState {
    /// Joins the parts. Dashboard templates are compiled here, once.
    pub fn new(store: Arc<Store>, platform: Arc<dyn Platform>, config: ApiConfig) -> Self {
        let requests = Limiter::new(config.requests_per_hour, Duration::from_hours(1));
        let logins = config.logins_per_minute;
        Self {
            inner: Arc::new(Inner {
                store,
                platform,
                requests,
                logins_by_network: Limiter::new(logins.saturating_mul(3), Duration::from_mins(1)),
                logins_by_account: Limiter::new(logins, Duration::from_mins(1)),
                tails: Shares::new(config.tails, config.tails_per_account),
                deeds: TaskTracker::new(),
                config,
                pages: Pages::compile(),
            }),
        }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn platform(&self) -> &dyn Platform {
        &*self.inner.platform
    }

    pub(crate) fn config(&self) -> &ApiConfig {
        &self.inner.config
    }

    pub(crate) fn requests(&self) -> &Limiter<Requester> {
        &self.inner.requests
    }

    pub(crate) fn logins_by_network(&self) -> &Limiter<Option<IpAddr>> {
        &self.inner.logins_by_network
    }

    /// By the digest of the address that was given: nobody knows whether it is an account's.
    pub(crate) fn logins_by_account(&self) -> &Limiter<[u8; 32]> {
        &self.inner.logins_by_account
    }

    /// Places to follow a log.
    pub(crate) fn tails(&self) -> &Arc<Shares<AccountId>> {
        &self.inner.tails
    }

    pub(crate) fn deeds(&self) -> &TaskTracker {
        &self.inner.deeds
    }

    /// Returns when everything that was asked for is done, also what its client did not wait for. Ask once nobody can come in any more.
    pub async fn finished(&self) {
        self.deeds().close();
        self.deeds().wait().await;
    }

    pub(crate) fn pages(&self) -> &Pages {
        &self.inner.pages
    }

    /// An absolute URL of this server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.config().public_url)
    }

    /// Where a build's output streams from.
    pub(crate) fn build_output_url(&self, grant: &Grant, build: BuildId) -> String {
        self.url(&format!("/streams/builds/{}", self.config().ticket_key.seal("build-output", &(grant, build))))
    }

    /// Where a release phase's output streams from.
    pub(crate) fn release_output_url(&self, grant: &Grant, release: ReleaseId) -> String {
        self.url(&format!("/streams/releases/{}", self.config().ticket_key.seal("release-output", &(grant, release))))
    }

    /// Writes to the audit log (trust rule R10). A failed write is logged and does not undo what happened.
    pub(crate) async fn audit(
        &self,
        actor: Option<&Principal>,
        action: &str,
        app: Option<&AppScope>,
        detail: String,
        address: Option<IpAddr>,
    ) {
        let event = AuditEvent {
            actor: actor.map(Principal::account_id),
            action: action.to_owned(),
            app: app.map(AppScope::app_id),
            detail,
            address: address.map(|address| address.to_string()),
        };
        if let Err(error) = self.store().audit_append(&event).await {
            tracing::error!(error.chain = %landfall_model::chain(&error), audit.action = action, "audit entry was not written");
        }
    }
}
