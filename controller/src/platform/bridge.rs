//! Copies between a client and an attached process.

use std::sync::Arc;

use landfall_api::platform::{AttachInput, AttachOutput};
use landfall_deploy::{ContainerKey, StopReason};
use landfall_runtime::client::{Attached, AttachedInput, ClientError, Output};
use landfall_runtime_wire::{ContainerId, TermSize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::reconcile::{AppHandle, Shared};

/// Copies until the process ends (true) or the client leaves or the agent is lost (false).
pub(super) async fn run(
    attached: Attached,
    mut from_client: mpsc::Receiver<AttachInput>,
    to_client: mpsc::Sender<AttachOutput>,
    cancel: &CancellationToken,
) -> bool {
    let Attached { mut input, mut output } = attached;
    // Two directions that never wait for each other: a process that does not read must not stop its output.
    let (gone, client_gone) = tokio::sync::oneshot::channel::<()>();
    let upstream = tokio::spawn(async move {
        while let Some(word) = from_client.recv().await {
            if forward(&mut input, word).await.is_err() {
                // The process no longer listens; what it still says is worth waiting for.
                return std::future::pending().await;
            }
        }
        drop(gone);
    });
    tokio::pin!(client_gone);
    let ended = loop {
        tokio::select! {
            next = output.next() => match next {
                Ok(Output::Stdout(bytes)) => if to_client.send(AttachOutput::Stdout(bytes)).await.is_err() { break false },
                Ok(Output::Stderr(bytes)) => if to_client.send(AttachOutput::Stderr(bytes)).await.is_err() { break false },
                Ok(Output::Exited(status)) => {
                    let _ = to_client.send(AttachOutput::Exit(status.code)).await;
                    break true;
                }
                Err(error) => {
                    tracing::debug!(error = %error, "an attached process was lost");
                    break false;
                }
            },
            _ = &mut client_gone => break false,
            () = cancel.cancelled() => break false,
        }
    };
    upstream.abort();
    ended
}

async fn forward(input: &mut AttachedInput, word: AttachInput) -> Result<(), ClientError> {
    match word {
        AttachInput::Stdin(bytes) => input.write(&bytes).await,
        AttachInput::StdinEnd => input.close().await,
        AttachInput::Resize(cols, rows) => input.resize(TermSize { rows, cols }).await,
        AttachInput::Signal(signal) => input.signal(signal).await,
    }
}

/// Nobody is attached any more: an ended dyno may be removed, a running one is told to end.
pub(super) async fn let_go(shared: &Arc<Shared>, handle: &Arc<AppHandle>, container: &ContainerId, ended: bool) {
    let key = ContainerKey(container.to_string());
    if !ended && !shared.cancel.is_cancelled() {
        handle.stop(shared, &key, StopReason::Requested, shared.config.deploy.stop_grace).await;
    }
    handle.unhold(&key);
    handle.wake();
}
