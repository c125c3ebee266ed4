//! `landfall-init probe`: tries every call rule S3 forbids and names those that went through. Only inside a container: it refuses without a filter.
#![allow(unsafe_code)]

use nix::errno::Errno;

/// Calls that must be refused, each with arguments that do nothing if it is not.
const FORBIDDEN: &[(&str, i64, [u64; 6])] = &[
    ("ptrace", libc::SYS_ptrace, [16, 1, 0, 0, 0, 0]),
    ("process_vm_readv", libc::SYS_process_vm_readv, [1, 0, 0, 0, 0, 0]),
    ("process_vm_writev", libc::SYS_process_vm_writev, [1, 0, 0, 0, 0, 0]),
    ("kcmp", libc::SYS_kcmp, [1, 1, 0, 0, 0, 0]),
    ("pidfd_getfd", libc::SYS_pidfd_getfd, [u64::MAX, 0, 0, 0, 0, 0]),
    ("keyctl", libc::SYS_keyctl, [0, 0, 0, 0, 0, 0]),
    ("add_key", libc::SYS_add_key, [0; 6]),
    ("request_key", libc::SYS_request_key, [0; 6]),
    ("bpf", libc::SYS_bpf, [0; 6]),
    ("perf_event_open", libc::SYS_perf_event_open, [0; 6]),
    ("userfaultfd", libc::SYS_userfaultfd, [1, 0, 0, 0, 0, 0]),
    ("fanotify_init", libc::SYS_fanotify_init, [u64::MAX, 0, 0, 0, 0, 0]),
    ("io_uring_setup", libc::SYS_io_uring_setup, [1, 0, 0, 0, 0, 0]),
    ("io_uring_enter", libc::SYS_io_uring_enter, [u64::MAX, 0, 0, 0, 0, 0]),
    ("io_uring_register", libc::SYS_io_uring_register, [u64::MAX, 0, 0, 0, 0, 0]),
    ("mount", libc::SYS_mount, [0; 6]),
    ("umount2", libc::SYS_umount2, [0; 6]),
    ("pivot_root", libc::SYS_pivot_root, [0; 6]),
    ("open_tree", libc::SYS_open_tree, [0; 6]),
    ("move_mount", libc::SYS_move_mount, [0; 6]),
    ("fsopen", libc::SYS_fsopen, [0; 6]),
    ("fsconfig", libc::SYS_fsconfig, [0; 6]),
    ("fsmount", libc::SYS_fsmount, [0; 6]),
    ("fspick", libc::SYS_fspick, [0; 6]),
    ("mount_setattr", libc::SYS_mount_setattr, [0; 6]),
    ("setns", libc::SYS_setns, [u64::MAX, 0, 0, 0, 0, 0]),
    ("clone3", libc::SYS_clone3, [0; 6]),
    ("kexec_load", libc::SYS_kexec_load, [0; 6]),
    ("kexec_file_load", libc::SYS_kexec_file_load, [u64::MAX, u64::MAX, 0, 0, 0, 0]),
    ("init_module", libc::SYS_init_module, [0; 6]),
    ("finit_module", libc::SYS_finit_module, [u64::MAX, 0, 0, 0, 0, 0]),
    ("delete_module", libc::SYS_delete_module, [0; 6]),
    ("open_by_handle_at", libc::SYS_open_by_handle_at, [u64::MAX, 0, 0, 0, 0, 0]),
    ("lookup_dcookie", libc::SYS_lookup_dcookie, [0; 6]),
    ("personality(ADDR_NO_RANDOMIZE)", libc::SYS_personality, [0x0004_0000, 0, 0, 0, 0, 0]),
    ("personality(READ_IMPLIES_EXEC)", libc::SYS_personality, [0x0040_0000, 0, 0, 0, 0, 0]),
    ("reboot", libc::SYS_reboot, [0; 6]),
    ("swapon", libc::SYS_swapon, [0; 6]),
    ("swapoff", libc::SYS_swapoff, [0; 6]),
    ("quotactl", libc::SYS_quotactl, [0; 6]),
    ("quotactl_fd", libc::SYS_quotactl_fd, [u64::MAX, 0, 0, 0, 0, 0]),
    ("acct", libc::SYS_acct, [0; 6]),
    ("syslog", libc::SYS_syslog, [10, 0, 0, 0, 0, 0]),
    ("vhangup", libc::SYS_vhangup, [0; 6]),
    ("sethostname", libc::SYS_sethostname, [0, u64::MAX, 0, 0, 0, 0]),
    ("setdomainname", libc::SYS_setdomainname, [0, u64::MAX, 0, 0, 0, 0]),
    ("settimeofday", libc::SYS_settimeofday, [1, 0, 0, 0, 0, 0]),
    ("clock_settime", libc::SYS_clock_settime, [0; 6]),
    ("clock_adjtime", libc::SYS_clock_adjtime, [0; 6]),
    ("nfsservctl", libc::SYS_nfsservctl, [0; 6]),
    ("mbind", libc::SYS_mbind, [0; 6]),
    ("set_mempolicy", libc::SYS_set_mempolicy, [u64::MAX, 0, 0, 0, 0, 0]),
    ("get_mempolicy", libc::SYS_get_mempolicy, [0; 6]),
    ("migrate_pages", libc::SYS_migrate_pages, [0; 6]),
    ("move_pages", libc::SYS_move_pages, [0; 6]),
    ("set_mempolicy_home_node", libc::SYS_set_mempolicy_home_node, [0; 6]),
];

