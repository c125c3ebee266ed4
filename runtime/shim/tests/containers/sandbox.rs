//! What a program in a container sees of the machine: rules S4 to S6 of the trust reference, looked at from inside.

use landfall_runtime_wire::shim::{ShimEvent, ShimRequest};

use crate::harness::Container;
use crate::{code, exec};

fn said(script: &str) -> String {
    let (said, status) = Container::new(&["sh", "-c", script]).run();
    assert_eq!(status, code(0), "{said}");
    said
}

#[test]
fn there_are_no_devices_but_the_harmless_ones() {
    let said = said("cd /dev; for f in *; do [ -c $f ] && echo c $f; [ -b $f ] && echo b $f; done; ls /dev/pts /dev/shm /dev/mqueue; true");
    let devices: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("c ")).collect();
    // ptmx is a link to the container's own pts/ptmx.
    assert_eq!(devices, ["full", "null", "ptmx", "random", "tty", "urandom", "zero"], "{said}");
    assert!(!said.contains("\nb "), "{said}");
    let refused = self::said("mknod /tmp/sda b 8 0 2>&1 || busybox mknod /tmp/sda b 8 0 2>&1; busybox mknod /tmp/null c 1 3 2>&1; true");
    assert_eq!(refused.matches("not permitted").count(), 3, "{refused}");
}

#[test]
fn every_namespace_is_its_own() {
    let inside = said("for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done");
    for line in inside.lines() {
        let (kind, _) = line.split_once(':').unwrap();
        assert_ne!(std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_str().unwrap(), line);
    }
    assert_eq!(inside.lines().count(), 7, "{inside}");
    let said = said("cat /proc/self/cgroup; cat /proc/1/cgroup");
    assert!(said.lines().all(|line| line.ends_with(":/")), "the host's cgroup paths are not to be seen: {said}");
}

#[test]
fn the_kernels_doors_are_masked_or_read_only() {
    let mounts = said("cat /proc/mounts");
    assert!(!mounts.contains(" cgroup"), "no cgroup file system is mounted: {mounts}");
    let sys = mounts.lines().find(|line| line.contains(" /sys sysfs ")).unwrap();
    assert!(sys.contains("ro,") && !mounts.contains("/tmp/") && !mounts.contains("lowerdir=/"), "no path of the host: {mounts}");
    for path in ["acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "sched_debug", "scsi", "timer_list", "timer_stats"] {
        let said =
            said(&format!("[ -e /proc/{path} ] || exit 0; [ -d /proc/{path} ] && ls /proc/{path} || head -c 100 /proc/{path}; true"));
        assert_eq!(said, "", "/proc/{path} shows something");
    }
    for path in ["/sys/firmware", "/sys/devices/virtual/powercap"] {
        assert_eq!(said(&format!("[ -e {path} ] || exit 0; ls {path}")), "", "{path} shows something");
    }
    for path in [
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
        "/sys/kernel/uevent_helper",
    ] {
        let said = said(&format!("[ -e {path} ] || exit 0; echo x 2>&1 > {path} || echo refused"));
        assert!(said.is_empty() || said.contains("refused") || said.contains("ead-only") || said.contains("denied"), "{path}: {said}");
        assert!(!std::fs::read_to_string(path).is_ok_and(|text| text == "x\n"), "{path} was written");
    }
    let fs = said(
        "ls /proc/fs /proc/bus 2>&1; echo 1 > /proc/self/oom_score_adj; cat /proc/self/oom_score_adj; echo -900 > /proc/self/oom_score_adj; cat /proc/self/oom_score_adj",
    );
    assert!(fs.lines().filter(|line| *line == "1").count() == 2 && fs.contains("denied"), "nobody makes itself harder to kill: {fs}");
}

/// A core_pattern that begins with `|` starts a program on the host, as root, with the container's dying process as its input. A limit of 0
/// does not keep it from that; 1 does.
#[test]
fn no_crash_starts_a_program_on_the_host() {
    let said = said("cat /proc/self/limits");
    let core = said.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["1", "1"], "{core}");
    let files = said.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    let limit: u64 = files.split_whitespace().nth(4).unwrap().parse().unwrap();
    assert!(limit <= hard, "{files}, the host allows {hard}");
}

/// pid 1 is ours, but of the app's user: nothing of the host is to be had through it.
#[test]
fn init_gives_nothing_away() {
    let said = said(
        "ls /proc/1/fd 2>&1; readlink /proc/1/exe 2>&1 || echo refused; cat /proc/1/environ 2>&1; echo x > /.landfall/init; kill -9 1; true",
    );
    assert!(said.contains("denied") && said.contains("refused") && !said.contains("PATH=/usr/bin:/bin"), "{said}");
}

#[test]
fn a_further_program_finds_three_descriptors_and_the_same_walls() {
    let mut c = Container::new(&["sleep", "1000"]);
    c.start();
    let script = "for fd in /proc/$$/fd/*; do readlink $fd; done; grep -E '^(Seccomp|NoNewPrivs|CapEff|CapBnd):' /proc/self/status; pwd";
    let (said, status) = c.ask(&exec(&["sh", "-c", script], None)).finish();
    let (fds, rest): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| line.starts_with("pipe:"));
    assert_eq!((fds.len(), status), (3, code(0)), "{said}");
    assert_eq!(rest, ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "/"], "{said}");
    assert!(matches!(c.answer(&ShimRequest::Stop { grace_ms: 0 }), ShimEvent::Exited { .. }));
}
