//! From a config to a created container: session, namespaces, root, bundle, engine. Nothing here shows on the host after the shim is gone,
//! but cgroups and the socket.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use landfall_init::channel::Channel;
use landfall_init::{FromInit, ToInit};
use landfall_runtime_wire::shim::{BLOCK_SIZE, ShimConfig};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::cgroup::Cgroups;
use crate::engine::Engine;
use crate::error::{Result, ShimError, call, errno, on};
use crate::places::Places;
use crate::root::mount_root;
use crate::spec::{self, Place};

/// How long init may take to say hello.
const PATIENCE: Duration = Duration::from_secs(10);

/// A container that waits for its program.
pub(crate) struct Created {
    /// Host pid of init, our child.
    pub(crate) init_pid: i32,
    /// To init.
    pub(crate) channel: Channel,
    /// Tells of `listen(2)`, where the kernel can.
    pub(crate) listens: Option<OwnedFd>,
    /// Where clients connect.
    pub(crate) listener: UnixListener,
}

/// Reads and checks a config file.
pub(crate) fn load(path: &Path) -> Result<ShimConfig> {
    let bad = |why: String| ShimError::Config { path: path.into(), why };
    let bytes = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
    let config: ShimConfig = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
    let log = config.log.iter().map(|log| &log.dir);
    let outer = [&config.root.upper, &config.socket, &config.exit_file].into_iter().chain(&config.root.lowers).chain(log);
    if let Some(hidden) = outer.into_iter().find(|path| path.starts_with(&config.dir)) {
        return Err(bad(format!("{} must not be below dir {}: the shim covers that", hidden.display(), config.dir.display())));
    }
    if config.process.uid >= BLOCK_SIZE || config.process.gid >= BLOCK_SIZE || config.user_base < 1 {
        return Err(bad(format!(
            "user {}:{} is outside the block of {BLOCK_SIZE} ids at {}",
            config.process.uid, config.process.gid, config.user_base
        )));
    }
    if !config.cgroup_parent.is_absolute() || config.process.args.is_empty() {
        return Err(bad("cgroup_parent must be absolute and process.args not empty".into()));
    }
    Ok(config)
}

/// Makes the container, up to a waiting init.
pub(crate) fn create(config: &ShimConfig) -> Result<Created> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(call("make a mount namespace"))?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).map_err(call("make mounts private"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), &config.dir, Some("tmpfs"), flags, Some("mode=711")).map_err(on("mount a tmpfs on", &config.dir))?;
    let make = |name: &str| -> Result<PathBuf> {
        let path = config.dir.join(name);
        std::fs::create_dir(&path).map_err(|e| on("make directory", &path)(errno(&e)))?;
        Ok(path)
    };
    let (scratch, rootfs, files) = (make("l")?, make("root")?, make("files")?);
    make("state")?;
    mount_root(&config.root, config.user_base, &scratch, &rootfs)?;
    let places = prepare_places(config, &rootfs, &files)?;
    let spec = spec::spec(config, &rootfs, &places).map_err(|error| ShimError::Engine(error.to_string()))?;
    spec.save(config.dir.join("config.json")).map_err(|error| ShimError::Engine(error.to_string()))?;
    drop(spec);
    let listener = listen(&config.socket)?;

    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC).map_err(call("make a socket pair"))?;
    let init_pid = engine(config).run(&theirs)?;
    drop(theirs);
    // Not before: init has moved by now, and what comes soon after a move need not wait for the kernel (the agent's cgroup.rs).
    if let Some(path) = &config.shim_cgroup {
        Cgroups::join(path);
    }
    let mut channel = Channel::new(ours);
    let listens = hello(&mut channel)?;
    Cgroups::find(&config.cgroup_parent.join(config.id.as_str()))
        .refuse_swap(config.limits.memory_bytes)
        .map_err(|error| call("keep the container from swapping")(errno(&error)))?;
    crate::sys::trim_heap();
    Ok(Created { init_pid, channel, listens, listener })
}

