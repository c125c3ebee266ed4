//! Joining a client to a container's streams: frames pass through, the shim's last word is translated.

use landfall_runtime_wire::agent::{FaultCode, Reply};
use landfall_runtime_wire::frame::Kind;
use landfall_runtime_wire::shim::{ShimEvent, ShimRequest};
use tokio::net::UnixStream;

use super::{Core, shim};
use crate::fault::{Doing as _, Result, fault};
use crate::frames;
use landfall_runtime_wire::ContainerId;

/// Opens the streams; [`pass`] follows.
pub(super) async fn open(core: &Core, id: &ContainerId, request: &ShimRequest) -> Result<UnixStream> {
    let work = async {
        let mut stream = shim::open(&shim::socket(&core.config, id), request).await?;
        match shim::event(&mut stream).await? {
            Some(ShimEvent::Attached) => Ok(stream),
            _ => Err(fault(FaultCode::Internal, "the container's shim did not join the streams")),
        }
    };
    tokio::time::timeout(core.config.limits.create_timeout, work)
        .await
        .map_err(|_| fault(FaultCode::TimedOut, "joining the streams took too long"))?
}

/// Passes frames both ways until the process ended or one side hung up.
pub(super) async fn pass(client: UnixStream, shim: UnixStream) -> Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_shim, mut to_shim) = shim.into_split();
    let inwards = async {
        let copied = tokio::io::copy(&mut from_client, &mut to_shim).await;
        // A client that hung up ends the conversation; a shim that takes no more input may still have output.
        if copied.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let outwards = async {
        while let Some((kind, bytes)) = frames::read(&mut from_shim).await.doing("reading the container's output")? {
            if kind != Kind::Json {
                frames::write(&mut to_client, kind, &bytes).await.doing("passing output on")?;
                continue;
            }
            let reply = match frames::parse(&bytes).doing("reading the container's output")? {
                ShimEvent::Exited { status } => Reply::Exited { status },
                ShimEvent::Failed { message } => Reply::Failed { fault: fault(FaultCode::Internal, message) },
                _ => continue,
            };
            return frames::write_json(&mut to_client, &reply).await.doing("passing the exit status on");
        }
        Ok(())
    };
    tokio::select! {
        result = outwards => result,
        () = inwards => Ok(()),
    }
}
