//! Hashing every layer once a week: disks lose bits, and no file system of a small server tells.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::Core;

/// How old a layer's last hashing may be.
const AGE: Duration = Duration::from_hours(7 * 24);
/// Between two looks for old ones. The first comes after one, too: a machine that starts has other things to read.
const PAUSE: Duration = Duration::from_hours(1);

/// Hashes until the agent ends.
pub(super) async fn run(core: Arc<Core>) {
    while core.shutdown.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_some() {
        let (store, shutdown) = (core.store.clone(), core.shutdown.clone());
        let work = move || {
            // Of this thread only. Disks are asked with the priority that follows from it.
            if let Err(error) = rustix::process::setpriority_process(None, 19) {
                warn!(%error, "cannot hash with low priority");
            }
            store.hash_old(AGE, || shutdown.is_cancelled())
        };
        // A thread of its own: those that serve requests must not be left slow.
        let (done, ended) = tokio::sync::oneshot::channel();
        let thread = std::thread::Builder::new().name("scrub".to_owned()).spawn(move || drop(done.send(work())));
        match (thread, ended.await) {
            (Ok(_), Ok(Ok(()))) => {}
            (_, outcome) => warn!(?outcome, "not every layer could be hashed"),
        }
    }
}
