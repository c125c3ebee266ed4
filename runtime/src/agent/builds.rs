//! Build containers: one per connection, gone with it.

use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use landfall_runtime_wire::agent::{FaultCode, Reply};
use landfall_runtime_wire::build::{BuildOutcome, BuildSpec, CommittedImage, ExportPlan, KillReason};
use landfall_runtime_wire::frame::Kind;
use landfall_runtime_wire::shim::{Bind, ShimEvent, ShimRequest};
use landfall_runtime_wire::{ContainerId, Stdio};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tracing::warn;

use super::launch::{self, Plan};
use super::{Core, attach, commit, monitor, shim, spec};
use crate::disk::{self, Owner, copy_tree, make_dirs};
use crate::fault::{Doing as _, Result, blocking, fault, fault_hint};
use crate::frames;
use crate::store::Image;

/// The user of builds.
pub(super) const BUILD_USER: u32 = 1000;

/// What is known of a build while its session lasts.
#[derive(Clone, Debug)]
pub(super) struct Build {
    /// Layers below the upper, top first.
    pub(super) lowers: Vec<PathBuf>,
    /// Where the build wrote.
    pub(super) upper: PathBuf,
    /// Directory to mount merged views at.
    pub(super) merged: PathBuf,
    /// Its program ended and nothing of it runs.
    finished: bool,
    /// What a collection must not take.
    images: BTreeSet<String>,
    layers: BTreeSet<String>,
}

/// Every build of this agent.
#[derive(Debug, Default)]
pub(super) struct Builds {
    inner: Mutex<HashMap<ContainerId, Build>>,
}

