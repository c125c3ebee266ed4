//! The system calls a container may make: the moby default's list without rule S3's exceptions. Everything else answers EPERM.

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder, LinuxSeccompOperator,
    LinuxSyscall, LinuxSyscallBuilder,
};

/// Allowed whatever the arguments.
const ALLOWED: &str = "accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget capset chdir chmod chown chroot clock_getres \
clock_gettime clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old \
epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fallocate \
fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstatfs \
fsync ftruncate futex futex_requeue futex_wait futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid geteuid getgid getgroups \
getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit get_robust_list getrusage getsid \
getsockname getsockopt get_thread_area gettid gettimeofday getuid getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch \
io_cancel ioctl io_destroy io_getevents io_pgetevents ioprio_get ioprio_set io_setup io_submit kill landlock_add_rule landlock_create_ruleset \
landlock_restrict_self lchown lgetxattr link linkat listen listmount listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lstat madvise \
map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap modify_ldt mprotect mq_getsetattr \
mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap \
name_to_handle_at nanosleep newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll \
ppoll prctl pread64 preadv preadv2 prlimit64 process_madvise process_mrelease pselect6 pwrite64 pwritev pwritev2 read readahead readlink readlinkat \
readv recvfrom recvmmsg recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction \
rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_getaffinity sched_getattr \
sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr \
sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop sendfile sendmmsg sendmsg sendto setfsgid \
setfsuid setgid setgroups setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit set_robust_list setsid setsockopt \
set_thread_area set_tid_address setuid setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 splice stat \
statfs statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun \
timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill truncate umask uname unlink unlinkat uretprobe utime utimensat \
utimes vfork vmsplice wait4 waitid write writev";

/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET.
const NAMESPACE_FLAGS: u64 = 0x7E02_0000;

fn arg(index: usize, value: u64, two: Option<u64>, op: LinuxSeccompOperator) -> Result<LinuxSeccompArg, OciSpecError> {
    let builder = LinuxSeccompArgBuilder::default().index(index).value(value).op(op);
    match two {
        Some(two) => builder.value_two(two).build(),
        None => builder.build(),
    }
}

fn rule(name: &str, args: Vec<LinuxSeccompArg>) -> Result<LinuxSyscall, OciSpecError> {
    LinuxSyscallBuilder::default().names([name.to_owned()]).action(LinuxSeccompAction::ScmpActAllow).args(args).build()
}

/// The profile. `builtin`: for libcontainer 0.7.0, which takes a masked comparison's two values in the opposite order of the OCI runtime
/// specification (`value` is the mask there, `valueTwo` the result). With the standard order it lets every clone through; the self-test sees that.
pub(crate) fn profile(builtin: bool) -> Result<LinuxSeccomp, OciSpecError> {
    use LinuxSeccompOperator::{ScmpCmpEq as Eq, ScmpCmpMaskedEq as Masked};
    let names: Vec<String> = ALLOWED.split_whitespace().map(str::to_owned).collect();
    let mut rules = vec![
        LinuxSyscallBuilder::default().names(names).action(LinuxSeccompAction::ScmpActAllow).build()?,
        // Programs fall back to clone, whose flags a filter can see.
        LinuxSyscallBuilder::default()
            .names(["clone3".to_owned()])
            .action(LinuxSeccompAction::ScmpActErrno)
            .errno_ret(libc::ENOSYS as u32)
            .build()?,
        rule("clone", vec![if builtin { arg(0, 0, Some(NAMESPACE_FLAGS), Masked)? } else { arg(0, NAMESPACE_FLAGS, Some(0), Masked)? }])?,
    ];
    for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6] {
        rules.push(rule("socket", vec![arg(0, family as u64, None, Eq)?])?);
    }
    rules.push(rule("socketpair", vec![arg(0, libc::AF_UNIX as u64, None, Eq)?])?);
    // Only NETLINK_ROUTE: glibc lists addresses with it.
    rules.push(rule("socket", vec![arg(0, libc::AF_NETLINK as u64, None, Eq)?, arg(2, libc::NETLINK_ROUTE as u64, None, Eq)?])?);
    for personality in [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        rules.push(rule("personality", vec![arg(0, personality, None, Eq)?])?);
    }
    let native = if cfg!(target_arch = "aarch64") { Arch::ScmpArchAarch64 } else { Arch::ScmpArchX86_64 };
    LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActErrno)
        .default_errno_ret(libc::EPERM as u32)
        .architectures([native])
        .syscalls(rules)
        .build()
}

#[cfg(test)]
mod tests {
    use super::{ALLOWED, profile};

    #[test]
    fn what_rule_s3_forbids_is_not_on_the_list() {
        let forbidden = "ptrace process_vm_readv process_vm_writev keyctl add_key request_key bpf perf_event_open userfaultfd io_uring_setup \
            io_uring_enter io_uring_register mount umount2 move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr pivot_root setns \
            unshare clone clone3 kexec_load kexec_file_load init_module finit_module delete_module open_by_handle_at personality socket socketpair pidfd_getfd kcmp";
        let allowed: Vec<_> = ALLOWED.split_whitespace().collect();
        for name in forbidden.split_whitespace() {
            assert!(!allowed.contains(&name), "{name} is allowed");
        }
    }

    #[test]
    fn sockets_are_of_few_families_and_pairs_of_one() {
        let families = |name: &str| {
            let profile = profile(true).unwrap();
            let rules = profile.syscalls().clone().unwrap();
            let of_name = rules.into_iter().filter(|rule| rule.names().iter().any(|other| other == name));
            let first = |rule: oci_spec::runtime::LinuxSyscall| rule.args().as_ref().map(|args| (args[0].index(), args[0].value()));
            of_name.map(first).collect::<Vec<_>>()
        };
        assert_eq!(families("socket"), [1, 2, 10, 16].map(|family| Some((0, family))));
        assert_eq!(families("socketpair"), [Some((0, 1))]);
    }
}
