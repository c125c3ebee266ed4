//! What a push does: build, release, roll out.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use landfall_builder::build::Source;
use landfall_builder::push::{Lines, Push, PushHandler, PushRefused};
use landfall_model::BuildId;
use landfall_store::{App, AppIdentity, BuildSource, Release, Store, StoreError};
use tokio_util::sync::CancellationToken;

use super::{Builds, Job};

/// Takes pushes.
pub struct Deploys {
    store: Store,
    builds: Arc<Builds>,
}

impl Deploys {
    /// Over the builds.
    pub fn new(store: Store, builds: Arc<Builds>) -> Self {
        Self { store, builds }
    }

    /// What is to be done for a push, and the release it was cut off at, if it was.
    async fn prepare(&self, push: &Push, new: BuildId) -> Result<(Job, App, Option<Release>), StoreError> {
        // Rights may have changed since the push began.
        let principal = self.store.principal_for_account(&self.store.system(), push.account).await?;
        let scope = self.store.authorize(&principal, &AppIdentity::Id(push.app)).await?;
        let app = self.store.app_get(&scope).await?;
        let cut_off = match self.builds.cut_off(&scope, &app, &push.commit).await? {
            Some(cut_off) if !accepted_before(push).await => Some(cut_off),
            _ => None,
        };
        let (build, release) = cut_off.map_or((new, None), |(build, release)| (build.id, Some(release)));
        let job = Job {
            scope,
            build,
            address: push.address,
            described: BuildSource { commit: Some(push.commit.clone()), description: None, pushed: true },
            source: Source::Commit { objects: push.objects.clone(), commit: push.commit.clone() },
        };
        if release.is_none() {
            self.builds.create(&job).await?;
        }
        Ok((job, app, release))
    }
}

/// To push to `master` what was pushed to `main` is a wish to deploy it again.
async fn accepted_before(push: &Push) -> bool {
    let (objects, commit) = (push.objects.clone(), push.commit.clone());
    tokio::task::spawn_blocking(move || objects.accepted_before(&commit)).await.unwrap_or(true)
}

impl PushHandler for Deploys {
    fn push(&self, push: Push, lines: Lines, cancel: CancellationToken) -> BoxFuture<'_, Result<(), PushRefused>> {
        Box::pin(async move {
            // Its place first: a build that can be seen can be cancelled.
            let build = BuildId::new();
            let place = self.builds.place(push.app, build, cancel.clone());
            let (job, app, done) = self.prepare(&push, build).await.map_err(|error| {
                let why = crate::explain(&error);
                tracing::warn!(app.id = %push.app, error = why, "a push could not begin");
                PushRefused::new(format!("Push rejected: {why}.\nNothing was built. Push again in a minute."))
            })?;
            match done {
                Some(release) => self.builds.go_on(job, app, release, lines, cancel).await,
                None => self.builds.run(job, app, lines, place).await,
            }
        })
    }
}
