//! Stack requests: one at a time, lines of progress, cached.

use std::sync::Arc;

use landfall_runtime_wire::agent::{FaultCode, Reply};
use landfall_runtime_wire::image::StackInfo;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::Core;
use crate::fault::{Doing as _, Result, fault};
use crate::stack::{self, Recipe};
use crate::store::Store;
use crate::{fault as faults, frames};

/// Is this reference one of a stack's images?
pub(super) fn is_stack(reference: &str) -> bool {
    reference.starts_with("stack/")
}

/// Every stack whose images are there.
pub(super) fn list(store: &Store) -> Result<Vec<StackInfo>> {
    let stacks = stack::read(store)?;
    Ok(stacks.into_values().filter(|stack| store.image(&stack.build_image).is_ok() && store.image(&stack.run_image).is_ok()).collect())
}

/// Makes a stack for one connection, which may hang up to stop it.
pub(super) async fn serve(core: &Arc<Core>, stream: UnixStream, name: String, suite: String) -> Result<()> {
    let (mut from_client, mut to_client) = stream.into_split();
    let cancel = CancellationToken::new();
    let _cancel_on_drop = cancel.clone().drop_guard();
    let (lines, mut progress) = tokio::sync::mpsc::channel::<String>(256);
    let core_of_task = core.clone();
    let work = core.tasks.spawn(async move { make(core_of_task, name, suite, lines, cancel).await });
    tokio::pin!(work);
    let mut nothing = [0; 1];
    loop {
        tokio::select! {
            Some(line) = progress.recv() => frames::write_json(&mut to_client, &Reply::Progress { line }).await.doing("telling progress")?,
            result = &mut work => {
                while let Ok(line) = progress.try_recv() {
                    frames::write_json(&mut to_client, &Reply::Progress { line }).await.doing("telling progress")?;
                }
                let reply = match result {
                    Ok(Ok(stack)) => Reply::Stack { stack },
                    Ok(Err(fault)) => Reply::Failed { fault },
                    Err(error) => Reply::Failed { fault: fault(FaultCode::Internal, format!("the agent failed: {error}")) },
                };
                return frames::write_json(&mut to_client, &reply).await.doing("answering");
            }
            _hung_up = from_client.read(&mut nothing) => return Ok(()),
            () = core.shutdown.cancelled() => return Ok(()),
        }
    }
}

async fn make(
    core: Arc<Core>,
    name: String,
    suite: String,
    lines: tokio::sync::mpsc::Sender<String>,
    cancel: CancellationToken,
) -> Result<StackInfo> {
    let _one_at_a_time = core.stacks.lock().await;
    let store = core.store.clone();
    let wanted = (name.clone(), suite.clone());
    let there =
        faults::blocking(move || Ok(list(&store)?.into_iter().find(|stack| (&stack.name, &stack.suite) == (&wanted.0, &wanted.1)))).await?;
    if let Some(stack) = there {
        return Ok(stack);
    }
    let recipe = Recipe { name, suite, mirror: core.config.debian_mirror.clone(), deadline: core.config.limits.stack_timeout };
    let store = core.store.clone();
    faults::blocking(move || stack::make(&store, &recipe, &lines, &cancel)).await
}
