//! Pushes that git has started and whose hook has not reported yet.

use std::collections::HashMap;
use std::path::PathBuf;
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

/// All of them, by one-time token.
#[derive(Clone, Debug, Default)]
pub(crate) struct PendingPushes(Arc<Mutex<HashMap<String, Pending>>>);

/// Forgets the push when git has ended, hook or no hook.
#[derive(Debug)]
pub(crate) struct PendingGuard {
    pushes: PendingPushes,
    token: String,
    gone: CancellationToken,
    ended: CancellationToken,
}

impl PendingPushes {
    /// Notes a push; the token goes to the hook through git's environment.
    pub(crate) fn expect(&self, push: Pending) -> PendingGuard {
        let token = hex::encode(rand::random::<[u8; 32]>());
        let (gone, ended) = (push.gone.clone(), push.ended.clone());
        self.lock().insert(token.clone(), push);
        PendingGuard { pushes: self.clone(), token, gone, ended }
    }

    /// The push of a token; a token is good once.
    pub(super) fn take(&self, token: &str) -> Option<Pending> {
        self.lock().remove(token)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Pending>> {
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
        self.pushes.lock().remove(&self.token);
        self.ended.cancel();
    }
}