/// Those that only this architecture has.
#[cfg(target_arch = "x86_64")]
const FORBIDDEN_HERE: &[(&str, i64, [u64; 6])] = &[
    ("iopl", libc::SYS_iopl, [3, 0, 0, 0, 0, 0]),
    ("ioperm", libc::SYS_ioperm, [0, 1, 1, 0, 0, 0]),
    ("uselib", libc::SYS_uselib, [0; 6]),
    ("ustat", libc::SYS_ustat, [0; 6]),
    ("sysfs", libc::SYS_sysfs, [3, 0, 0, 0, 0, 0]),
    ("_sysctl", libc::SYS__sysctl, [0; 6]),
];
#[cfg(not(target_arch = "x86_64"))]
const FORBIDDEN_HERE: &[(&str, i64, [u64; 6])] = &[];

/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, and for unshare NEWTIME.
const NAMESPACES: [(&str, u64); 8] = [
    ("mount", 0x0002_0000),
    ("cgroup", 0x0200_0000),
    ("uts", 0x0400_0000),
    ("ipc", 0x0800_0000),
    ("user", 0x1000_0000),
    ("pid", 0x2000_0000),
    ("net", 0x4000_0000),
    ("time", 0x80),
];

/// Socket families up to this one are tried; the kernel has 46.
const FAMILIES: u64 = 64;
/// AF_UNIX, AF_INET, AF_INET6; AF_NETLINK with protocol 0.
const OPEN_FAMILIES: [u64; 4] = [1, 2, 10, 16];
/// AF_UNIX: pairs of sockets are of this family only.
const PAIR_FAMILY: u64 = 1;
/// Stream, datagram, raw and sequenced packets.
const KINDS: [u64; 4] = [1, 2, 3, 5];
/// Netlink protocols.
const PROTOCOLS: u64 = 32;

/// Calls every program needs.
const ALLOWED: &[(&str, i64, [u64; 6])] = &[
    ("socket(AF_INET)", libc::SYS_socket, [2, 1, 0, 0, 0, 0]),
    ("socket(AF_UNIX)", libc::SYS_socket, [1, 1, 0, 0, 0, 0]),
    ("socketpair(AF_UNIX)", libc::SYS_socketpair, [1, 1, 0, 0, 0, 0]),
    ("socket(NETLINK_ROUTE)", libc::SYS_socket, [16, 3, 0, 0, 0, 0]),
    ("getpid", libc::SYS_getpid, [0; 6]),
];

