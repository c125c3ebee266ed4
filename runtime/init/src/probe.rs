//! `landfall-init probe`: tries every call rule S3 forbids and names those that went through. Only inside a container: it refuses without a filter.
#![allow(unsafe_code)]

use nix::errno::Errno;

/// Calls that must be refused, each with arguments that do nothing if it is not.
const FORBIDDEN: &[(&str, i64, [u64; 6])] = &[
    ("ptrace", libc::SYS_ptrace, [16, 1, 0, 0, 0, 0]),
    ("process_vm_readv", libc::SYS_process_vm_readv, [1, 0, 0, 0, 0, 0]),
    ("process_vm_writev", libc::SYS_process_vm_writev, [1, 0, 0, 0, 0, 0]),
    ("keyctl", libc::SYS_keyctl, [0, 0, 0, 0, 0, 0]),
    ("add_key", libc::SYS_add_key, [0; 6]),
    ("request_key", libc::SYS_request_key, [0; 6]),
    ("bpf", libc::SYS_bpf, [0; 6]),
    ("perf_event_open", libc::SYS_perf_event_open, [0; 6]),
    ("userfaultfd", libc::SYS_userfaultfd, [1, 0, 0, 0, 0, 0]),
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
    ("unshare(user)", libc::SYS_unshare, [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0, 0]),
    ("clone(user)", libc::SYS_clone, [libc::CLONE_NEWUSER as u64 | libc::SIGCHLD as u64, 0, 0, 0, 0, 0]),
    ("clone(net)", libc::SYS_clone, [libc::CLONE_NEWNET as u64 | libc::SIGCHLD as u64, 0, 0, 0, 0, 0]),
    ("clone3", libc::SYS_clone3, [0; 6]),
    ("kexec_load", libc::SYS_kexec_load, [0; 6]),
    ("kexec_file_load", libc::SYS_kexec_file_load, [u64::MAX, u64::MAX, 0, 0, 0, 0]),
    ("init_module", libc::SYS_init_module, [0; 6]),
    ("finit_module", libc::SYS_finit_module, [u64::MAX, 0, 0, 0, 0, 0]),
    ("delete_module", libc::SYS_delete_module, [0; 6]),
    ("open_by_handle_at", libc::SYS_open_by_handle_at, [u64::MAX, 0, 0, 0, 0, 0]),
    ("personality(ADDR_NO_RANDOMIZE)", libc::SYS_personality, [0x0004_0000, 0, 0, 0, 0, 0]),
    ("reboot", libc::SYS_reboot, [0; 6]),
    ("swapon", libc::SYS_swapon, [0; 6]),
    ("quotactl", libc::SYS_quotactl, [0; 6]),
    ("acct", libc::SYS_acct, [0; 6]),
    ("syslog", libc::SYS_syslog, [10, 0, 0, 0, 0, 0]),
    ("socket(AF_ALG)", libc::SYS_socket, [38, 5, 0, 0, 0, 0]),
    ("socket(AF_VSOCK)", libc::SYS_socket, [40, 1, 0, 0, 0, 0]),
    ("socket(AF_PACKET)", libc::SYS_socket, [17, 3, 0, 0, 0, 0]),
    ("socket(NETLINK_AUDIT)", libc::SYS_socket, [16, 3, 9, 0, 0, 0]),
];

/// Calls every program needs.
const ALLOWED: &[(&str, i64, [u64; 6])] = &[
    ("socket(AF_INET)", libc::SYS_socket, [2, 1, 0, 0, 0, 0]),
    ("socket(AF_UNIX)", libc::SYS_socket, [1, 1, 0, 0, 0, 0]),
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
    let through = FORBIDDEN.iter().filter(|(_, number, args)| !denied(*number, *args)).map(|(name, ..)| format!("{name} is not refused"));
    let missing = ALLOWED.iter().filter(|(_, number, args)| denied(*number, *args)).map(|(name, ..)| format!("{name} is refused"));
    let surprises: Vec<String> = through.chain(missing).collect();
    for line in &surprises {
        println!("{line}");
    }
    println!("{} calls tried, {} surprises", FORBIDDEN.len() + ALLOWED.len(), surprises.len());
    i32::from(!surprises.is_empty())
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
