//! After a build's program has ended: reading its files, making its image, dropping it.

use std::path::PathBuf;
use std::sync::Arc;

use landfall_failpoint::failpoint;
use landfall_runtime_wire::ContainerId;
use landfall_runtime_wire::agent::{FaultCode, Reply};
use landfall_runtime_wire::build::{CommittedImage, ExportPlan};
use landfall_runtime_wire::frame::Kind;
use tokio::net::UnixStream;

use super::{refuse, relative};
use crate::agent::{Core, commit as export, launch};
use crate::disk;
use crate::fault::{Doing as _, Result, blocking, fault, fault_hint};
use crate::frames;

/// Answers a request for one file of a finished build.
pub(in crate::agent) async fn serve_file(core: &Core, mut stream: UnixStream, id: ContainerId, path: PathBuf, max: u64) -> Result<()> {
    match file(core, id, path, max).await {
        Ok(content) => {
            for piece in content.chunks(256 * 1024) {
                frames::write(&mut stream, Kind::Stdout, piece).await.doing("sending a file")?;
            }
            frames::write_json(&mut stream, &Reply::Done).await.doing("sending a file")
        }
        Err(fault) => refuse(&mut stream, fault).await,
    }
}

async fn file(core: &Core, id: ContainerId, path: PathBuf, max: u64) -> Result<Vec<u8>> {
    let build = core.builds.finished(&id)?;
    let overlay = export::view(core, &build);
    blocking(move || {
        relative(&path)?;
        overlay.with(build.merged, move |root| {
            disk::read_inside(root, &path, max)
                .doing(format!("reading {} of the build", path.display()))?
                .ok_or_else(|| fault(FaultCode::NotFound, format!("the build left no {}", path.display())))
        })
    })
    .await
}

/// Answers a commit request.
pub(in crate::agent) async fn commit(core: Arc<Core>, id: ContainerId, plan: ExportPlan) -> Result<CommittedImage> {
    let operation = core.registry.operation(&id);
    let _alone = match &operation {
        Some(operation) => Some(operation.lock().await),
        None => None,
    };
    let build = core.builds.finished(&id)?;
    let core_of_work = core.clone();
    let image = blocking(move || export::commit(&core_of_work, &build, plan)).await.map_err(|mut fault| {
        if fault.code == FaultCode::DiskFull {
            fault = fault_hint(
                FaultCode::DiskFull,
                format!("keeping the build: {}", fault.message),
                "Free some space on the machine and push again",
            );
        }
        fault
    })?;
    core.builds.change(|builds| {
        if let Some(build) = builds.get_mut(&id) {
            build.images.insert(image.digest.clone());
            build.layers.extend(image.layers.iter().map(|layer| layer.layer.diff_id.clone()));
        }
    });
    Ok(image)
}

/// Drops a build, wherever it is. Waits for a commit in its middle.
pub(in crate::agent) async fn discard(core: &Arc<Core>, id: &ContainerId) -> Result<()> {
    let Some(record) = core.registry.get(id) else {
        core.builds.change(|builds| builds.remove(id));
        return Ok(());
    };
    if !record.build {
        return Err(fault(FaultCode::Invalid, format!("{id} is a container, not a build")));
    }
    let operation = core.registry.operation(id);
    let _alone = match &operation {
        Some(operation) => Some(operation.lock().await),
        None => None,
    };
    core.builds.change(|builds| builds.remove(id));
    failpoint("agent.build.before-discard");
    launch::discard(core, id).await
}
