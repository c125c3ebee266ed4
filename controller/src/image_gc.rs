//! Removes images and layers that no release and no build cache needs.

use std::sync::Arc;

use crate::adapters::layers_in_use;
use crate::reconcile::Shared;

/// Runs now and then until the server stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut timer = tokio::time::interval(shared.config.image_gc);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick comes at once: a server that has just started has better things to do.
    timer.tick().await;
    loop {
        tokio::select! {
            () = shared.cancel.cancelled() => return,
            _ = timer.tick() => {}
        }
        if let Err(error) = collect(&shared).await {
            tracing::warn!(error = &*error.to_string(), "unused images were not removed; trying again later");
        }
    }
}

async fn collect(shared: &Shared) -> anyhow::Result<()> {
    let layers = layers_in_use(&shared.config.build_cache_dir())?;
    let images = shared.store.images_in_use(&shared.system).await?;
    let report = shared.agent.image_gc(images, layers).await?;
    if report.images + report.layers > 0 {
        tracing::info!(images = report.images, layers = report.layers, bytes = report.bytes, "removed unused images");
    }
    Ok(())
}
