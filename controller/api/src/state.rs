//! What handlers share.

use std::sync::Arc;
use std::time::Duration;

use landfall_model::{AppId, BuildId, ReleaseId};
use landfall_store::{AppScope, AuditEvent, Principal, Store};

use tokio::sync::Semaphore;

use crate::config::ApiConfig;
use crate::dashboard::pages::Pages;
use crate::http::limiter::Limiter;
use crate::platform::Platform;

/// Log streams open at once, each a thread while it tails.
const MOST_TAILS: usize = 256;

/// The API's parts: the store for what is remembered, the platform for what runs. Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<Store>,
    platform: Arc<dyn Platform>,
    config: ApiConfig,
    requests: Limiter<[u8; 32]>,
    logins: Limiter<String>,
    tails: Arc<Semaphore>,
    pages: Pages,
}

impl ApiState {
    /// Joins the parts. Dashboard templates are compiled here, once.
    pub fn new(store: Arc<Store>, platform: Arc<dyn Platform>, config: ApiConfig) -> Self {
        let requests = Limiter::new(config.requests_per_hour, Duration::from_hours(1));
        let logins = Limiter::new(config.logins_per_minute, Duration::from_mins(1));
        Self {
            inner: Arc::new(Inner {
                store,
                platform,
                config,
                requests,
                logins,
                tails: Arc::new(Semaphore::new(MOST_TAILS)),
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

    pub(crate) fn requests(&self) -> &Limiter<[u8; 32]> {
        &self.inner.requests
    }

    pub(crate) fn logins(&self) -> &Limiter<String> {
        &self.inner.logins
    }

    /// Permits to follow a log.
    pub(crate) fn tails(&self) -> Arc<Semaphore> {
        Arc::clone(&self.inner.tails)
    }

    pub(crate) fn pages(&self) -> &Pages {
        &self.inner.pages
    }

    /// An absolute URL of this server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.config().public_url)
    }

    /// Where a build's output streams from.
    pub(crate) fn build_output_url(&self, app: AppId, build: BuildId) -> String {
        self.url(&format!("/streams/builds/{}", self.config().ticket_key.seal("build-output", &(app, build))))
    }

    /// Where a release phase's output streams from.
    pub(crate) fn release_output_url(&self, app: AppId, release: ReleaseId) -> String {
        self.url(&format!("/streams/releases/{}", self.config().ticket_key.seal("release-output", &(app, release))))
    }

    /// Writes to the audit log (trust rule R10). A failed write is logged and does not undo what happened.
    pub(crate) async fn audit(
        &self,
        actor: Option<&Principal>,
        action: &str,
        app: Option<&AppScope>,
        detail: String,
        address: Option<String>,
    ) {
        let event = AuditEvent {
            actor: actor.map(Principal::account_id),
            action: action.to_owned(),
            app: app.map(AppScope::app_id),
            detail,
            address,
        };
        if let Err(error) = self.store().audit_append(&event).await {
            tracing::error!(error.chain = %crate::error::chain(&error), audit.action = action, "audit entry was not written");
        }
    }
}
