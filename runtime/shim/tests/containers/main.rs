//! Real containers, as root, on this kernel.
#![allow(clippy::unwrap_used)]

mod hang;
mod harness;
mod limits;
mod output;
mod sandbox;

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use harness::{Container, SHIM, eventually, init, runs};
use landfall_runtime_wire::agent::Control;
use landfall_runtime_wire::frame::{self, Kind};
use landfall_runtime_wire::shim::{Bind, Phase, ShimEvent, ShimRequest, SourceLower};
use landfall_runtime_wire::{ExecSpec, ExitStatus, FileMount, Stdio, TermSize};
use std::io::Write;

pub(crate) fn code(code: i32) -> ExitStatus {
    ExitStatus { code, oom: false }
}

pub(crate) fn exec(args: &[&str], terminal: Option<TermSize>) -> ShimRequest {
    ShimRequest::Exec { spec: ExecSpec { args: args.iter().map(|arg| (*arg).to_owned()).collect(), env: vec![], terminal } }
}

#[test]
fn a_program_runs_as_its_user_and_its_code_comes_back() {
    let mut c = Container::new(&[
        "sh",
        "-c",
        "id -u; id -g; echo \"$GREETING\"; cat /etc/hosts; for fd in /proc/$$/fd/*; do readlink $fd >&2; done; exit 7",
    ]);
    let (said, status) = c.run();
    assert!(said.contains("1000\n1000\nhé\nllo\n127.0.0.1 localhost\n"), "{said}");
    assert_eq!(said.matches("pipe:").count(), 3, "only descriptors 0 to 2 are inside: {said}");
    assert_eq!(status, code(7));
    assert_eq!(std::fs::read_to_string(&c.config.exit_file).unwrap(), r#"{"code":7,"oom":false}"#);
    assert_eq!(c.cgroups(), Vec::<PathBuf>::new());
    assert_eq!(c.answer(&ShimRequest::Quit), ShimEvent::Done);
    eventually("the shim's end", || !runs(c.launched.unwrap().shim_pid));
    assert!(!c.config.socket.exists());
}

#[test]
fn capabilities_are_empty_and_privileges_cannot_grow() {
    let (said, status) = Container::new(&["grep", "-E", "^(Cap|NoNewPrivs|Seccomp:)", "/proc/self/status"]).run();
    assert_eq!(status, code(0));
    assert_eq!(said.matches("0000000000000000").count(), 5, "{said}");
    assert!(said.contains("NoNewPrivs:\t1") && said.contains("Seccomp:\t2"), "{said}");
}

#[test]
fn ids_on_disk_are_the_containers_own() {
    let mut c =
        Container::new(&["sh", "-c", "cat /layer-file; touch /tmp/mine; cat /workspace/code > /tmp/copy; echo x >> /workspace/code"]);
    let layer = c.dir.path().join("layer");
    std::fs::write(layer.join("layer-file"), "secret\n").unwrap();
    std::os::unix::fs::chown(layer.join("layer-file"), Some(1000), Some(1000)).unwrap();
    std::fs::set_permissions(layer.join("layer-file"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let source = c.dir.path().join("source");
    std::fs::create_dir_all(source.join("workspace")).unwrap();
    std::fs::write(source.join("workspace/code"), "1\n").unwrap();
    for path in ["workspace", "workspace/code"] {
        std::os::unix::fs::chown(source.join(path), Some(4242), Some(4343)).unwrap();
    }
    c.config.root.source =
        Some(SourceLower { dir: source.clone(), host_uid: 4242, host_gid: 4343, container_uid: 1000, container_gid: 1000 });
    assert_eq!(c.run(), ("secret\n".into(), code(0)));
    let upper = &c.config.root.upper;
    for path in ["tmp/mine", "tmp/copy", "workspace/code"] {
        let meta = upper.join(path).metadata().unwrap();
        assert_eq!((meta.uid(), meta.gid()), (1000, 1000), "{path}");
    }
    assert_eq!(std::fs::read_to_string(upper.join("workspace/code")).unwrap(), "1\nx\n");
    assert_eq!(std::fs::read_to_string(source.join("workspace/code")).unwrap(), "1\n");
}

#[test]
fn the_self_test_finds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(SHIM).arg("selftest").arg(init()).args([dir.path(), dir.path()]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains(" 0 surprises"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn zombies_are_reaped() {
    // The inner sh ends before its child, which init inherits.
    let script = "for i in 1 2 3 4 5; do sh -c 'true & exec true' ; done; sleep 0.2; grep -l '^State:.Z' /proc/[0-9]*/status; echo counted";
    let (said, _) = Container::new(&["sh", "-c", script]).run();
    assert_eq!(said, "counted\n");
}

#[test]
fn a_terminal_has_its_size_and_job_control() {
    let mut c = Container::new(&["sh", "-c", "trap 'stty size' WINCH; tty; stty size; while :; do sleep 0.05; done"]);
    c.config.stdio = Stdio::Terminal { size: TermSize { rows: 20, cols: 70 } };
    c.create().unwrap();
    let mut attached = c.ask(&ShimRequest::Attach);
    assert_eq!(c.answer(&ShimRequest::Start), ShimEvent::Done);
    attached.expect("/dev/pts/0\r\n20 70\r\n");
    attached.0.write_all(&frame::json(&Control::Resize { size: TermSize { rows: 11, cols: 22 } })).unwrap();
    attached.expect("11 22\r\n");
    attached.send(Kind::Stdin, b"\x03");
    assert_eq!(attached.finish().1, code(130));
}

#[test]
fn output_before_the_first_attach_is_kept_and_detaching_kills_nothing() {
    let mut c = Container::new(&["sh", "-c", "echo early; touch /tmp/said; read word; echo $word; exit 4"]);
    c.start();
    eventually("the first output", || c.config.root.upper.join("tmp/said").exists());
    let mut first = c.ask(&ShimRequest::Attach);
    first.expect("early\n");
    drop(first);
    let mut second = c.ask(&ShimRequest::Attach);
    second.send(Kind::Stdin, b"late\n");
    assert_eq!(second.finish(), ("late\n".into(), code(4)));
}

#[test]
fn further_programs_run_beside_the_main_one() {
    let mut c = Container::new(&["sleep", "1000"]);
    c.start();
    let mut pipes: Vec<_> =
        (0..8).map(|_| c.ask(&exec(&["sh", "-c", "cat; id -u; grep CapEff /proc/self/status; exit 3"], None))).collect();
    for link in &mut pipes {
        link.send(Kind::Stdin, b"piped ");
        link.send(Kind::Stdin, b"");
    }
    for link in &mut pipes {
        assert_eq!(link.finish(), ("piped 1000\nCapEff:\t0000000000000000\n".into(), code(3)));
    }
    let mut terminal = c.ask(&exec(&["stty", "size"], Some(TermSize { rows: 5, cols: 6 })));
    assert_eq!(terminal.finish(), ("5 6\r\n".into(), code(0)));
    let (said, status) = c.ask(&exec(&["nosuch"], None)).finish();
    assert_eq!((said.contains("nosuch"), status), (true, code(127)));
    assert_eq!(c.answer(&ShimRequest::Stop { grace_ms: 10_000 }), ShimEvent::Exited { status: code(143) });
}

#[test]
fn stop_kills_what_ignores_sigterm() {
    let mut c = Container::new(&["sh", "-c", "trap '' TERM; touch /tmp/ready; while :; do sleep 0.05; done"]);
    c.start();
    eventually("the trap", || c.config.root.upper.join("tmp/ready").exists());
    let begin = std::time::Instant::now();
    assert_eq!(c.answer(&ShimRequest::Stop { grace_ms: 300 }), ShimEvent::Exited { status: code(137) });
    assert!(begin.elapsed().as_millis() >= 300);
    assert_eq!(c.cgroups(), Vec::<PathBuf>::new());
}

#[test]
fn swap_is_no_way_around_the_memory_limit() {
    let mut c = Container::new(&["sleep", "1000"]);
    c.start();
    let read = |file: &str| c.cgroups().iter().find_map(|dir| std::fs::read_to_string(dir.join(file)).ok());
    let limit = c.config.limits.memory_bytes.to_string();
    match (read("memory.swap.max"), read("memory.memsw.limit_in_bytes")) {
        (Some(v2), _) => assert_eq!(v2.trim(), "0"),
        (_, Some(v1)) => assert_eq!(v1.trim(), limit),
        (None, None) => assert_eq!(read("memory.limit_in_bytes").unwrap().trim(), limit, "this kernel counts no swap"),
    }
}

#[test]
fn too_much_memory_is_told_as_such() {
    let mut c = Container::new(&["dd", "if=/dev/zero", "of=/dev/null", "bs=500M", "count=1"]);
    assert_eq!(c.run().1, ExitStatus { code: 137, oom: true });
}

#[test]
fn readiness_is_an_event() {
    let mut c = Container::new(&["sh", "-c", "busybox httpd -f -p 127.0.0.1:4000 & read word; exec nc -l -p 5000"]);
    c.config.port = Some(5000);
    c.create().unwrap();
    let pid = c.launched.unwrap().init_pid.to_string();
    assert!(Command::new("nsenter").args(["-t", &pid, "-n", "ip", "link", "set", "lo", "up"]).status().unwrap().success());
    let mut watch = c.ask(&ShimRequest::Watch);
    let mut attached = c.ask(&ShimRequest::Attach);
    let mut next = |want: &dyn Fn(&landfall_runtime_wire::shim::ShimStatus) -> bool| loop {
        let ShimEvent::Status { status } = watch.event() else { panic!("not a status") };
        if want(&status) {
            return status;
        }
    };
    assert_eq!(c.answer(&ShimRequest::Start), ShimEvent::Done);
    let wrong = next(&|status| !status.listeners.is_empty());
    assert_eq!((wrong.phase, wrong.listeners[0].port, wrong.listeners[0].address.is_loopback()), (Phase::Running, 4000, true));
    attached.send(Kind::Stdin, b"go\n");
    let ready = next(&|status| status.phase == Phase::Ready);
    assert!(ready.listeners.iter().any(|listener| listener.port == 5000 && !listener.address.is_loopback()));
}

#[test]
fn nothing_is_mounted_on_the_host_and_files_are_read_only_inside() {
    let mut c = Container::new(&[
        "sh",
        "-c",
        "cat /platform/env/KEY; echo x > /platform/env/KEY; cat /cnb/tool/word; touch /cnb/tool/x; ls /.landfall",
    ]);
    let tool = c.dir.path().join("tool");
    std::fs::create_dir(&tool).unwrap();
    std::fs::write(tool.join("word"), "tool\n").unwrap();
    c.config.binds = vec![Bind { source: tool, target: "/cnb/tool".into() }];
    c.config.files = vec![FileMount { path: "/platform/env/KEY".into(), mode: 0o400, content: b"value\n".to_vec() }];
    c.create().unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(c.dir.path().to_str().unwrap()), "{mounts}");
    let mut attached = c.ask(&ShimRequest::Attach);
    c.answer(&ShimRequest::Start);
    let (said, _) = attached.finish();
    assert!(said.contains("value\n") && said.contains("tool\n") && said.matches("ead-only file system").count() == 2, "{said}");
    assert!(said.contains("init\n") && !said.contains("shim"), "{said}");
}

#[test]
fn a_root_that_reaches_outside_is_refused() {
    for name in ["dev", "proc", "sys", "etc"] {
        let mut c = Container::new(&["true"]);
        let victim = c.dir.path().join("victim");
        std::fs::create_dir(&victim).unwrap();
        std::os::unix::fs::symlink(&victim, c.dir.path().join("layer").join(name)).unwrap();
        let refusal = c.create().unwrap_err();
        assert!(refusal.contains(&format!("the image's /{name} is")) && refusal.contains("Rebuild"), "{refusal}");
        assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 0);
        assert_eq!(c.cgroups(), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_killed_shim_takes_its_container_along_and_cleanup_removes_the_rest() {
    let mut c = Container::new(&["sleep", "1000"]);
    c.start();
    let launched = c.launched.take().unwrap();
    assert!(!c.cgroups().is_empty());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(launched.shim_pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("the container's end", || !runs(launched.init_pid));
    for _ in 0..2 {
        assert!(Command::new(SHIM).arg("cleanup").arg(c.config_file()).status().unwrap().success());
    }
    assert_eq!(c.cgroups(), Vec::<PathBuf>::new());
    assert_eq!(std::fs::read_to_string(&c.config.exit_file).unwrap(), r#"{"code":137,"oom":false}"#);
}

#[test]
fn outside_runtimes_take_the_same_bundle() {
    for runtime in ["/usr/bin/crun", "/usr/sbin/runc"] {
        let mut c = Container::new(&["sh", "-c", "echo hello; exit 5"]);
        c.config.oci_runtime = Some(runtime.into());
        assert_eq!(c.run(), ("hello\n".into(), code(5)), "{runtime}");
        assert_eq!(c.cgroups(), Vec::<PathBuf>::new());
    }
}

#[test]
fn an_idle_shim_holds_less_than_a_mebibyte_of_its_own() {
    let mut c = Container::new(&["sleep", "1000"]);
    c.start();
    let pid = c.launched.unwrap().shim_pid;
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let anonymous: u64 =
        rollup.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap().trim().trim_end_matches(" kB").parse().unwrap();
    assert!(anonymous <= 1024, "{rollup}");
}

#[test]
fn in_log_mode_every_line_lands_in_the_log_and_nobody_attaches() {
    let mut c = Container::new(&["sh", "-c", "echo one; echo two >&2; printf 'three \\377'; cat"]);
    let dir = c.dir.path().join("logs");
    c.config.stdio = Stdio::Log;
    c.config.log = Some(landfall_runtime_wire::LogTarget { dir: dir.clone(), source: "app".into(), name: "web.1".into() });
    c.start();
    eventually("the end", || matches!(c.status().phase, Phase::Exited { .. }));
    let paths = std::fs::read_dir(&dir).unwrap().flatten().map(|entry| entry.path());
    let logs = paths.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    let files: Vec<_> = logs.map(|path| std::fs::read(path).unwrap()).collect();
    let text = String::from_utf8(files.concat()).expect("invalid bytes are replaced");
    let mut lines: Vec<_> = text.lines().filter_map(|line| line.split_once(' ')).map(|(_, rest)| rest).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["app[web.1]: one", "app[web.1]: three \u{fffd}", "app[web.1]: two"]);
    assert!(matches!(c.answer(&ShimRequest::Attach), ShimEvent::Failed { message } if message.contains("goes to the log")));
}
