//! Pushes that git has started and whose hook has not reported yet.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::git::{Identity, RepoGrant};

/// Who pushes where.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) who: Identity,
    pub(crate) grant: RepoGrant,
    pub(crate) repo: PathBuf,
    /// Fires when the pusher's connection is gone.
    pub(crate) gone: CancellationToken,
    /// Fires when git has ended, and so has moved what it moves.
    pub(crate) ended: CancellationToken,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct PendingPushes(Arc<Mutex<Pushes>>);

#[derive(Debug, Default)]
struct Pushes {
    /// By one-time token.
    unreported: HashMap<String, Pending>,
    /// How many gits receive into each repository, whether their hook has reported or not.
    under_way: HashMap<PathBuf, usize>,
}

/// Forgets the push when git has ended, hook or no hook.
#[derive(Debug)]
pub(crate) struct PendingGuard {
    pushes: PendingPushes,
    token: String,
    repo: PathBuf,
    gone: CancellationToken,
    ended: CancellationToken,
}

impl PendingPushes {
    /// Notes a push, before its git is started; the token goes to the hook through git's environment. `tidy` is called if no other push to
    /// that repository is under way, and none begins while it lasts.
    pub(crate) fn expect(&self, push: Pending, tidy: impl FnOnce(&Path)) -> PendingGuard {
        let token = hex::encode(rand::random::<[u8; 32]>());
        let (gone, ended, repo) = (push.gone.clone(), push.ended.clone(), push.repo.clone());
        let mut pushes = self.lock();
        let under_way = pushes.under_way.entry(repo.clone()).or_default();
        *under_way += 1;
        if *under_way == 1 {
            tidy(&repo);
        }
        pushes.unreported.insert(token.clone(), push);
        drop(pushes);
        PendingGuard { pushes: self.clone(), token, repo, gone, ended }
    }

    /// The push of a token; a token is good once.
    pub(super) fn take(&self, token: &str) -> Option<Pending> {
        self.lock().unreported.remove(token)
    }

    fn lock(&self) -> MutexGuard<'_, Pushes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingGuard {
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The pusher is gone.
    pub(crate) fn cancel(&self) {
        self.gone.cancel();
    }
}

impl Drop for PendingGuard {
    fn drop(&mut self) {
        let mut pushes = self.pushes.lock();
        pushes.unreported.remove(&self.token);
        if let Some(under_way) = pushes.under_way.get_mut(&self.repo) {
            *under_way -= 1;
            if *under_way == 0 {
                pushes.under_way.remove(&self.repo);
            }
        }
        drop(pushes);
        self.ended.cancel();
    }
}