impl Builds {
    fn change<T>(&self, work: impl FnOnce(&mut HashMap<ContainerId, Build>) -> T) -> T {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn finished(&self, id: &ContainerId) -> Result<Build> {
        let build =
            self.change(|builds| builds.get(id).cloned()).ok_or_else(|| fault(FaultCode::NotFound, format!("there is no build {id}")))?;
        if build.finished { Ok(build) } else { Err(fault(FaultCode::Conflict, format!("build {id} still runs"))) }
    }

    /// Adds what builds need to what a collection keeps.
    pub(super) fn needs(&self, images: &mut BTreeSet<String>, layers: &mut BTreeSet<String>) {
        self.change(|builds| {
            for build in builds.values() {
                images.extend(build.images.iter().cloned());
                layers.extend(build.layers.iter().cloned());
            }
        });
    }
}

/// Runs a build for one connection; when the connection ends, all of the build is gone.
pub(super) async fn serve(core: &Arc<Core>, mut stream: UnixStream, spec: BuildSpec) -> Result<()> {
    let id = spec.id.clone();
    let limits = spec.limits.clone();
    let reserved = core.store.image(&spec.image).and_then(|image| {
        let mut record = launch::record(id.clone(), spec.labels.clone(), &image.info.digest, None, true);
        let held = core.registry.reserve(&mut record)?;
        let held = held.ok_or_else(|| fault(FaultCode::Conflict, format!("the id {id} is in use")))?;
        Ok((image, record, held))
    });
    // From here on the id is ours, and so is removing all of it.
    let (image, record, held) = match reserved {
        Ok(reserved) => reserved,
        Err(error) => return refuse(&mut stream, error).await,
    };
    let started = match prepare(core, spec, image).await {
        Ok(plan) => launch_and_join(core, &record, plan).await,
        Err(error) => Err(error),
    };
    drop(held);
    let result = match started {
        Ok(joined) => {
            let (mut from_client, mut to_client) = stream.into_split();
            let served = tokio::select! {
                served = follow(core, &id, joined, &mut to_client, &limits) => served,
                () = hung_up(&mut from_client) => Ok(()),
                () = core.shutdown.cancelled() => Ok(()),
            };
            if served.is_ok() && core.builds.finished(&id).is_ok() {
                tokio::select! {
                    () = hung_up(&mut from_client) => {}
                    () = core.shutdown.cancelled() => {}
                }
            } else if let Err(fault) = served {
                let _gone = frames::write_json(&mut to_client, &Reply::Failed { fault }).await;
            }
            Ok(())
        }
        Err(error) => refuse(&mut stream, error).await,
    };
    if let Err(error) = discard(core, &id).await {
        warn!(container.id = %id, %error, "cannot remove a build");
    }
    result
}

async fn refuse(stream: &mut UnixStream, fault: landfall_runtime_wire::agent::Fault) -> Result<()> {
    frames::write_json(stream, &Reply::Failed { fault }).await.doing("answering")
}

async fn hung_up(client: &mut OwnedReadHalf) {
    let mut nothing = [0; 64];
    while matches!(client.read(&mut nothing).await, Ok(1..)) {}
}

/// Everything up to the start.
async fn prepare(core: &Arc<Core>, spec: BuildSpec, image: Image) -> Result<Plan> {
    let core = core.clone();
    blocking(move || {
        let mut lowers = spec.restored.iter().map(|layer| core.store.layer_fs(&layer.diff_id)).collect::<Result<Vec<_>>>()?;
        lowers.extend(image.lowers.iter().cloned());
        let data = core.config.container_data_dir(spec.id.as_str());
        let (upper, merged) = (data.join("upper"), data.join("merged"));
        for dir in [&data, &merged] {
            disk::private_dir(dir)?;
        }
        fill(&core, &spec, &upper)?;
        let mut binds = spec::certificates(&core, &image)?;
        for bind in &spec.binds {
            binds.push(Bind { source: core.config.libexec_dir.join(relative(&bind.from)?), target: bind.to.clone() });
        }
        let mut process = spec::process(&image, spec.args, spec.env, Some(spec.app_dir))?;
        (process.uid, process.gid) = (BUILD_USER, BUILD_USER);
        let build = Build {
            lowers: lowers.clone(),
            upper,
            merged,
            finished: false,
            images: [image.info.digest.clone()].into(),
            layers: spec.restored.into_iter().map(|layer| layer.diff_id).collect(),
        };
        core.builds.change(|builds| builds.insert(spec.id.clone(), build));
        // The agent ends builds itself; the shim is the second line, should the agent die.
        let mut limits = spec.limits;
        limits.wall_ms = limits.wall_ms.map(|wall| wall.saturating_add(30_000));
        Ok(Plan {
            hostname: "build".to_owned(),
            process,
            lowers,
            user_block: spec.user_block,
            limits,
            stdio: Stdio::Pipes,
            log: None,
            port: None,
            files: spec.files,
            binds,
        })
    })
    .await
}

/// Puts the source and the seed files into the fresh upper.
fn fill(core: &Core, spec: &BuildSpec, upper: &Path) -> Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    std::fs::create_dir_all(upper).doing("making a build's root")?;
    std::fs::set_permissions(upper, std::fs::Permissions::from_mode(0o755)).doing("making a build's root")?;
    let source = std::fs::symlink_metadata(&spec.source_dir).doing(format!("looking at the source {}", spec.source_dir.display()))?;
    if !source.is_dir() || (source.uid() != core.config.server_uid && source.uid() != 0) {
        let said = format!("the source {} is no directory of Landfall's server", spec.source_dir.display());
        return Err(fault(FaultCode::Forbidden, said));
    }
    let app = relative(&spec.app_dir)?;
    if app.components().count() != 1 {
        return Err(fault(FaultCode::Invalid, format!("{} is not one directory below the root", spec.app_dir.display())));
    }
    copy_tree(&spec.source_dir, &upper.join(app), Owner::All(BUILD_USER, BUILD_USER)).doing("copying the source into the build")?;
    std::fs::set_permissions(upper.join(app), std::fs::Permissions::from_mode(0o755)).doing("copying the source into the build")?;
    make_dirs(upper, Path::new("/layers"), BUILD_USER).doing("making /layers of a build")?;
    for seed in &spec.seed {
        let doing = || format!("writing {} of a build", seed.path.display());
        let parent = make_dirs(upper, seed.path.parent().unwrap_or(Path::new("/")), BUILD_USER).doing(doing())?;
        let file = parent.join(seed.path.file_name().ok_or_else(|| fault(FaultCode::Invalid, doing()))?);
        std::fs::write(&file, &seed.content).doing(doing())?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(seed.mode & 0o777)).doing(doing())?;
        std::os::unix::fs::lchown(&file, Some(BUILD_USER), Some(BUILD_USER)).doing(doing())?;
    }
    Ok(())
}

/// A path without root, `.` and `..`.
pub(super) fn relative(path: &Path) -> Result<&Path> {
    let path = path.strip_prefix("/").unwrap_or(path);
    let clean = path.components().all(|part| matches!(part, Component::Normal(_))) && path.components().count() > 0;
    if clean { Ok(path) } else { Err(fault(FaultCode::Invalid, format!("{} is not a plain path", path.display()))) }
}

async fn launch_and_join(core: &Arc<Core>, record: &super::record::Record, plan: Plan) -> Result<UnixStream> {
    launch::launch(core, record, plan).await?;
    attach::open(core, &record.info.id, &ShimRequest::Attach).await
}

