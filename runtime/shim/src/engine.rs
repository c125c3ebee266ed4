//! Creating and starting the container from its bundle: libcontainer in a forked child, or an outside OCI runtime by argv.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, pipe2};

use crate::error::{Result, ShimError, call};
use crate::sys;

/// A runtime that hangs (a frozen cgroup does that) is given up after this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a runtime needs.
pub(crate) struct Engine<'a> {
    /// The container's name.
    pub(crate) id: &'a str,
    /// Holds `config.json`.
    pub(crate) bundle: &'a Path,
    /// For the runtime's own state.
    pub(crate) state: PathBuf,
    /// An outside runtime.
    pub(crate) outside: Option<&'a Path>,
}

impl Engine<'_> {
    /// Creates and starts init, which then waits on `control`. Its pid.
    ///
    /// In a child, so that the runtime's heap does not stay with us; init becomes ours when the child ends, as we are its subreaper.
    pub(crate) fn run(&self, control: &OwnedFd) -> Result<i32> {
        let (from_child, to_shim) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(call("make a pipe"))?;
        let child = match sys::fork().map_err(call("fork"))? {
            ForkResult::Child => {
                drop(from_child);
                // Number 3 may be this very pipe: move it out of the way first.
                let answer = nix::fcntl::fcntl(&to_shim, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(10)).unwrap_or(-1);
                let socket = nix::fcntl::fcntl(control, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(10)).unwrap_or(-1);
                let unblocked = nix::sys::signal::SigSet::empty().thread_set_mask();
                let outcome = match unblocked.and_then(|()| sys::only_control_fd(socket)) {
                    Ok(()) => self.run_here(),
                    Err(errno) => Err(errno.desc().to_owned()),
                };
                let text = match outcome {
                    Ok(pid) => format!("+{pid}"),
                    Err(why) => format!("-{why}"),
                };
                let _ = std::fs::OpenOptions::new()
                    .write(true)
                    .open(format!("/proc/self/fd/{answer}"))
                    .and_then(|mut pipe| pipe.write_all(text.as_bytes()));
                sys::exit_now(0)
            }
            ForkResult::Parent { child } => child,
        };
        drop(to_shim);
        let answer = read_until(from_child, Instant::now() + PATIENCE);
        if answer.is_none() {
            let _ = kill(child, Signal::SIGKILL);
        }
        let _ = waitpid(child, None);
        let answer = answer.ok_or_else(|| ShimError::Engine(format!("no answer within {} s", PATIENCE.as_secs())))?;
        match answer.strip_prefix('+').and_then(|pid| pid.parse().ok()) {
            Some(pid) => Ok(pid),
            None => Err(ShimError::Engine(answer.trim_start_matches('-').to_owned())),
        }
    }

    fn run_here(&self) -> std::result::Result<i32, String> {
        match self.outside {
            Some(program) => self.run_outside(program),
            None => self.run_builtin().map_err(|error| chain(&error)),
        }
    }

    fn run_builtin(&self) -> std::result::Result<i32, libcontainer::error::LibcontainerError> {
        let mut container = ContainerBuilder::new(self.id.to_owned(), SyscallType::default())
            .with_root_path(&self.state)?
            .with_preserved_fds(1)
            .validate_id()?
            .as_init(self.bundle)
            .with_systemd(false)
            .with_detach(true)
            .build()?;
        container.start()?;
        container.pid().map(nix::libc::pid_t::from).ok_or(libcontainer::error::LibcontainerError::Other("no pid in its state".into()))
    }

    fn run_outside(&self, program: &Path) -> std::result::Result<i32, String> {
        // Some runtimes refuse a hybrid cgroup layout; the empty v2 mount can go in our own mount namespace.
        let _ = nix::mount::umount2("/sys/fs/cgroup/unified", nix::mount::MntFlags::MNT_DETACH);
        let pid_file = self.state.join("pid");
        let mut create = self.command(program);
        create.arg("create").arg("--bundle").arg(self.bundle).arg("--preserve-fds").arg("1").arg("--pid-file").arg(&pid_file).arg(self.id);
        finish(create)?;
        let pid = std::fs::read_to_string(&pid_file).map_err(|error| error.to_string())?;
        let mut start = self.command(program);
        start.arg("start").arg(self.id);
        finish(start)?;
        pid.trim().parse().map_err(|_| format!("{} wrote no pid", program.display()))
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").arg("--root").arg(&self.state).process_group(0);
        command
    }

    /// Lets an outside runtime forget the container.
    pub(crate) fn forget(&self) {
        if let Some(program) = self.outside {
            let mut delete = self.command(program);
            delete.arg("delete").arg("--force").arg(self.id);
            let _ = finish(delete);
        }
    }
}

/// Runs it; what it says on stderr, through a file because init keeps the descriptors it is created with.
fn finish(mut command: Command) -> std::result::Result<(), String> {
    let mut words = tempfile_in_memory()?;
    let copy = words.try_clone().map_err(|error| error.to_string())?;
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(copy).status().map_err(|error| error.to_string())?;
    if status.success() {
        return Ok(());
    }
    let mut text = String::new();
    use std::io::Seek;
    let _ = words.rewind().and_then(|()| words.read_to_string(&mut text));
    Err(format!("{}: {}", command.get_program().to_string_lossy(), text.trim()))
}

fn tempfile_in_memory() -> std::result::Result<std::fs::File, String> {
    let flags = nix::sys::memfd::MFdFlags::MFD_CLOEXEC;
    nix::sys::memfd::memfd_create("runtime-errors", flags).map(std::fs::File::from).map_err(|errno| errno.desc().to_owned())
}

fn read_until(pipe: OwnedFd, end: Instant) -> Option<String> {
    use std::os::fd::AsFd;
    let mut text = Vec::new();
    loop {
        let left = end.checked_duration_since(Instant::now())?;
        let mut wait = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        match poll(&mut wait, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(_) => continue,
        }
        let mut buffer = [0; 4096];
        match nix::unistd::read(&pipe, &mut buffer) {
            Ok(0) => return String::from_utf8(text).ok(),
            Ok(count) => text.extend_from_slice(&buffer[..count]),
            Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return None,
        }
        // Children of the runtime may hold the pipe's other end: the answer is one write.
        if pipe.as_raw_fd() >= 0 && !text.is_empty() && text.len() < 4096 {
            return String::from_utf8(text).ok();
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}
