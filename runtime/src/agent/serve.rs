//! One connection: who asks, what, and the answer.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use landfall_runtime_wire::ContainerEvent;
use landfall_runtime_wire::agent::{ContainerStats, FaultCode, Hello, Reply, Request, VERSION};
use landfall_runtime_wire::shim::{ShimEvent, ShimRequest};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tracing::debug;

use super::launch::SHIM_ANSWER;
use super::{Core, attach, builds, launch, shim, stacks};
use crate::fault::{Doing as _, Result, blocking, fault, fault_hint};
use crate::frames;

/// A client says what it wants within this.
const HELLO: Duration = Duration::from_secs(5);

/// Serves a connection to its end.
pub(super) async fn connection(core: Arc<Core>, mut stream: UnixStream) {
    let request = match hello(&core, &mut stream).await {
        Ok(request) => request,
        Err(fault) => {
            let _gone = frames::write_json(&mut stream, &Reply::Failed { fault }).await;
            return;
        }
    };
    let root = stream.peer_cred().is_ok_and(|peer| peer.uid() == 0);
    let served = match request {
        Request::Watch => watch(&core, stream).await,
        Request::Attach { id } => joined(&core, stream, &id, ShimRequest::Attach).await,
        Request::Exec { id, spec } => joined(&core, stream, &id, ShimRequest::Exec { spec }).await,
        Request::Build { spec } => builds::serve(&core, stream, *spec).await,
        Request::BuildFile { id, path, max_bytes } => builds::serve_file(&core, stream, id, path, max_bytes).await,
        Request::StackCreate { name, suite } => stacks::serve(&core, stream, name, suite).await,
        other => {
            let core_of_task = core.clone();
            // A task of its own: a client that hangs up does not stop work in the middle.
            let work = core.tasks.spawn(async move { answer(core_of_task, other, root).await });
            let reply = match work.await {
                Ok(Ok(reply)) => reply,
                Ok(Err(fault)) => Reply::Failed { fault },
                Err(error) => Reply::Failed { fault: fault(FaultCode::Internal, format!("the agent failed: {error}")) },
            };
            frames::write_json(&mut stream, &reply).await.doing("answering")
        }
    };
    if let Err(error) = served {
        debug!(%error, "a connection ended");
    }
}

async fn hello(core: &Core, stream: &mut UnixStream) -> Result<Request> {
    let peer = stream.peer_cred().doing("asking who connects")?;
    if peer.uid() != 0 && peer.uid() != core.config.server_uid {
        return Err(fault_hint(FaultCode::Forbidden, "only root and Landfall's server may talk to the agent", "Try again with sudo"));
    }
    let frame = tokio::time::timeout(HELLO, frames::read(stream)).await.map_err(|_| fault(FaultCode::TimedOut, "no request came"))?;
    let (_, bytes) = frame.doing("reading a request")?.ok_or_else(|| fault(FaultCode::Invalid, "no request came"))?;
    let version: serde_json::Value = frames::parse(&bytes).doing("reading a request")?;
    if version["version"] != VERSION {
        let said = format!("this agent speaks version {VERSION} of its protocol, the request is of version {}", version["version"]);
        return Err(fault_hint(FaultCode::Invalid, said, "Restart Landfall so that all its processes are of one version"));
    }
    let hello: Hello = frames::parse(&bytes).map_err(|error| fault(FaultCode::Invalid, format!("not a request: {error}")))?;
    Ok(hello.request)
}

