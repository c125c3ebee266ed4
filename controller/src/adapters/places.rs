//! Builds that wait or run here: from before they are recorded until their end is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use landfall_model::{AppId, BuildId};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Builds of one app that may wait or run, with nobody waiting for them.
pub const MOST_WAITING: usize = 10;

/// All of them.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<HashMap<BuildId, Taken>>>);

#[derive(Clone)]
struct Taken {
    app: AppId,
    cancel: CancellationToken,
    ended: CancellationToken,
}

/// One build's place; whoever cancels it waits until this is dropped.
pub struct Place {
    places: Places,
    build: BuildId,
    cancel: CancellationToken,
    _ended: DropGuard,
}

impl Places {
    pub(super) fn take(&self, app: AppId, build: BuildId, cancel: CancellationToken) -> Place {
        self.insert(&mut self.lock(), app, build, cancel)
    }

    /// `None` = the app has all it may have.
    pub(super) fn queue(&self, app: AppId, build: BuildId, cancel: CancellationToken) -> Option<Place> {
        let mut places = self.lock();
        let waiting = places.values().filter(|taken| taken.app == app).count();
        (waiting < MOST_WAITING).then(|| self.insert(&mut places, app, build, cancel))
    }

    fn insert(&self, places: &mut HashMap<BuildId, Taken>, app: AppId, build: BuildId, cancel: CancellationToken) -> Place {
        // Whoever cancels the build cuts off nobody who waits for it: they are told.
        let (ended, cancel) = (CancellationToken::new(), cancel.child_token());
        places.insert(build, Taken { app, cancel: cancel.clone(), ended: ended.clone() });
        Place { places: self.clone(), build, cancel, _ended: ended.drop_guard() }
    }

    pub(super) fn has(&self, build: BuildId) -> bool {
        self.lock().contains_key(&build)
    }

    /// Tells a build to end, and waits until it has. One that is not here has.
    pub(super) async fn cancel(&self, build: BuildId) {
        let taken = self.lock().get(&build).cloned();
        if let Some(taken) = taken {
            taken.cancel.cancel();
            taken.ended.cancelled().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BuildId, Taken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Fires when the build shall end.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancel
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().remove(&self.build);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn whoever_cancels_waits_for_the_end() {
        let (places, app, build) = (Places::default(), AppId::new(), BuildId::new());
        let place = places.take(app, build, CancellationToken::new());
        let mut cancel = Box::pin(places.cancel(build));
        assert!(cancel.as_mut().now_or_never().is_none());
        assert!(place.cancelled().is_cancelled() && places.has(build));
        drop(place);
        cancel.await;
        assert!(!places.has(build));
        places.cancel(build).await;
    }

    #[test]
    fn a_queue_has_an_end() {
        let (places, app) = (Places::default(), AppId::new());
        let queue = |app| places.queue(app, BuildId::new(), CancellationToken::new());
        let mut held: Vec<_> = (0..MOST_WAITING).map(|_| queue(app).unwrap()).collect();
        assert!(queue(app).is_none());
        assert!(queue(AppId::new()).is_some(), "another app has its own");
        held.pop();
        assert!(queue(app).is_some());
    }
}
