//! The few calls that nix has no safe form of.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::ForkResult;

/// The app's user must not open our `/proc` entries: the control socket is behind them.
pub(crate) fn hide() -> nix::Result<()> {
    // SAFETY: PR_SET_DUMPABLE takes no pointers.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }).map(drop)
}

/// Owns an inherited descriptor and closes it on exec.
pub(crate) fn take_fd(fd: i32) -> nix::Result<OwnedFd> {
    // SAFETY: F_SETFD takes an integer; a bad descriptor is an error.
    Errno::result(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: called once, at start, for the one descriptor beside 0 to 2; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Forks.
pub(crate) fn fork() -> nix::Result<ForkResult> {
    // SAFETY: this process has one thread, so the child may do anything.
    unsafe { nix::unistd::fork() }
}

/// Ends this process without running anything.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes an integer and does not return.
    unsafe { libc::_exit(code) }
}

/// Makes three descriptors 0, 1 and 2.
pub(crate) fn stdio(fds: &[i32]) -> nix::Result<()> {
    for (target, fd) in fds.iter().enumerate() {
        // SAFETY: integers only; sources are all above 2, because 0 to 2 are always open here.
        Errno::result(unsafe { libc::dup2(*fd, target as i32) })?;
    }
    Ok(())
}

/// Makes descriptor 0 the controlling terminal of this session.
pub(crate) fn controlling_terminal() -> nix::Result<()> {
    // SAFETY: TIOCSCTTY takes an integer.
    Errno::result(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) }).map(drop)
}

/// Sets a terminal's size.
pub(crate) fn set_size(terminal: &OwnedFd, rows: u16, cols: u16) -> nix::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the pointer is to a whole winsize that outlives the call.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(drop)
}

/// Undoes what we did to signals: nothing blocked, nothing ignored.
pub(crate) fn default_signals() -> nix::Result<()> {
    // SAFETY: SIG_DFL installs no handler.
    unsafe { nix::sys::signal::signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}

/// A descriptor that tells of every `listen(2)` in the container, for the shim to answer. `None` where the kernel has none to give;
/// the shim then looks at intervals.
pub(crate) fn listen_notifications() -> Option<OwnedFd> {
    let op = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_listen as u32, 0, 1),
        op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_USER_NOTIF, 0, 0),
        op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program lives until the call returns; the kernel copies it.
    let fd = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER, &raw const program)
    };
    // SAFETY: a non-negative answer is a new descriptor of ours.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
