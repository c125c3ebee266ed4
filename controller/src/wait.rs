//! Waiting for events, each with a slow timer as a net: woken by the one or the other, the same code looks again.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use landfall_model::AppId;
use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::reconcile::Shared;

/// After this long one looks again although nothing was heard.
pub(crate) const NET: Duration = Duration::from_secs(5);

/// Pause before a try that failed although nobody is away.
const AGAIN: Duration = Duration::from_millis(500);

/// Something tried with the agent failed: waits until a further try makes sense, which is when the agent is back, if it was away.
pub(crate) async fn before_retry(shared: &Shared) {
    if shared.cache.is_live() {
        tokio::time::sleep(AGAIN).await;
    } else {
        // The net is only for a cancelled server: whoever tries again asks for the agent anew.
        let _ = tokio::time::timeout(NET, shared.cache.wait_live()).await;
    }
}

/// Changes of one app in the store.
pub(crate) struct AppChanges {
    app: AppId,
    changes: broadcast::Receiver<AppId>,
}

impl AppChanges {
    /// From now on. Ask the store after this, or a change in between is missed.
    pub(crate) fn of(shared: &Shared, app: AppId) -> Self {
        Self { app, changes: shared.store.changes() }
    }

    /// The next change. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        loop {
            match self.changes.recv().await {
                Ok(app) if app != self.app => {}
                // The store is closing: nothing will change any more.
                Err(RecvError::Closed) => return std::future::pending().await,
                Ok(_) | Err(RecvError::Lagged(_)) => return,
            }
        }
    }
}

/// Something that becomes readable when there is news: an inotify descriptor. One that cannot be watched brings none: the net catches it.
pub(crate) enum News {
    /// Nothing to watch.
    None,
    /// Whoever waited reads it.
    Theirs(AsyncFd<OwnedFd>),
    /// Read empty here.
    Ours(AsyncFd<OwnedFd>),
}

impl News {
    /// Of a log that is followed. Poll it after each wait.
    pub(crate) fn of(follow: &landfall_logs::Follow) -> Self {
        follow.news().and_then(|fd| fd.try_clone_to_owned().ok()).and_then(register).map_or(Self::None, Self::Theirs)
    }

    /// Of a directory: files that appear, grow or are renamed in it. Look at them after this, and after each wait.
    pub(crate) fn of_dir(dir: &Path) -> Self {
        let watch = || {
            let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
            let events = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
            inotify::add_watch(&inotify, dir, events)?;
            Ok::<_, rustix::io::Errno>(inotify)
        };
        watch().ok().and_then(register).map_or(Self::None, Self::Ours)
    }

    /// Waits for news. Cancel-safe.
    pub(crate) async fn wait(&self) {
        let (Self::Theirs(source) | Self::Ours(source)) = self else { return std::future::pending().await };
        match source.readable().await {
            Ok(mut ready) => ready.clear_ready(),
            Err(_) => return std::future::pending().await,
        }
        let mut buffer = [0_u8; 4096];
        while let Self::Ours(_) = self
            && rustix::io::read(source, &mut buffer[..]).is_ok_and(|read| read > 0)
        {}
    }
}

/// `AsyncFd::new` is deprecated for types whose descriptor may change under it; an `OwnedFd` keeps its own.
#[expect(deprecated, reason = "its successor is unsafe, and sound for an OwnedFd only anyway")]
fn register(descriptor: OwnedFd) -> Option<AsyncFd<OwnedFd>> {
    AsyncFd::new(descriptor).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_tells_of_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let news = News::of_dir(dir.path());
        let soon = Duration::from_millis(50);
        assert!(tokio::time::timeout(soon, news.wait()).await.is_err(), "nothing happened yet");
        let file = dir.path().join("log");
        for change in 0..3 {
            std::fs::write(&file, format!("{change}")).unwrap();
            tokio::time::timeout(NET, news.wait()).await.unwrap();
        }
        assert!(tokio::time::timeout(soon, news.wait()).await.is_err(), "old news");
        let nothing = News::of_dir(&dir.path().join("none"));
        assert!(tokio::time::timeout(soon, nothing.wait()).await.is_err());
    }
}