/// Streams the output and watches the limits, up to the end of the build's program.
async fn follow(
    core: &Arc<Core>,
    id: &ContainerId,
    joined: UnixStream,
    client: &mut OwnedWriteHalf,
    limits: &landfall_runtime_wire::Limits,
) -> Result<()> {
    let (mut from_shim, _open) = joined.into_split();
    let (sender, mut incoming) = tokio::sync::mpsc::channel(64);
    core.tasks.spawn(async move {
        while let Ok(Some(frame)) = frames::read(&mut from_shim).await {
            if sender.send(frame).await.is_err() {
                return;
            }
        }
    });
    let watched = watch_limits(core, id, limits);
    tokio::pin!(watched);
    let mut killed = None;
    let status = loop {
        tokio::select! {
            frame = incoming.recv() => match frame {
                Some((Kind::Json, bytes)) => {
                    if let Ok(ShimEvent::Exited { status }) = frames::parse(&bytes) {
                        break status;
                    }
                }
                Some((kind, bytes)) => frames::write(client, kind, &bytes).await.doing("passing build output on")?,
                None => {
                    killed = killed.or(Some(KillReason::Shim));
                    break monitor::SHIM_KILLED;
                }
            },
            reason = &mut watched, if killed.is_none() => {
                killed = Some(reason);
                let (socket, deadline) = (shim::socket(&core.config, id), core.config.limits.create_timeout);
                core.tasks.spawn(async move { shim::ask(&socket, ShimRequest::Stop { grace_ms: 0 }, deadline).await });
            }
        }
    };
    finish(core, id, BuildOutcome { status, killed }, client).await
}

async fn finish(core: &Arc<Core>, id: &ContainerId, outcome: BuildOutcome, client: &mut OwnedWriteHalf) -> Result<()> {
    // Nothing may run or be mounted while the root is read.
    launch::end(core, id).await?;
    core.registry.update(id, |info| info.state = landfall_runtime_wire::ContainerState::Exited(outcome.status));
    core.builds.change(|builds| {
        if let Some(build) = builds.get_mut(id) {
            build.finished = true;
        }
    });
    frames::write_json(client, &Reply::BuildFinished { outcome }).await.doing("telling how a build ended")
}

/// Ends when a limit is reached, saying which.
async fn watch_limits(core: &Core, id: &ContainerId, limits: &landfall_runtime_wire::Limits) -> KillReason {
    let upper = core.config.container_data_dir(id.as_str()).join("upper");
    let most = limits.disk_bytes.unwrap_or(core.config.limits.disk_bytes);
    let over_time = async {
        match limits.wall_ms {
            Some(wall) => tokio::time::sleep(Duration::from_millis(wall)).await,
            None => std::future::pending().await,
        }
    };
    let over_disk = async {
        loop {
            tokio::time::sleep(core.config.limits.disk_check).await;
            let (path, reserve, begun) = (upper.clone(), core.config.limits.disk_reserve, std::time::Instant::now());
            let looked = tokio::task::spawn_blocking(move || {
                if disk::free(&path).is_ok_and(|free| free < reserve) {
                    Some(KillReason::HostDisk)
                } else {
                    (disk::usage(&path) > most).then_some(KillReason::Disk)
                }
            });
            if let Ok(Some(reason)) = looked.await {
                return reason;
            }
            // Looking takes at most a tenth of the time.
            tokio::time::sleep(begun.elapsed() * 9).await;
        }
    };
    tokio::select! {
        () = over_time => KillReason::Time,
        reason = over_disk => reason,
    }
}

/// Answers a request for one file of a finished build.
pub(super) async fn serve_file(core: &Core, mut stream: UnixStream, id: ContainerId, path: PathBuf, max: u64) -> Result<()> {
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
    let overlay = commit::view(core, &build);
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
pub(super) async fn commit(core: Arc<Core>, id: ContainerId, plan: ExportPlan) -> Result<CommittedImage> {
    let operation = core.registry.operation(&id);
    let _alone = match &operation {
        Some(operation) => Some(operation.lock().await),
        None => None,
    };
    let build = core.builds.finished(&id)?;
    let core_of_work = core.clone();
    let image = blocking(move || commit::commit(&core_of_work, &build, plan)).await.map_err(|mut fault| {
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
pub(super) async fn discard(core: &Arc<Core>, id: &ContainerId) -> Result<()> {
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
    launch::discard(core, id).await
}
