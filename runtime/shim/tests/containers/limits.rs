//! Memory and processes: what happens at the limit, and that killing reaches everything (rules S14, R14, R15).

use std::time::{Duration, Instant};

use landfall_runtime_wire::ExitStatus;
use landfall_runtime_wire::shim::{ShimEvent, ShimRequest};

use crate::code;
use crate::harness::{Container, eventually};

/// `dd` takes 60 MB; the shell that waits for it takes nothing.
const GREEDY_CHILD: &str = "dd if=/dev/zero of=/dev/null bs=60M count=1; echo survived; sleep 1000";

#[test]
fn far_over_its_quota_all_of_a_container_is_killed() {
    let mut c = Container::new(&["sh", "-c", GREEDY_CHILD]);
    c.config.limits.memory_bytes = 32 << 20;
    c.config.limits.memory_quota_bytes = Some(16 << 20);
    let (said, status) = c.run();
    assert_eq!((said.contains("survived"), status), (false, ExitStatus { code: 137, oom: true }), "{said}");
    eventually("an empty cgroup", || c.cgroups().is_empty());
}

#[test]
fn without_a_quota_the_kernel_kills_the_one_process_that_needs_most() {
    let mut c = Container::new(&["sh", "-c", &GREEDY_CHILD.replace("sleep 1000", "exit 3")]);
    c.config.limits.memory_bytes = 32 << 20;
    let (said, status) = c.run();
    assert_eq!((said.contains("survived"), status), (true, ExitStatus { code: 3, oom: true }), "{said}");
}

#[test]
fn the_kernel_has_the_limits_that_were_asked_for() {
    let mut c = Container::new(&["sleep", "1000"]);
    (c.config.limits.cpu_shares, c.config.limits.cpu_percent, c.config.limits.pids) = (512, Some(50), 40);
    c.start();
    let dirs = c.cgroups();
    let read = |file: &str| dirs.iter().find_map(|dir| std::fs::read_to_string(dir.join(file)).ok()).map(|text| text.trim().to_owned());
    let memory = c.config.limits.memory_bytes.to_string();
    assert_eq!(read("memory.limit_in_bytes").or_else(|| read("memory.max")), Some(memory));
    assert_eq!(read("pids.max").as_deref(), Some("40"));
    // v2 has weights from 1 to 10,000: 512 of 262,144 shares are 20.
    assert_eq!(read("cpu.shares").or_else(|| read("cpu.weight")).as_deref(), Some(if dirs.len() > 1 { "512" } else { "20" }));
    let quota = read("cpu.max").unwrap_or_else(|| format!("{} {}", read("cpu.cfs_quota_us").unwrap(), read("cpu.cfs_period_us").unwrap()));
    assert_eq!(quota, "50000 100000");
}

#[test]
fn swap_is_no_way_around_the_memory_limit() {
    let mut c = Container::new(&["sleep", "1000"]);
    c.start();
    let files = ["memory.memsw.limit_in_bytes", "memory.swap.max"];
    let limits: Vec<String> =
        c.cgroups().iter().flat_map(|dir| files.map(|file| dir.join(file))).filter_map(|file| std::fs::read_to_string(file).ok()).collect();
    let most = c.config.limits.memory_bytes.to_string();
    assert!(!limits.is_empty() && limits.iter().all(|limit| limit.trim() == most || limit.trim() == "0"), "{limits:?}");
}

#[test]
fn a_fork_bomb_hits_its_limit_and_ends_whole() {
    // The main process must not fork once the bomb is off: a shell that cannot ends by itself, with 2.
    let mut c = Container::new(&["sh", "-c", "bomb() { bomb | bomb & }; bomb & exec sleep 1000"]);
    c.config.limits.pids = 40;
    c.start();
    let pids = |c: &Container| {
        let lists = c.cgroups().into_iter().filter_map(|dir| std::fs::read_to_string(dir.join("pids.events")).ok());
        lists.filter_map(|text| text.lines().find_map(|line| line.strip_prefix("max ")?.parse::<u64>().ok())).max().unwrap_or(0)
    };
    eventually("the limit was hit", || pids(&c) > 0);
    let begin = Instant::now();
    assert_eq!(c.answer(&ShimRequest::Stop { grace_ms: 0 }), ShimEvent::Exited { status: code(137) });
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert!(c.cgroups().is_empty(), "{:?}", c.cgroups());
}
