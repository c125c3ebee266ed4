//! After an app is destroyed nothing of it is left (design invariant 6).

use std::path::Path;

use landfall_failpoint::failpoint;
use landfall_store::{DesiredApp, StoreError};

use super::shared::Shared;

/// Removes what lies on disk, then the last row.
pub(super) async fn app(shared: &Shared, app: &DesiredApp) -> Result<(), StoreError> {
    failpoint("server.purge.before");
    shared.routes.remove(app.id);
    let config = &shared.config;
    for build in shared.store.build_list(&shared.system.app(app.id), u32::MAX).await.unwrap_or_default() {
        remove(&config.build_config().builds.join(build.id.to_string()));
    }
    remove(&config.git_config().repositories.join(format!("{}.git", app.id)));
    remove(&config.release_output_dir().join(app.id.to_string()));
    remove(&config.build_cache_dir().join(format!("{}.json", app.id)));
    if let Err(error) = shared.logs.remove(app.id) {
        tracing::warn!(app.id = %app.id, error = %error, "the log of a destroyed app could not be removed");
    }
    failpoint("server.purge.files-gone");
    shared.store.app_purge(&shared.system, app.id).await?;
    failpoint("server.purge.done");
    shared.litter.notify_one();
    Ok(())
}

fn remove(path: &Path) {
    let gone = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    if let Err(error) = gone
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), error = %error, "a destroyed app's file could not be removed");
    }
}
