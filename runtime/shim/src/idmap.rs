//! A user namespace that only carries an id mapping, for `mount_setattr(MOUNT_ATTR_IDMAP)`.

use std::fs::File;
use std::os::fd::OwnedFd;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, pipe2, read, write};

use crate::error::{Result, call, errno, on};
use crate::sys;

/// `on disk, seen by the host as, how many`.
pub(crate) type Mapping = (u32, u32, u32);

/// A descriptor of a user namespace with these mappings. The namespace lives as long as it.
pub(crate) fn user_namespace(uids: &[Mapping], gids: &[Mapping]) -> Result<OwnedFd> {
    let (ready, tell) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(call("make a pipe"))?;
    let child = match sys::fork().map_err(call("fork"))? {
        ForkResult::Child => {
            drop(ready);
            let code = u8::from(unshare(CloneFlags::CLONE_NEWUSER).is_err());
            let _ = write(&tell, &[code]);
            nix::unistd::pause();
            sys::exit_now(0)
        }
        ForkResult::Parent { child } => child,
    };
    drop(tell);
    let made = (|| {
        let mut code = [1_u8];
        read(&ready, &mut code).map_err(call("read from the id mapping helper"))?;
        if code != [0] {
            return Err(call("make a user namespace (is kernel.unprivileged_userns or user.max_user_namespaces 0?)")(
                nix::errno::Errno::EPERM,
            ));
        }
        for (file, mappings) in [("uid_map", uids), ("gid_map", gids)] {
            let path = format!("/proc/{child}/{file}");
            let lines: Vec<String> = mappings.iter().map(|(inside, outside, count)| format!("{inside} {outside} {count}\n")).collect();
            std::fs::write(&path, lines.concat()).map_err(|e| on("write the id mapping", &path)(errno(&e)))?;
        }
        let path = format!("/proc/{child}/ns/user");
        File::open(&path).map(OwnedFd::from).map_err(|e| on("open", &path)(errno(&e)))
    })();
    let _ = kill(child, Signal::SIGKILL);
    let _ = waitpid(child, None);
    made
}
