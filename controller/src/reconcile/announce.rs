//! `app[api]: Release v3 created by user x`: what was done to the app, in its log.

use landfall_store::{DesiredApp, ListOrder, ReleaseRange, StoreError};

use super::shared::{AppHandle, Shared};

/// Writes a line for each release made since the last look. At the first look it only notes where the list ends.
pub(super) async fn releases(shared: &Shared, handle: &AppHandle, app: &DesiredApp) -> Result<(), StoreError> {
    let newest = app.current.iter().chain(&app.pending).map(|release| release.release.version).max();
    let announced = handle.memory().announced;
    let (Some(newest), announced) = (newest, announced) else { return Ok(()) };
    if announced.is_none_or(|announced| announced < newest) {
        if let Some(announced) = announced {
            let range = ReleaseRange { from: announced.0 + 1, to: newest.0, order: ListOrder::Ascending, max: 100 };
            for release in shared.store.release_list(&shared.system.app(handle.app), range).await? {
                let (version, user) = (release.version, &release.user.email);
                shared.logs.api(handle.app, &format!("{} by user {user}", release.description));
                shared.logs.api(handle.app, &format!("Release {version} created by user {user}"));
            }
        }
        handle.memory().announced = Some(newest);
    }
    Ok(())
}