/// The engine of a config.
pub(crate) fn engine(config: &ShimConfig) -> Engine<'_> {
    Engine { id: config.id.as_str(), bundle: &config.dir, state: config.dir.join("state"), outside: config.oci_runtime.as_deref() }
}

fn listen(socket: &Path) -> Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(on("remove", socket)(errno(&e))),
        _ => {}
    }
    let listener =
        UnixListener::bind(socket).map_err(|e| on("listen on", socket)(Errno::from_raw(e.raw_os_error().unwrap_or(libc::ENAMETOOLONG))))?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600)).map_err(|e| on("set the mode of", socket)(errno(&e)))?;
    listener.set_nonblocking(true).map_err(|e| on("listen on", socket)(errno(&e)))?;
    Ok(listener)
}

/// Writes the given files and makes a place inside for each mount.
fn prepare_places(config: &ShimConfig, rootfs: &Path, files: &Path) -> Result<Vec<Place>> {
    let mut places = vec![Place { source: config.init.clone(), target: PathBuf::from(spec::INIT), exec: true }];
    let texts = [("/etc/hosts", &config.hosts), ("/etc/resolv.conf", &config.resolv_conf)];
    let given = texts.into_iter().filter_map(|(path, text)| Some((PathBuf::from(path), 0o644, text.as_ref()?.as_bytes(), true)));
    let own = config.files.iter().map(|file| (file.path.clone(), file.mode & 0o777, file.content.as_slice(), false));
    for (index, (target, mode, content, public)) in given.chain(own).enumerate() {
        let source = files.join(index.to_string());
        let failed = |e: &std::io::Error| on("write", &source)(errno(e));
        std::fs::write(&source, content).map_err(|e| failed(&e))?;
        let (uid, gid) = if public { (0, 0) } else { (config.process.uid, config.process.gid) };
        std::os::unix::fs::chown(&source, Some(config.user_base + uid), Some(config.user_base + gid)).map_err(|e| failed(&e))?;
        std::fs::set_permissions(&source, std::fs::Permissions::from_mode(mode)).map_err(|e| failed(&e))?;
        places.push(Place { source, target, exec: false });
    }
    for bind in &config.binds {
        places.push(Place { source: bind.source.clone(), target: bind.target.clone(), exec: true });
    }
    // Host root has no id inside: what is made here is made as the container's root.
    crate::sys::with_fs_ids(config.user_base, config.user_base, || {
        let inside = Places::open(rootfs)?;
        places.iter().try_for_each(|place| if place.source.is_dir() { inside.dir(&place.target) } else { inside.file(&place.target) })
    })
    .map_err(call("take the container's ids"))??;
    Ok(places)
}

fn hello(channel: &mut Channel) -> Result<Option<OwnedFd>> {
    use std::os::fd::AsFd;
    let end = Instant::now() + PATIENCE;
    let failed =
        || ShimError::Engine("landfall-init did not come up; is the installed landfall-init of the same version as landfall-shim?".into());
    loop {
        match channel.take_message::<FromInit>() {
            Ok(Some((FromInit::Hello, mut fds))) => return Ok(fds.pop()),
            Ok(None) => {}
            _ => return Err(failed()),
        }
        let left = end.checked_duration_since(Instant::now()).ok_or_else(failed)?;
        let mut wait = [PollFd::new(channel.fd().as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut wait, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
        if wait[0].revents().is_some_and(|events| !events.is_empty()) && !channel.fill().map_err(call("read from init"))? {
            return Err(failed());
        }
    }
}

/// Undoes a creation that failed half-way.
pub(crate) fn undo(config: &ShimConfig) {
    engine(config).forget();
    let cgroups = Cgroups::find(&config.cgroup_parent.join(config.id.as_str()));
    cgroups.kill();
    let _ = cgroups.remove(Duration::from_secs(5));
    let _ = std::fs::remove_file(&config.socket);
}

/// A message for init; the shape of its answer is in [`FromInit`].
pub(crate) fn tell(channel: &mut Channel, message: &ToInit, fds: &[i32]) -> nix::Result<()> {
    channel.send(message, fds, 5_000)
}
