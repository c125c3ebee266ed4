//! The socket that hooks report to.

use std::sync::Arc;

use landfall_model::AppId;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::connection::serve_one;
use super::pending::PendingPushes;
use crate::git::Receiver;
use crate::push::PushHandler;
use crate::turns::Turns;

/// What every connection needs.
pub(super) struct Desk {
    pub(super) pending: PendingPushes,
    pub(super) handler: Arc<dyn PushHandler>,
    pub(super) turns: Turns<AppId>,
}

/// Answers hooks until `shutdown`; then cancels the pushes that run and waits for them.
///
/// `turns` keeps pushes to one app apart; share it with whatever else builds that app (`POST /apps/{app}/builds`).
pub async fn serve(
    listener: UnixListener,
    receiver: &Receiver,
    handler: Arc<dyn PushHandler>,
    turns: Turns<AppId>,
    shutdown: CancellationToken,
) {
    let desk = Arc::new(Desk { pending: receiver.pending().clone(), handler, turns });
    let tracker = TaskTracker::new();
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) if is_ours(&stream) => {
                let (desk, shutdown) = (desk.clone(), shutdown.clone());
                tracker.spawn(async move { serve_one(&desk, stream, shutdown).await });
            }
            Ok(_) => warn!("somebody who is not the server's own user called the hook socket"),
            Err(error) => {
                warn!(%error, "accepting a hook failed");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
    tracker.close();
    tracker.wait().await;
}

/// Hooks run as the server's own user.
fn is_ours(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == nix::unistd::geteuid().as_raw())
}
