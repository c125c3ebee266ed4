//! Files that belong to something that is gone.
//!
//! The disk is listed first and the store asked after: what was made meanwhile is not on the list, and what was on the list was recorded before
//! it was made.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use landfall_model::AppId;

use crate::reconcile::Shared;

/// What carries the id of an app that is gone: a push that was under way when its app was purged makes the repository anew, a reader or a
/// late line the log.
pub(super) async fn strays(shared: &Shared) -> anyhow::Result<()> {
    let config = &shared.config;
    let places = [
        (config.git_config().repositories, ".git"),
        (config.logs_dir(), ""),
        (config.release_output_dir(), ""),
        (config.build_cache_dir(), ".json"),
    ];
    let mut listed = Vec::new();
    for (dir, end) in places {
        listed.extend(named_by_app(dir, end).await?);
    }
    let known: HashSet<AppId> = shared.store.app_ids(&shared.system).await?.into_iter().collect();
    for (app, path) in listed.into_iter().filter(|(app, _)| !known.contains(app)) {
        tracing::info!(app.id = %app, path = %path.display(), "removing what is left of an app that is gone");
        blocking(move || remove(&path)).await?;
    }
    Ok(())
}

/// Files and directories named `<app id><end>`.
async fn named_by_app(dir: PathBuf, end: &'static str) -> anyhow::Result<Vec<(AppId, PathBuf)>> {
    blocking(move || {
        let entries = match std::fs::read_dir(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("reading {}", dir.display()))?,
        };
        let paths = entries.flatten().map(|entry| entry.path());
        Ok(paths.filter_map(|path| Some((name(&path)?.strip_suffix(end)?.parse().ok()?, path))).collect())
    })
    .await
}

/// Never follows a link.
fn remove(path: &Path) -> anyhow::Result<()> {
    let is_dir = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    match if is_dir { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) } {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(|| format!("removing {}", path.display())),
        _ => Ok(()),
    }
}

/// Packs repositories that took many pushes.
pub(super) async fn repositories(shared: &Shared) -> anyhow::Result<()> {
    let config = shared.config.git_config();
    for (app, repo) in named_by_app(config.repositories.clone(), ".git").await? {
        if landfall_builder::git::tidy(&config, &repo).await.with_context(|| format!("packing {}", repo.display()))? {
            tracing::info!(app.id = %app, "repository packed");
        }
    }
    Ok(())
}

/// Logs of builds: each app's newest stay.
pub(super) async fn builds(shared: &Shared) -> anyhow::Result<()> {
    let listed = children(shared.config.build_config().builds).await?;
    let mut kept = HashSet::new();
    for app in shared.store.app_ids(&shared.system).await? {
        let builds = shared.store.builds_prune(&shared.system.app(app), shared.config.keep.builds).await?;
        kept.extend(builds.iter().map(ToString::to_string));
    }
    remove_others(listed, kept).await
}

/// Output of release phases: that of each app's newest stay.
pub(super) async fn outputs(shared: &Shared) -> anyhow::Result<()> {
    for (app, dir) in apps_in(shared.config.release_output_dir()).await? {
        let listed = children(dir).await?;
        let keep = u32::try_from(shared.config.keep.app.releases).unwrap_or(u32::MAX);
        let kept = shared.store.outputs_kept(&shared.system.app(app), keep).await?;
        remove_others(listed, kept.iter().map(ToString::to_string).collect()).await?;
    }
    Ok(())
}

/// Logs of dynos that are gone. A log whose writer may live stays: the router's, ours, and those of every container the agent knows.
pub(super) async fn logs(shared: &Shared) -> anyhow::Result<()> {
    let limits = shared.config.keep.logs;
    for (app, dir) in apps_in(shared.config.logs_dir()).await? {
        if !shared.cache.is_live() {
            return Ok(());
        }
        let live: HashSet<String> = shared.cache.of(app).into_iter().map(|info| info.id.to_string()).collect();
        let writes = move |stem: &str| match stem.rsplit_once('.') {
            Some((_, container)) => live.contains(container),
            None => true,
        };
        let pruned = blocking(move || Ok(landfall_logs::prune(&dir, limits, SystemTime::now(), writes)?)).await?;
        if pruned.files > 0 {
            tracing::info!(app.id = %app, files = pruned.files, bytes = pruned.bytes, "old log files removed");
        }
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("a sweep's thread failed")?
}

/// Directories of a directory. One that is not there has none.
async fn children(dir: PathBuf) -> anyhow::Result<Vec<PathBuf>> {
    blocking(move || {
        let entries = match std::fs::read_dir(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("reading {}", dir.display()))?,
        };
        Ok(entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect())
    })
    .await
}

async fn apps_in(dir: PathBuf) -> anyhow::Result<Vec<(AppId, PathBuf)>> {
    let named = |path: PathBuf| Some((name(&path)?.parse().ok()?, path));
    Ok(children(dir).await?.into_iter().filter_map(named).collect())
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// Removes those that are named by an id, and not by a kept one.
async fn remove_others(listed: Vec<PathBuf>, kept: HashSet<String>) -> anyhow::Result<()> {
    blocking(move || {
        let ours = |path: &&PathBuf| name(path).is_some_and(|name| name.parse::<uuid::Uuid>().is_ok() && !kept.contains(name));
        for path in listed.iter().filter(ours) {
            match std::fs::remove_dir_all(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_is_named_by_an_app_is_an_apps() {
        let dir = tempfile::tempdir().unwrap();
        let app = AppId::new();
        for name in [format!("{app}.git"), format!(".{app}.git"), "other.git".to_owned(), app.to_string()] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let found = named_by_app(dir.path().to_owned(), ".git").await.unwrap();
        assert_eq!(found, [(app, dir.path().join(format!("{app}.git")))]);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&found[0].1, &link).unwrap();
        remove(&link).unwrap();
        assert!(found[0].1.is_dir());
        remove(&found[0].1).unwrap();
        remove(&found[0].1).unwrap();
        assert!(!found[0].1.exists());
    }

    #[tokio::test]
    async fn only_what_has_an_id_goes() {
        let dir = tempfile::tempdir().unwrap();
        let [kept, gone] = [(); 2].map(|()| uuid::Uuid::new_v4().to_string());
        for name in [kept.as_str(), gone.as_str(), "lost+found"] {
            std::fs::create_dir_all(dir.path().join(name).join("below")).unwrap();
        }
        std::fs::write(dir.path().join("file"), "").unwrap();
        remove_others(children(dir.path().to_owned()).await.unwrap(), [kept.clone()].into()).await.unwrap();
        let mut left: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        let mut expected = ["file".to_owned(), kept, "lost+found".to_owned()];
        expected.sort();
        assert_eq!(left, expected);
        assert!(children(dir.path().join("none")).await.unwrap().is_empty());
    }
}
