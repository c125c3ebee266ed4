//! Removes images and layers that no release and no build cache names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use landfall_model::BuildId;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use crate::adapters::layers_in_use;
use crate::reconcile::Shared;

/// Images that exist but that the store does not name yet: from the moment a build makes one until its release is recorded, nothing is
/// collected.
///
/// A collection, on the other hand, lets no build make an image while it lasts (a moment): what it read from the store stays true.
#[derive(Clone, Debug, Default)]
pub struct ImageHolds {
    gate: Arc<RwLock<()>>,
    held: Arc<Mutex<HashMap<BuildId, OwnedRwLockReadGuard<()>>>>,
}

impl ImageHolds {
    /// A build is about to make its image; waits for a collection to end.
    pub async fn take(&self, build: BuildId) {
        let guard = self.gate.clone().read_owned().await;
        self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(build, guard);
    }

    fn release(&self, build: BuildId) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&build);
    }

    /// Releases a build's hold when dropped: by then the store names the image, or never will. Fine for a build that holds nothing.
    #[must_use]
    pub fn releasing(&self, build: BuildId) -> ReleasesHold {
        ReleasesHold { holds: self.clone(), build }
    }

    /// Waits until every image there is is named, and keeps it so while the answer is held.
    pub async fn all_named(&self) -> tokio::sync::RwLockWriteGuard<'_, ()> {
        self.gate.write().await
    }
}

/// See [`ImageHolds::releasing`].
#[derive(Debug)]
pub struct ReleasesHold {
    holds: ImageHolds,
    build: BuildId,
}

impl Drop for ReleasesHold {
    fn drop(&mut self) {
        self.holds.release(self.build);
    }
}

pub(super) async fn collect(shared: &Shared) -> anyhow::Result<()> {
    let _named = shared.image_holds.all_named().await;
    let layers = layers_in_use(&shared.config.build_cache_dir())?;
    let images = shared.store.images_in_use(&shared.system).await?;
    let report = shared.agent.image_gc(images, layers).await?;
    if report.images + report.layers > 0 {
        tracing::info!(images = report.images, layers = report.layers, bytes = report.bytes, "removed unused images");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn no_image_is_collected_between_its_making_and_its_release() {
        let holds = ImageHolds::default();
        let soon = Duration::from_millis(20);
        let (one, two) = (BuildId::new(), BuildId::new());
        holds.take(one).await;
        holds.take(two).await;
        assert!(tokio::time::timeout(soon, holds.all_named()).await.is_err());
        holds.release(one);
        holds.release(one);
        assert!(tokio::time::timeout(soon, holds.all_named()).await.is_err());
        drop(holds.releasing(two));
        let collecting = holds.all_named().await;
        assert!(tokio::time::timeout(soon, holds.take(one)).await.is_err(), "an image appeared during a collection");
        drop(collecting);
        holds.take(one).await;
    }
}
