//! Releases that expire, and notes nobody reads any more.

use std::collections::BTreeSet;

use landfall_deploy::{Standing, expiring};
use landfall_model::{AppId, ReleaseVersion};

use crate::reconcile::Shared;

/// Expires what no app can go back to.
pub(super) async fn expire(shared: &Shared) -> anyhow::Result<()> {
    for app in shared.store.app_ids(&shared.system).await? {
        let scope = shared.system.app(app);
        let standing = shared.store.releases_standing(&scope).await?;
        let standing: Vec<Standing> = standing.into_iter().map(|(version, slug)| Standing { version, slug }).collect();
        // Asked after: a dyno that starts meanwhile is of the current release, or of one that was in use before.
        let Some(in_use) = in_use(shared, app) else { continue };
        let expiring = expiring(shared.config.keep.app, &standing, &in_use);
        if !expiring.is_empty() {
            let expired = shared.store.releases_expire(&scope, &expiring).await?;
            tracing::info!(app.id = %app, releases = expired, "releases expired");
        }
    }
    Ok(())
}

/// The releases an app's dynos run, or would go back to after a crash. `None` = nobody looked yet.
fn in_use(shared: &Shared, app: AppId) -> Option<BTreeSet<ReleaseVersion>> {
    let handle = shared.app(app)?;
    if !shared.cache.is_live() || handle.status().borrow().target.is_none() {
        return None;
    }
    let mut in_use = handle.memory().releases();
    in_use.extend(shared.cache.of(app).iter().filter_map(crate::reconcile::Labels::read).map(|labels| labels.release));
    Some(in_use)
}

/// Old audit entries, and tokens that stopped working long ago.
pub(super) async fn notes(shared: &Shared) -> anyhow::Result<()> {
    let age = shared.config.keep.audit;
    let entries = shared.store.audit_prune(&shared.system, age).await?;
    let tokens = shared.store.authorizations_prune(&shared.system, age).await?;
    if entries + tokens > 0 {
        tracing::info!(entries, tokens, "old notes removed");
    }
    Ok(())
}
