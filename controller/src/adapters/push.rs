//! What a push does: build, release, roll out.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use landfall_builder::build::Source;
use landfall_builder::push::{Lines, Push, PushHandler, PushRefused};
use landfall_model::BuildId;
use landfall_store::{AppIdentity, BuildSource, Store};
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
}

impl PushHandler for Deploys {
    fn push(&self, push: Push, lines: Lines, cancel: CancellationToken) -> BoxFuture<'_, Result<(), PushRefused>> {
        Box::pin(async move {
            let prepare = async {
                // Rights may have changed since the push began.
                let principal = self.store.principal_for_account(&self.store.system(), push.account).await?;
                let scope = self.store.authorize(&principal, &AppIdentity::Id(push.app)).await?;
                let job = Job {
                    scope,
                    build: BuildId::new(),
                    address: push.address,
                    described: BuildSource { commit: Some(push.commit.clone()), description: None },
                    source: Source::Commit { objects: push.objects.clone(), commit: push.commit.clone() },
                };
                let place = self.builds.place(push.app, job.build, cancel.clone());
                let app = self.builds.create(&job).await?;
                Ok::<_, landfall_store::StoreError>((job, app, place))
            };
            let (job, app, place) = prepare.await.map_err(|error| {
                let why = crate::explain(&error);
                tracing::warn!(app.id = %push.app, error = why, "a push could not begin");
                PushRefused::new(format!("Push rejected: {why}.\nNothing was built. Push again in a minute."))
            })?;
            self.builds.run(job, app, lines, place).await
        })
    }
}
