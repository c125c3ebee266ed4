//! The few kernel calls that nix has no safe form of.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::ForkResult;

/// Forks. The program has one thread until the container is made, and does not fork later, so the child may do anything.
pub(crate) fn fork() -> nix::Result<ForkResult> {
    // SAFETY: single-threaded.
    unsafe { nix::unistd::fork() }
}

/// Ends this process without running destructors or exit handlers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: takes an integer, does not return.
    unsafe { libc::_exit(code) }
}

fn c_path(path: &Path) -> nix::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)
}

/// A detached clone of the mount at `path`, with ids mapped by `user_ns`.
pub(crate) fn idmapped_clone(path: &Path, user_ns: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let path = c_path(path)?;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: the path is a C string that outlives the call.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })?;
    // SAFETY: a new descriptor of ours.
    let tree = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    let attr = libc::mount_attr { attr_set: libc::MOUNT_ATTR_IDMAP, attr_clr: 0, propagation: 0, userns_fd: user_ns.as_raw_fd() as u64 };
    // SAFETY: an empty C string and a whole mount_attr with its true size.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            std::mem::size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(tree)
}

/// Attaches a detached mount.
pub(crate) fn attach_mount(tree: &OwnedFd, target: &Path) -> nix::Result<()> {
    let target = c_path(target)?;
    // SAFETY: C strings that outlive the call.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            4, /* MOVE_MOUNT_F_EMPTY_PATH */
        )
    })
    .map(drop)
}

/// Makes `fd` known as number 3 to a program we execute, and closes everything above at its exec.
pub(crate) fn only_control_fd(fd: RawFd) -> nix::Result<()> {
    if fd == 3 {
        // SAFETY: integers only.
        Errno::result(unsafe { libc::fcntl(3, libc::F_SETFD, 0) })?;
    } else {
        // SAFETY: integers only; number 3 belongs to nothing this child still uses.
        Errno::result(unsafe { libc::dup2(fd, 3) })?;
    }
    // SAFETY: integers only.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, 4_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Closes every descriptor from `first` up.
pub(crate) fn close_from(first: u32) {
    // SAFETY: called at the start of a process, before anything that owns descriptors exists.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
}

/// Sets a terminal's size, which signals SIGWINCH to its foreground group.
pub(crate) fn set_terminal_size(terminal: &OwnedFd, rows: u16, cols: u16) -> nix::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: a whole winsize that outlives the call.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(drop)
}

const NOTIF_RECV: libc::c_ulong = 0xc050_2100;
const NOTIF_SEND: libc::c_ulong = 0xc018_2101;

/// Lets one waiting `listen(2)` go on. `false` = none waits.
pub(crate) fn continue_listen(notifications: &OwnedFd) -> bool {
    // SAFETY: all-zero is a valid seccomp_notif, and the kernel wants it so.
    let mut request: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: a whole seccomp_notif that outlives the call.
    if unsafe { libc::ioctl(notifications.as_raw_fd(), NOTIF_RECV, &raw mut request) } < 0 {
        return false;
    }
    let answer = libc::seccomp_notif_resp { id: request.id, val: 0, error: 0, flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32 };
    // SAFETY: a whole seccomp_notif_resp that outlives the call. Failing means that the caller died meanwhile.
    unsafe { libc::ioctl(notifications.as_raw_fd(), NOTIF_SEND, &raw const answer) };
    true
}

/// Gives freed heap pages back.
pub(crate) fn trim_heap() {
    // SAFETY: takes an integer.
    unsafe { libc::malloc_trim(0) };
}

/// Has all threads share one heap: a second one would cost pages, and trimming would not reach it.
pub(crate) fn one_heap() {
    // SAFETY: takes integers.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Gives this thread a table of descriptors of its own, with the three standard ones in it. What this process holds else ends with its
/// other thread, even while this one waits for a disk and cannot be killed.
pub(crate) fn own_descriptors() {
    // SAFETY: called at the start of a thread that owns no descriptors yet; the other thread's table stays as it is.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_UNSHARE) };
}

/// Wakes the event loop, from another thread: it takes all signals as events, and this one means nothing but that.
pub(crate) fn wake_event_loop() {
    // Our own process: that cannot fail.
    let _ = nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGUSR1);
}

/// Runs `act` with these file system ids and all capabilities we are permitted: leaving file system id 0 drops some.
pub(crate) fn with_fs_ids<T>(uid: u32, gid: u32, act: impl FnOnce() -> T) -> nix::Result<T> {
    use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
    let (old_uid, old_gid) = (setfsuid(Uid::from_raw(uid)), setfsgid(Gid::from_raw(gid)));
    let raised = raise_capabilities();
    let done = raised.map(|()| act());
    setfsuid(old_uid);
    setfsgid(old_gid);
    raise_capabilities()?;
    done
}

fn raise_capabilities() -> nix::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    // _LINUX_CAPABILITY_VERSION_3: two words of each set.
    let mut header = Header { version: 0x2008_0522, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: header and data have the layout and length that version 3 has; both outlive the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    for word in &mut data {
        word.effective = word.permitted;
    }
    // SAFETY: as above.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) }).map(drop)
}