/// Prints one line for each surprise. Exit code 0 = none.
pub(crate) fn run() -> i32 {
    // SAFETY: PR_GET_SECCOMP takes and changes nothing.
    if unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) } != libc::SECCOMP_MODE_FILTER as i32 {
        println!("this is not inside a container: nothing was tried");
        return 2;
    }
    let mut forbidden: Vec<(String, i64, [u64; 6])> =
        FORBIDDEN.iter().chain(FORBIDDEN_HERE).map(|(name, number, args)| ((*name).to_owned(), *number, *args)).collect();
    for (name, flag) in NAMESPACES {
        forbidden.push((format!("unshare({name})"), libc::SYS_unshare, [flag, 0, 0, 0, 0, 0]));
        // In clone the lowest byte is a signal's number.
        if flag > 0xff {
            forbidden.push((format!("clone({name})"), libc::SYS_clone, [flag | libc::SIGCHLD as u64, 0, 0, 0, 0, 0]));
        }
    }
    for (family, kind) in (0..FAMILIES).flat_map(|family| KINDS.map(|kind| (family, kind))) {
        if !OPEN_FAMILIES.contains(&family) {
            forbidden.push((format!("socket({family}, {kind})"), libc::SYS_socket, [family, kind, 0, 0, 0, 0]));
        }
        if family != PAIR_FAMILY {
            forbidden.push((format!("socketpair({family}, {kind})"), libc::SYS_socketpair, [family, kind, 0, 0, 0, 0]));
        }
    }
    for protocol in 1..PROTOCOLS {
        forbidden.push((format!("socket(AF_NETLINK, {protocol})"), libc::SYS_socket, [16, 3, protocol, 0, 0, 0]));
    }
    let through = forbidden.iter().filter(|(_, number, args)| !denied(*number, *args)).map(|(name, ..)| format!("{name} is not refused"));
    let missing = ALLOWED.iter().filter(|(_, number, args)| denied(*number, *args)).map(|(name, ..)| format!("{name} is refused"));
    let mut surprises: Vec<String> = through.chain(missing).collect();
    if !foreign_denied() {
        surprises.push("a system call of a foreign architecture is not refused".to_owned());
    }
    for line in &surprises {
        println!("{line}");
    }
    println!("{} calls tried, {} surprises", forbidden.len() + ALLOWED.len() + 1, surprises.len());
    i32::from(!surprises.is_empty())
}

/// The other doors of this processor, the 32-bit one (`int 0x80`) and x32, each in a child: a filter may answer, or kill.
#[cfg(target_arch = "x86_64")]
fn foreign_denied() -> bool {
    let int80 = || {
        let answer: i64;
        // SAFETY: number 20 is getpid there; it takes nothing and changes nothing but the answer's register.
        unsafe {
            std::arch::asm!("int 0x80", inlateout("rax") 20_i64 => answer, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
        }
        answer as i32 > 0
    };
    // SAFETY: getpid takes nothing. Bit 30 of the number asks for its x32 form.
    let x32 = || unsafe { libc::syscall(libc::SYS_getpid | 0x4000_0000) > 0 };
    dies_or_fails(int80) && dies_or_fails(x32)
}

#[cfg(target_arch = "x86_64")]
fn dies_or_fails(works: impl Fn() -> bool) -> bool {
    use nix::sys::wait::{WaitStatus, waitpid};
    match crate::sys::fork() {
        Ok(nix::unistd::ForkResult::Child) => crate::sys::exit_now(i32::from(works())),
        Ok(nix::unistd::ForkResult::Parent { child }) => {
            matches!(waitpid(child, None), Ok(WaitStatus::Exited(_, 0) | WaitStatus::Signaled(..)))
        }
        Err(_) => false,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn foreign_denied() -> bool {
    true
}

fn denied(number: i64, a: [u64; 6]) -> bool {
    let parent = nix::unistd::getpid();
    // SAFETY: the arguments are null or invalid where a pointer is expected, so the kernel reads and writes nothing of ours.
    let outcome = Errno::result(unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]) });
    if nix::unistd::getpid() != parent {
        // A clone that went through: this is the child.
        std::process::exit(0);
    }
    matches!(outcome, Err(Errno::EPERM | Errno::ENOSYS))
}