async fn answer(core: Arc<Core>, request: Request, root: bool) -> Result<Reply> {
    let only_root = || if root { Ok(()) } else { Err(fault_hint(FaultCode::Forbidden, "only root may do this", "Try again with sudo")) };
    let store = core.store.clone();
    Ok(match request {
        Request::Ping => Reply::Done,
        Request::Start { spec } => Reply::Container { container: launch::start(core, *spec).await? },
        Request::Stop { id, grace_ms } => Reply::Stopped { status: launch::stop(core, id, grace_ms).await? },
        Request::Remove { id } => {
            launch::remove(core, id).await?;
            Reply::Done
        }
        Request::List => Reply::Containers { containers: core.registry.list() },
        Request::Stats => Reply::Stats { stats: stats(&core).await },
        Request::BuildCommit { id, plan } => Reply::Committed { image: builds::commit(core, id, *plan).await? },
        Request::BuildDiscard { id } => {
            builds::discard(&core, &id).await?;
            Reply::Done
        }
        Request::Images => Reply::Images { images: blocking(move || store.images()).await? },
        Request::Image { image } => Reply::Image { image: Box::new(blocking(move || store.image_info(&image)).await?) },
        Request::ImageImport { reference, from } => {
            only_root()?;
            Reply::Image { image: Box::new(blocking(move || store.import(&reference, &from)).await?) }
        }
        Request::ImageExport { image, to } => {
            only_root()?;
            blocking(move || store.export(&image, &to)).await?;
            Reply::Done
        }
        Request::ImageGc { keep_images, keep_layers } => {
            let mut images: std::collections::BTreeSet<_> = keep_images.into_iter().collect();
            let mut layers: std::collections::BTreeSet<_> = keep_layers.into_iter().collect();
            images.extend(core.registry.records().into_iter().map(|record| record.image));
            core.builds.needs(&mut images, &mut layers);
            Reply::Collected { report: blocking(move || store.gc(&images, &layers, stacks::is_stack)).await? }
        }
        Request::Stacks => Reply::Stacks { stacks: blocking(move || stacks::list(&store)).await? },
        Request::Watch
        | Request::Attach { .. }
        | Request::Exec { .. }
        | Request::Build { .. }
        | Request::BuildFile { .. }
        | Request::StackCreate { .. } => {
            return Err(fault(FaultCode::Internal, "a streaming request in the wrong place"));
        }
    })
}

/// Every container, then each change. A watcher too far behind is cut off: it asks again and gets a whole snapshot.
async fn watch(core: &Core, mut stream: UnixStream) -> Result<()> {
    let (containers, mut events) = core.registry.watch();
    let snapshot = Reply::Event { event: ContainerEvent::Snapshot { containers } };
    frames::write_json(&mut stream, &snapshot).await.doing("telling a watcher")?;
    let (mut incoming, mut outgoing) = stream.into_split();
    let mut nothing = [0; 1];
    loop {
        tokio::select! {
            event = events.recv() => {
                let Ok(event) = event else { return Ok(()) };
                frames::write_json(&mut outgoing, &Reply::Event { event }).await.doing("telling a watcher")?;
            }
            _hung_up = incoming.read(&mut nothing) => return Ok(()),
            () = core.shutdown.cancelled() => return Ok(()),
        }
    }
}

async fn joined(core: &Core, mut stream: UnixStream, id: &landfall_runtime_wire::ContainerId, request: ShimRequest) -> Result<()> {
    let opened = match core.registry.known(id) {
        Ok(_) => attach::open(core, id, &request).await,
        Err(error) => Err(error),
    };
    match opened {
        Ok(shim) => {
            frames::write_json(&mut stream, &Reply::Attached).await.doing("answering")?;
            tokio::select! {
                result = attach::pass(stream, shim) => result,
                () = core.shutdown.cancelled() => Ok(()),
            }
        }
        Err(fault) => frames::write_json(&mut stream, &Reply::Failed { fault }).await.doing("answering"),
    }
}

async fn stats(core: &Core) -> Vec<ContainerStats> {
    let ask = async |info: landfall_runtime_wire::ContainerInfo| {
        let answer = shim::ask(&shim::socket(&core.config, &info.id), ShimRequest::Stats, SHIM_ANSWER).await;
        let Ok(ShimEvent::Stats { stats }) = answer else { return None };
        Some(ContainerStats { id: info.id, cpu_ns: stats.cpu_ns, memory_bytes: stats.memory_bytes, pids: stats.pids })
    };
    let running = core.registry.list().into_iter().filter(|info| !matches!(info.state, landfall_runtime_wire::ContainerState::Exited(_)));
    join_all(running.map(ask)).await.into_iter().flatten().collect()
}
