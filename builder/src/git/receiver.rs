//! What both transports share: from a proven identity and a repository's name to a running git.

use std::path::PathBuf;
use std::sync::Arc;

use landfall_model::AppName;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::places::Places;
use super::process::{GitChild, Mode, start};
use super::{AccessError, Denied, GitAccess, GitService, Identity, Unavailable, repos};
use crate::config::GitConfig;
use crate::hook::{Pending, PendingPushes};

/// The git receiver. One for the process; give it to [`super::ssh::serve`], [`super::http::router`] and [`crate::hook::serve`].
pub struct Receiver {
    config: GitConfig,
    access: Arc<dyn GitAccess>,
    pending: PendingPushes,
    places: Places,
}

impl Receiver {
    /// A receiver that asks `access`.
    pub fn new(config: GitConfig, access: Arc<dyn GitAccess>) -> Arc<Self> {
        let places = Places::new(config.max_processes, config.max_processes_per_account);
        Arc::new(Self { config, access, pending: PendingPushes::default(), places })
    }

    /// Its configuration.
    pub fn config(&self) -> &GitConfig {
        &self.config
    }

    pub(crate) fn access(&self) -> &dyn GitAccess {
        &*self.access
    }

    pub(crate) fn pending(&self) -> &PendingPushes {
        &self.pending
    }

    /// Asks for the repository and starts git in it.
    pub(super) async fn open(
        &self,
        who: &Identity,
        repo: &str,
        service: GitService,
        mode: Mode,
        protocol: Option<&str>,
    ) -> Result<GitChild, AccessError> {
        let app = app_of(repo)?;
        let grant = self.access.repo(who, &app, service).await?;
        let unavailable = |what: &str, error: &dyn std::fmt::Display| {
            error!(%error, "{what}");
            AccessError::from(Unavailable {
                message: format!("The server cannot open the repository of {app}. Try again; the operator finds more in its log."),
            })
        };
        let place = self.places.take(who.account).ok_or_else(|| Unavailable {
            message: "Too many pushes and fetches are under way. Nothing was changed.\nWait until one of yours has ended, then try again."
                .to_owned(),
        })?;
        let path = self.repo_path(grant.app);
        if service == GitService::ReceivePack && is_full(&self.config.repositories) {
            return Err(full().into());
        }
        let most = self.config.max_repository_bytes;
        if service == GitService::ReceivePack && repos::size(&path) > most {
            return Err(too_large(&app, most).into());
        }
        let push = (service == GitService::ReceivePack && mode != Mode::Advertise).then(|| Pending {
            who: who.clone(),
            grant,
            repo: path.clone(),
            gone: CancellationToken::new(),
            ended: CancellationToken::new(),
        });
        let made = {
            let (path, pending) = (path.clone(), self.pending.clone());
            tokio::task::spawn_blocking(move || {
                repos::ensure(&path)?;
                Ok::<_, git2::Error>(push.map(|push| pending.expect(push, repos::remove_quarantines)))
            })
            .await
        };
        let guard = match made {
            Ok(Ok(guard)) => guard,
            Ok(Err(_)) if is_full(&self.config.repositories) => return Err(full().into()),
            Ok(Err(error)) => return Err(unavailable("making a repository failed", &error)),
            Err(error) => return Err(unavailable("making a repository failed", &error)),
        };
        start(&self.config, service, mode, &path, guard, place, protocol).map_err(|error| unavailable("starting git failed", &error))
    }

    /// Where an app's repository is or will be.
    pub fn repo_path(&self, app: landfall_model::AppId) -> PathBuf {
        self.config.repositories.join(format!("{app}.git"))
    }
}

/// With less room than this, a push is not begun.
const LITTLE: u64 = 16 * 1024 * 1024;

/// Whether a push has no chance. Where nobody can tell, it has one.
fn is_full(repositories: &std::path::Path) -> bool {
    let dir = repositories.ancestors().find(|dir| dir.exists());
    dir.and_then(|dir| rustix::fs::statvfs(dir).ok()).is_some_and(|stat| stat.f_bavail.saturating_mul(stat.f_frsize) < LITTLE)
}

fn full() -> Unavailable {
    Unavailable {
        message: "This machine's disk is full, so nothing can be pushed now. Running apps are not touched.\n\
                  The operator can see what fills it with: landfall doctor\n\
                  Push again once there is room; nothing needs a restart."
            .to_owned(),
    }
}

fn too_large(app: &AppName, most: u64) -> Unavailable {
    Unavailable {
        message: format!(
            "The repository of {app} takes more than {} MB, so nothing more can be pushed to it. The app runs on.\n\
             A repository is for code: keep data in object storage or a database.\n\
             The operator can allow more with build.repository_mib in landfall.toml.",
            most / (1024 * 1024)
        ),
    }
}

/// `blog.git`, `/blog.git`, `blog` → `blog`. Anything else is no app of ours, and is answered like an app that does not exist.
fn app_of(repo: &str) -> Result<AppName, Denied> {
    let name = repo.strip_prefix('/').unwrap_or(repo);
    let name = name.strip_suffix('/').unwrap_or(name);
    let name = name.strip_suffix(".git").unwrap_or(name);
    name.parse().map_err(|error: landfall_model::NameError| Denied {
        message: format!("There is no such repository: {error}.\nList your apps with: landfall apps"),
    })
}

#[cfg(test)]
mod tests {
    use super::app_of;
    use proptest::prelude::*;

    #[test]
    fn repository_names() {
        for good in ["blog.git", "/blog.git", "blog", "/blog/", "/blog.git/"] {
            assert_eq!(app_of(good).unwrap().as_str(), "blog", "{good}");
        }
        for bad in [
            "../x",
            "../blog.git",
            "/../../etc",
            "a/b.git",
            "//blog.git",
            "~/blog.git",
            "-x.git",
            "",
            ".git",
            "blog.git.git",
            "Blog.git",
            "blog\0.git",
        ] {
            assert!(app_of(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_name_is_a_path(name in "[./a-z~\\-]{0,20}") {
            if let Ok(app) = app_of(&name) {
                prop_assert!(app.as_str().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
            }
        }
    }
}
