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
    // Two directions that never wait for each other: a process that does not read must not stop its output, nor hide that its client left.
    let upstream = tokio::spawn(async move {
        while let Some(word) = from_client.recv().await {
            if forward(&mut input, word).await.is_err() {
                break;
            }
        }
    });
    let copied = async {
        loop {
            let item = match output.next().await {
                Ok(Output::Stdout(bytes)) => AttachOutput::Stdout(bytes),
                Ok(Output::Stderr(bytes)) => AttachOutput::Stderr(bytes),
                Ok(Output::Exited(status)) => {
                    let _ = to_client.send(AttachOutput::Exit(status.code)).await;
                    return true;
                }
                Err(error) => {
                    tracing::debug!(error = %error, "an attached process was lost");
                    return false;
                }
            };
            if to_client.send(item).await.is_err() {
                return false;
            }
        }
    };
    let ended = tokio::select! {
        // An end that was read counts, whoever left at the same moment.
        biased;
        ended = copied => ended,
        () = to_client.closed() => false,
        () = cancel.cancelled() => false,
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
